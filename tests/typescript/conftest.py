"""Fixtures: node and the npm packages, `hitl server` on a file, and TypeScript workers."""

from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import HITL, Hitl, WorkerProcess
from tests.typescript import node as nodes
from tests.worker.watching import begin, result_of, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GROUP = "typescript"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests to `make heavy`."""
    for item in items:
        if item.nodeid.startswith("tests/typescript/"):
            item.add_marker(pytest.mark.heavy)


@pytest.fixture(scope="session")
def node() -> str:
    """The node command."""
    return nodes.node()


@pytest.fixture(scope="session")
def packages(node: str, pytestconfig: pytest.Config) -> Path:  # noqa: ARG001 - npm is of no use without it
    """A folder with the npm packages of examples/typescript."""
    return nodes.installed(pytestconfig.cache.mkdir("typescript"))


@pytest.fixture(scope="session")
def project(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the example's and the tests' programs, also in JavaScript."""
    return nodes.in_javascript(nodes.project(tmp_path_factory.mktemp("typescript"), packages))


class Online(Hitl):
    """The command, and programs of other languages, on a `hitl server` over HTTP."""

    def __init__(self, folder: Path, node: str, project: Path) -> None:
        super().__init__(folder)
        self.node = node
        self.project = project
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.env |= {"HITL_SERVER": self.http, "RESONATE_URL": self.http}
        self.file = self.client()
        """A client of the file, beside the server: it waits without the cost of a process a question."""

    def serve(self, *args: str) -> None:
        """Start the server and wait until it serves."""
        command = [HITL, "server", "--server", self.url, "--port", str(self.port), *args]
        self.server = WorkerProcess(command, self.env, self.folder)
        self.workers.append(self.server)
        self.server.said("serving")

    def typescript(self, program: str, group: str = GROUP, *, tsx: bool = False) -> WorkerProcess:
        """Start a TypeScript worker and wait until it serves. `tsx` compiles it, as npm run does."""
        command = [self.node, *(["--import", "tsx", f"{program}.ts"] if tsx else [f"{program}.js"]), group]
        worker = WorkerProcess(command, self.env, self.project)
        self.workers.append(worker)
        worker.said("serving")
        return worker

    def asking(self, *args: str) -> WorkerProcess:
        """Begin to ask something through the TypeScript client."""
        asking = WorkerProcess([self.node, "client.js", *args], self.env, self.project)
        self.workers.append(asking)
        return asking

    def ask(self, *args: str) -> Any:
        """Ask something through the TypeScript client, and return its answer."""
        return json.loads(self.asking(*args).said("{"))

    def begin(self, id: str, workflow: str, *args: object, group: str = GROUP) -> None:
        """Start a run for a group of workers."""
        begin(self.file, id, workflow, *args, group=group)

    def blocked(self, count: int = 1) -> list[str]:
        """Wait until so many promises wait for a person and nobody works, and return their ids."""
        return waiting(self.file, count)

    def end(self, id: str) -> Any:
        """Wait until a run has completed, and return its result."""
        return result_of(self.file, id)

    def stored(self, sql: str) -> list[Any]:
        """Return one column as it is in the file, past the server."""
        with closing(sqlite3.connect(self.database)) as db:
            return [value for (value,) in db.execute(sql)]

    def store(self, sql: str) -> None:
        """Change the file past the server."""
        with closing(sqlite3.connect(self.database)) as db, db:
            db.execute(sql)


@pytest.fixture
def online(tmp_path: Path, node: str, project: Path) -> Iterator[Online]:
    """The command on a fresh server; its processes end with the test."""
    command = Online(tmp_path, node, project)
    command.serve()
    yield command
    command.file.close()
    for process in reversed(command.workers):
        if process.process.poll() is None:
            process.kill()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
