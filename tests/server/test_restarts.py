"""Commands that wait on a server over HTTP, through a restart of it."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.wire import encode
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.conftest import HITL, NOBODY, PATIENCE_S, Hitl, WorkerProcess
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Served


class Restart:
    """A server that is killed, found to be away by somebody, and started again on the same port."""

    def __init__(self, serve: Callable[..., Served]) -> None:
        self._serve = serve
        self.first = serve()
        self._port = int(self.first.netloc.rpartition(":")[2])

    @contextmanager
    def happens(self) -> Iterator[None]:
        self.first.process.kill()
        with socket.create_server(("127.0.0.1", self._port)) as nobody:
            nobody.settimeout(PATIENCE_S)
            nobody.accept()[0].close()
        yield
        self._serve(port=self._port)


@pytest.fixture
def restart(serve: Callable[..., Served]) -> Restart:
    return Restart(serve)


def in_terminal(hitl: Hitl, *args: str) -> Terminal:
    """Start a command where it says that it waits."""
    return Terminal([HITL, *args], hitl.env, hitl.folder)


def complete(hitl: Hitl, id: str, result: object) -> None:
    """Complete a run as a worker would, on the file behind the server."""
    with hitl.client() as client:
        settled = {"id": id, "state": "resolved", "value": encode(result)}
        as_promise(client.call_many([ProtocolRequest("promise.settle", settled)])[0])


@pytest.mark.parametrize("command", [("wait", "a"), ("start", "a", "--wait")])
def test_a_run_is_waited_for_through_a_restart_of_the_server(
    hitl: Hitl, restart: Restart, command: tuple[str, ...]
) -> None:
    with hitl.client() as client:
        Runs(client, NOBODY).start(RunSpec(id="a"))
    with in_terminal(hitl, *command, "-S", restart.first.url) as terminal:
        terminal.shows("waiting for a (")
        with restart.happens():
            pass
        complete(hitl, "a", {"done": True})
        assert terminal.end() == 0
        assert '{"done":true}' in terminal.screen()


def test_a_run_that_ended_while_the_server_was_away_is_found_when_it_is_back(
    hitl: Hitl, restart: Restart
) -> None:
    hitl.ok("start", "a", "-S", restart.first.url)
    with in_terminal(hitl, "wait", "a", "-S", restart.first.url) as terminal:
        terminal.shows("waiting for a (")
        with restart.happens():
            hitl.ok("cancel", "a", "--reason", "no more")
        assert terminal.end() == 1
        assert "no more" in terminal.screen()


def test_what_waits_is_watched_through_a_restart_of_the_server(hitl: Hitl, restart: Restart) -> None:
    command = [HITL, "pending", "--watch", "--json", "-S", restart.first.url]
    watching = WorkerProcess(command, hitl.env, hitl.folder)
    hitl.workers.append(watching)
    assert json.loads(watching.said("[]")) == []
    with restart.happens():
        pass
    hitl.ok("ask", "Deploy?", "--id", "d", "--no-wait")
    assert json.loads(watching.said("Deploy?"))[0]["id"] == "d"


@pytest.mark.parametrize("command", [("wait", "a"), ("start", "a", "--wait"), ("pending", "--watch")])
def test_a_server_that_is_not_there_at_first_is_an_error_at_once(
    hitl: Hitl, command: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hitl.fails(6, *command, "-S", f"http://127.0.0.1:{port}")
