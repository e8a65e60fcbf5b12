"""Each command as it is installed, in a fresh interpreter: elsewhere they are forks (tests/forked.py)."""

from __future__ import annotations

import signal
import subprocess
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import APPS, HITL, PATIENCE_S

if TYPE_CHECKING:
    from tests.conftest import Hitl

SERVING = {
    "worker": ("--app", str(APPS / "asks.py")),
    "server": ("--port", "0"),
    "gateway": ("--port", "0"),
    "dev": ("--port", "0"),
}
"""Commands that run until they are stopped."""

TO_THE_END = (
    "ask A? --id a --no-wait",
    "ask B? --id b --no-wait",
    "ask C? --id c --no-wait",
    "pending",
    "show a",
    "comment a soon",
    "claim a",
    "release a",
    "away",
    "ask-back a which",
    "answer-back a that",
    "ask D? --id d --no-wait --deadline 1h --extend 1d",
    "extend d 2h",
    "link create a --for ada",
    "notify list",
    "people",
    "people remove reviewer",
    "approve a",
    "reject b",
    "answer c yes",
    "wait a",
    "history",
    "stats",
    "verify --since 1d",
    "export",
    "receipt a",
    "start r --workflow approval",
    "status r",
    "cancel r",
    "workflows",
    "schedule list",
    "rule add --tool Bash --match ls",
    "rule list",
    "token create --as ci --can start",
    "key list",
    "backup copy.db",
    "doctor",
    "prune --older 30d --yes",
    "init new",
)

REFUSED = {
    "review": 2,
    "checkpoint": 2,
    "hook claude": 2,
    "mcp --wait soon": 2,
    "open a --url http://127.0.0.1:9": 6,
    "login http://127.0.0.1:9 --device": 6,
    "assign a lead": 4,
    "logout": 3,
    "whoami": 3,
    "postgres status -S postgresql://127.0.0.1:9/a": 6,
}
"""Commands that need a terminal, stdin, a gateway or a database, and the code that they exit with."""

NEED_A_FILE = {"backup copy.db": 2, "server": 2}
"""Commands that exit so where the server is not a file."""


@pytest.mark.long
@pytest.mark.timeout(480)  # some fifty processes, one after the other: a second each, on a busy machine five
def test_every_command_works_as_it_is_installed(hitl: Hitl) -> None:
    def run(command: str) -> subprocess.CompletedProcess[str]:
        started = [HITL, *command.split()]
        return forked.run(
            started,
            env=hitl.env,
            cwd=hitl.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            real=True,
        )

    refused = REFUSED if hitl.on_a_file else {**REFUSED, **NEED_A_FILE}
    for command in TO_THE_END:
        if command in refused:
            continue
        done = run(command)
        assert done.returncode == 0, f"{command}: {done}"
        assert done.stdout or done.stderr, command
        assert "hitl: " not in done.stderr, command
    for command, code in refused.items():
        done = run(command)
        assert done.returncode == code, f"{command}: {done}"
        assert done.stderr.startswith("hitl: "), command
    for name, args in SERVING.items():
        if name in refused:
            continue
        process: forked.Popen[str] = forked.Popen(
            [HITL, name, *args],
            env=hitl.env,
            cwd=hitl.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            real=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline(), name
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, complaints) == (0, ""), name


def test_no_command_is_left_out() -> None:
    run = {command.split()[0] for command in (*TO_THE_END, *REFUSED)} | SERVING.keys()
    run |= {"demo"}  # tests/cli/test_first_process.py runs it
    ours = {
        point.name for point in entry_points(group="hitl.commands") if point.value.startswith("hitl_cli.")
    }
    assert run == ours
