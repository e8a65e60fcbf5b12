"""The README's commands are run as they stand, and what they print is compared."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.curl import curl
from tests.conftest import HITL, WorkerProcess, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

README = Path(__file__).parents[2] / "README.md"
GATEWAY = "http://127.0.0.1:5001"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)

VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d \w+|T\d\d:\d\d[+-]\d\d:\d\d)"), "INSTANT"),
    (re.compile(r"\d\d:\d\d:\d\d"), "TIME"),
    (re.compile(r"\b\d+(ms|[dhms])( \d+[hms])?\b"), "DURATION"),
    (re.compile(r"sqlite:////\S+/hitl\.db"), "FILE"),
    (re.compile(r" +"), " "),
]
"""What differs from run to run, and what it is compared as."""


def settled(text: str) -> list[str]:
    """Return the lines, with what varies replaced."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return [line.strip() for line in text.strip().splitlines()]


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a console block with the output it is shown to have."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts if part.strip()]


def wait_for_state(hitl: Hitl, command: list[str]) -> None:
    """Wait for what the reader of the README would have seen before typing the next command."""
    if command[0] == "start":
        wait_until(lambda: hitl.json("status", command[1])["state"] != "running")
        wait_until(lambda: "a worker" not in str(hitl.json("status", command[1])["waits_for"]))
    if command[0] == "approve":
        wait_until(lambda: hitl.json("status", command[1].partition(":")[0])["state"] == "completed")


def test_every_command_of_the_readme_prints_what_the_readme_shows(hitl: Hitl) -> None:
    hitl.env["HITL_AS"] = "you"
    worker = None
    shown, gateway = "", ""
    for kind, block in BLOCK.findall(README.read_text()):
        if kind == "python":
            name = block.partition("\n")[0].removeprefix("# ")
            (hitl.folder / name).write_text(block)
            continue
        for line, expected in commands(block):
            if line.startswith("curl"):
                check_curl(hitl, line.replace(GATEWAY, gateway), expected)
                continue
            command = shlex.split(line)[1:]
            if command[0] in ("worker", "dev"):
                if worker is not None:
                    worker.stop()
                worker, shown = begin(hitl, command), expected
                if command[0] == "dev":
                    gateway = worker.said("inbox on").split()[-1]
                    assert settled("\n".join(worker.lines).replace(gateway, GATEWAY)) == settled(expected)
                    shown = ""
                continue
            done = subprocess.run(
                [HITL, *command],
                env=hitl.env,
                cwd=hitl.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if "hitl: " in expected else subprocess.DEVNULL,
                text=True,
                check=False,
            )
            assert settled(done.stdout) == settled(expected), line
            if done.returncode == 0:
                wait_for_state(hitl, command)
        if worker is not None and block.startswith("$ hitl start"):
            check_worker_lines(worker, shown)


def check_curl(hitl: Hitl, line: str, expected: str) -> None:
    """Run a curl command and compare; after one that starts a run, wait until that asks."""
    assert settled(curl(line)) == settled(expected), line
    if "/start-workflow" in line:
        wait_until(lambda: hitl.json("pending"))


def begin(hitl: Hitl, command: list[str]) -> WorkerProcess:
    """Start a command that stays, on a free port, and wait until it serves."""
    port = ["--port", "0"] if command[0] == "dev" else []
    started = WorkerProcess([*hitl.command, *command, *port], hitl.env, hitl.folder)
    hitl.workers.append(started)
    started.said("serving")
    return started


def check_worker_lines(worker: WorkerProcess, shown: str) -> None:
    """Compare what the worker has printed, as far as the README shows it."""
    lines = worker.lines
    wait_until(lambda: len(lines) >= len(settled(shown)))
    assert settled("\n".join(lines))[: len(settled(shown))] == settled(shown)
