"""Link the Python of an environment anew as one program, where that makes it faster.

A Python that was configured with --enable-shared and without --enable-optimizations, as pyenv builds one
unless told otherwise, calls each of its own functions through the table of its shared library. Linked from
the static library that it brings for embedding (https://docs.python.org/3/extending/embedding.html), the
same code takes three quarters of the time; what the tests do, nine tenths.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from shutil import which


def main() -> None:
    """Replace the Python that runs this, if it is of the slow kind, can be linked, and starts then."""
    python = Path(sys.executable)
    config = sysconfig.get_config_vars()
    slow = config["Py_ENABLE_SHARED"] and "--enable-optimizations" not in config["CONFIG_ARGS"]
    library = Path(config["LIBPL"], config["LIBRARY"])
    start = library.with_name("python.o")
    compiler = which("cc")
    if not (slow and compiler and library.exists() and start.exists()):
        return
    new = python.with_name("python.new")
    parts: list[str | Path] = [start, "-Wl,--whole-archive", library, "-Wl,--no-whole-archive"]
    others = [*config["LIBS"].split(), *config["SYSLIBS"].split()]
    made = subprocess.run([compiler, "-Wl,--export-dynamic", *parts, *others, "-o", new], check=False)
    if (
        made.returncode == 0
        and subprocess.run([new, "-c", "import ssl, sqlite3"], check=False).returncode == 0
    ):
        new.replace(python)
    else:
        new.unlink(missing_ok=True)
        print(f"{python} cannot be linked anew. It stays as it is.", file=sys.stderr)


if __name__ == "__main__":
    main()
