import os
import stat
import subprocess
import sys
from pathlib import Path

from hitl_cli.agents.run_states import FolderStates

SAVE = """
import sys
from hitl_cli.agents.run_states import FolderStates
FolderStates(sys.argv[1]).save("a/b", "\\xe9")
"""


def test_a_state_is_kept_in_utf8_whatever_the_locale_is(tmp_path: Path) -> None:
    folder = tmp_path / "states"
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", SAVE, str(folder)], env=plain, check=True)
    states = FolderStates(folder)
    assert states.load("a/b") == "é"
    [file] = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    states.save("a/b", "later")
    assert states.load("a/b") == "later"
    states.forget("a/b")
    assert (states.load("a/b"), list(folder.iterdir())) == (None, [])
