"""Link the Python of .venv anew as one program, where that makes it faster.

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
    """Replace the Python that runs this, if it is of the slow kind and a compiler is here.

    Raises subprocess.CalledProcessError, and replaces nothing, if it cannot be linked or does not start.
    """
    python = Path(sys.executable)
    config = sysconfig.get_config_vars()
    slow = config["Py_ENABLE_SHARED"] and "--enable-optimizations" not in config["CONFIG_ARGS"]
    library = Path(config["LIBPL"], config["LIBRARY"])
    start = library.with_name("python.o")
    compiler = which("cc")
    if slow and compiler and library.exists() and start.exists():
        new = python.with_name("python.new")
        parts: list[str | Path] = [start, "-Wl,--whole-archive", library, "-Wl,--no-whole-archive"]
        others = [*config["LIBS"].split(), *config["SYSLIBS"].split()]
        subprocess.run([compiler, "-Wl,--export-dynamic", *parts, *others, "-o", new], check=True)
        subprocess.run([new, "-c", "import ssl, sqlite3"], check=True)
        new.replace(python)


if __name__ == "__main__":
    main()
