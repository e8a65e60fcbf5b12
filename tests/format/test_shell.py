"""A text quoted for a shell is read as that text, by each of the shells that are here, and never obeyed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from hitl_cli.format.shell import command, quoted

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = [
    "$(touch${IFS}pwned)",
    "`touch pwned`",
    "a; touch pwned",
    "it's",
    '\\\'" ;touch pwned; "',
    "\\\\' ; touch pwned; '",
    "a\\",
    "\\\\",
    "*",
    "=ls",
    "%1",
    "~root",
    "{a,b}",
    "!!",
    "#x",
    "",
    "ünïcode ✓",
    "-rf",
]
SHELLS = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_reads_the_text(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = " ".join(["printf", "'%s\\n'", *map(quoted, HOSTILE)])
    done = subprocess.run(
        [shell, *SHELLS[shell], "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:-1] == HOSTILE
    assert not (tmp_path / "pwned").exists()


def test_plain_words_need_no_quotes() -> None:
    assert quoted("release-1.4.2:1.2") == "release-1.4.2:1.2"


def test_a_word_that_begins_with_a_dash_stands_after_two() -> None:
    assert command("approve", ["-rf"], ["-S", "x"]) == "hitl approve -S x -- -rf"
