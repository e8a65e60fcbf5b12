"""Runs that are started, answered and worked on by processes that are killed, one after the other, at random.

`Storm.rage` kills workers and commands while they are busy; `Storm.calm` lets what is left come to its
end. What every process was told is kept, and `tests/recovery/test_storm.py` holds the file to it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.client.protocol import get_promises
from hitl_cli.inbox.pending import pending
from tests.apps.steps import STEPS_LOG
from tests.conftest import wait_until
from tests.recovery.processes import start, work
from tests.worker.watching import STEPS

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

WORKERS = 2
"""Workers on the file or database. On a file, one more works for `hitl server`, as do half the commands."""

COMMANDS = 3
"""Commands at a time."""

IN_FLIGHT = 20
"""Runs at a time."""

LEASE_MS = 3_000
"""Longer than a busy machine stops a process that is not killed: whoever is stopped for longer than its
lease may begin a step after another worker has recorded it, and no check could tell."""

DECISION = "4"
"""The step of `before_and_after` that is a person's."""

LIFE_S = 0.2
"""The longest that a process is left alone before one is killed. A command takes a fifth of that."""

LOOK_S = 0.01
KILLED = -9
UNREACHABLE = 6
"""What a command exits with whose server is killed while it waits for an answer."""


class Told(msgspec.Struct, frozen=True):
    """The document that `hitl approve --json` prints."""

    decision_id: str
    fresh: bool
    data: Any = None
    reason: str | None = None


@dataclass
class Command:
    """A command in a process of its own, what it was to do, and where its output goes."""

    process: BaseProcess
    kind: str
    id: str
    over_http: bool
    out: Path
    err: Path


@dataclass
class Storm:
    """The load, the processes and their output."""

    hitl: Hitl
    client: Client
    chance: random.Random
    kills: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    started: set[str] = field(default_factory=set)
    """Runs whose start was answered."""
    tried: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The marks of the answers that were ever given to a promise, heard of or not."""
    told: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    """What was answered to whoever decided."""
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often somebody was told that it had been decided otherwise."""
    port: int = 0
    _workers: list[BaseProcess] = field(default_factory=list)
    _server: BaseProcess | None = None
    _remote: BaseProcess | None = None
    """The worker that works for the server."""
    _commands: list[Command] = field(default_factory=list)
    _begun: list[str] = field(default_factory=list)
    _live: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.port = self.port or free_port()

    def rage(self, kills: int) -> None:
        """Keep the load up, and kill so many processes that are at work."""
        while sum(self.kills.values()) < kills:
            moment = time.monotonic() + self.chance.uniform(0.0, LIFE_S)
            while time.monotonic() < moment:
                self._tend()
                time.sleep(LOOK_S)  # the processor is for those who are to be killed
            self._kill_one()

    def calm(self) -> None:
        """Kill nothing more, until everything that was begun has ended; then end the workers."""

        def ended() -> bool:
            self._tend(more=False)
            return not self._live and not self._commands

        wait_until(ended)
        self.end()

    def end(self) -> None:
        """Kill all processes that are left."""
        rest = [*self._workers, *(command.process for command in self._commands), self._server, self._remote]
        for process in rest:
            if process is not None:
                process.kill()
                process.join()
        self._workers, self._commands, self._server, self._remote = [], [], None, None

    # The load

    def _tend(self, *, more: bool = True) -> None:
        """Hear out the commands that have ended, and start the processes that are missing."""
        for command in [command for command in self._commands if not command.process.is_alive()]:
            self._commands.remove(command)
            self._hear(command)
        env = {STEPS_LOG: str(self.hitl.folder / "steps.log")}
        while len(self._workers) < WORKERS:
            self._workers.append(start(work_quietly, self.hitl.folder, self.hitl.url, STEPS, LEASE_MS, env))
        if self._server is None and self.on_file:
            out, err = (self.hitl.folder / f"server.{name}" for name in ("out", "err"))
            self._server = start(run_command, self.hitl.env, out, err, "server", "--port", str(self.port))
        if (self._remote is None or not self._remote.is_alive()) and listens(self.port):
            self._remote = start(work_quietly, self.hitl.folder, self.url, STEPS, LEASE_MS, env)
        live = get_promises(self.client, sorted(self._live))
        self._live = {id for id in self._live if live[id].state == "pending"}
        if len(self._commands) < COMMANDS:
            self._command(more=more)

    def _command(self, *, more: bool) -> None:
        """Start a command: start a run where there are too few of them, else answer something."""
        busy = {command.id for command in self._commands}
        unsure = [id for id in self._begun if id not in self.started and id not in busy]
        if more and not unsure and len(self._live) < IN_FLIGHT:
            unsure = [f"r{len(self._begun)}"]
            self._begun += unsure
        waits = [item.id for item in pending(self.client)[0]]
        if unsure and (len(self._live) < IN_FLIGHT // 2 or not waits):
            self._run("start", unsure[0], "--workflow", "before_and_after")
        elif waits:
            id, mark = self.chance.choice(waits), uuid.uuid4().hex  # at times one that is being answered
            self.tried[id].add(mark)
            if self.chance.random() < 0.5:
                self._run("approve", id, "--data", f'"{mark}"')
            else:
                self._run("reject", id, "--reason", mark)

    def _run(self, kind: str, id: str, *options: str) -> None:
        out, err = (self.hitl.folder / f"{uuid.uuid4().hex}.{name}" for name in ("out", "err"))
        over_http = self.chance.random() < 0.5 and listens(self.port)
        env = self.hitl.env | ({"HITL_SERVER": self.url} if over_http else {})
        process = start(run_command, env, out, err, kind, id, *options, "--json")
        self._commands.append(Command(process, kind, id, over_http, out, err))

    @property
    def on_file(self) -> bool:
        """Whether the promises are in a file."""
        return self.hitl.url.startswith("sqlite:")

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def _hear(self, command: Command) -> None:
        """Keep what a command was told, whether it ended well, or was killed before or after that."""
        command.process.join()
        code = command.process.exitcode
        said = command.out.read_bytes() if command.out.exists() else b""
        complaint = command.err.read_text() if command.err.exists() else ""
        allowed = (0, 4, KILLED, UNREACHABLE) if command.over_http else (0, 4, KILLED)
        assert code in allowed, f"{command.kind} {command.id} exited {code}: {complaint}"
        assert code != 0 or said
        if command.kind != "start":
            if said:
                self.told[command.id].append(msgspec.json.decode(said, type=Told))
            self.refused[command.id] += code == 4
        elif said:
            self.started.add(command.id)
            self._live.add(command.id)
        for file in (command.out, command.err):
            file.unlink(missing_ok=True)

    # The kills

    def _kill_one(self) -> None:
        """Kill one process that is at work, chosen at random."""
        commands = [command for command in self._commands if command.process.is_alive()]
        dice = self.chance.random()
        if commands and dice < 0.55:
            victim = self.chance.choice(commands)
            victim.process.kill()
            victim.process.join()
            self.kills[victim.kind] += victim.process.exitcode == KILLED
        elif dice < 0.65 and self._server is not None:
            assert self._server.is_alive(), (self.hitl.folder / "server.err").read_text()
            self._server.kill()
            self._server.join()
            self._server = None
            self.kills["server"] += 1
        elif dice < 0.75 and self._remote is not None and self._remote.is_alive():
            self._remote.kill()
            self._remote.join()
            self.kills["worker over HTTP"] += self._remote.exitcode == KILLED
        else:
            worker = self._workers.pop(self.chance.randrange(WORKERS))
            worker.kill()
            worker.join()
            assert worker.exitcode == KILLED, "a worker had ended by itself"
            self.kills["worker"] += 1


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a process listens at a port."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def work_quietly(folder: Path, *args: Any) -> None:
    """Be a worker that complains to a file: that others took its work is no news here."""
    redirect(2, folder / "workers.err")
    work(*args)


def redirect(descriptor: int, path: Path) -> None:
    """Have all that is written there appended to a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, descriptor)
    os.close(file)


def run_command(env: Mapping[str, str], out: Path, err: Path, *args: str) -> None:
    """Be the command `hitl`, with its output in two files."""
    from hitl_cli.cli.app import run

    redirect(1, out)
    redirect(2, err)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(out.parent)
    sys.argv = ["hitl", *args]
    run()
