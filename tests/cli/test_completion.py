"""The Tab key in a real shell: ids are completed, after a colon too, and no id or prompt is run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import HITL
from tests.terminal import ENTER, TAB, Terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl

SHELLS = {
    "bash": (["--norc", "-i"], ""),
    "zsh": (["-f", "-i"], "autoload -Uz compinit; compinit -u -D; "),
    "fish": (["--no-config", "-i"], ""),
}
PROMPT = "\\$(touch pwned)`touch pwned`\"; touch pwned '; touch pwned [/x]"


@pytest.mark.parametrize("shell", SHELLS)
def test_an_id_is_completed_and_nothing_is_run(hitl: Hitl, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    options, first = SHELLS[shell]
    for id in ("ask-1", "run-7", "run-7.1", "$(touch${IFS}pwned)", "a b", "x*", "-rf"):
        hitl.ok("ask", PROMPT, "--no-wait", f"--id={id}")
    hitl.ok("start", "release-7")
    worker = hitl.worker()
    hitl.waiting(8)
    worker.stop()
    env = {**hitl.env, "PS1": "$ ", "PATH": f"{HITL.rpartition('/')[0]}:{hitl.env['PATH']}"}
    env["HOME"] = str(hitl.folder)
    script = forked.run(
        [HITL], env={**env, "_HITL_COMPLETE": f"source_{shell}"}, capture_output=True, check=False
    )
    (hitl.folder / "complete").write_bytes(script.stdout)
    with Terminal([shell, *options], env, hitl.folder) as terminal:
        terminal.type(f"{first}source ./complete; echo re''ady{ENTER}")
        terminal.shows("ready")
        terminal.type(f"hitl approve rel{TAB}")
        terminal.shows("hitl approve release-7:1")
        terminal.type(f"\x15hitl approve release-7:{TAB}")
        terminal.shows("hitl approve release-7:1")
        terminal.type(f"\x15hitl approve {TAB}{TAB}")
        offered = terminal.shows("run-7.1")
        assert "IFS" not in offered
        assert "-rf" not in offered
    assert not (hitl.folder / "pwned").exists()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("token create --as agent --can ask", "token revoke "),
        ("rule add --tool Read --for 1d", "rule remove "),
        ("schedule add nightly 0_2_*_*_*", "schedule remove "),
    ],
)
def test_the_server_before_the_command_is_that_of_its_completion(hitl: Hitl, made: str, words: str) -> None:
    at = ["-S", hitl.url]
    elsewhere = {"HITL_SERVER": f"sqlite:///{hitl.folder}/other.db", "_HITL_COMPLETE": "complete_zsh"}
    hitl.ok(*at, *(word.replace("_", " ") for word in made.split()))
    [one] = hitl.json(*at, words.split(maxsplit=1)[0], "list")
    offered = hitl.run(env={**elsewhere, "_TYPER_COMPLETE_ARGS": f"hitl {' '.join(at)} {words}"})
    assert one["id"] in offered.stdout
    assert not (hitl.folder / "other.db").exists()
