"""Processes that are killed from inside, at a moment that no kill from outside would hit."""

from __future__ import annotations

import os
import signal
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
from resonate.connections import HttpConnection

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine.server import Decoded, Server, encode_request
from hitl_cli.postgres.turns import Turns
from tests.acting import approval, decide
from tests.recovery.processes import work

if TYPE_CHECKING:
    from pathlib import Path


def die() -> None:
    """End as with kill -9, without any cleanup."""
    os.kill(os.getpid(), signal.SIGKILL)


def approve_and_die_unheard(database: Path, id: str) -> None:
    """Settle a promise, and be killed once that is committed and before anybody could be told."""
    server = Server(database)
    settlement = {"id": id, "state": "resolved", "value": {"headers": {"hitl:by": "ada"}}}
    server.run_batch([encode_request("promise.settle", settlement)])
    die()


class Mortal(sqlite3.Connection):
    """A connection that executes this number of statements and ends the process at the next."""

    statements_left: int | None = None

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if Mortal.statements_left is not None:
            if Mortal.statements_left == 0:
                die()
            Mortal.statements_left -= 1
        return super().execute(sql, parameters)


def approve_and_die_at(database: Path, id: str, statement: int) -> None:
    """Approve a promise, and be killed in place of the nth statement that this takes."""
    with patch("sqlite3.connect", partial(sqlite3.connect, factory=Mortal)):
        client = EmbeddedClient(database)
    Mortal.statements_left = statement
    decide(client, id, approval(by="ada", via="test"))


def work_and_die_at(request: int, server: Path | str, *args: Any) -> None:
    """Be a worker (tests/recovery/processes.py), and be killed before making the nth request for its tasks.

    What it had asked before is on disk then; so is what the engine hands out by itself. What a worker asks
    besides, to renew a lease or to look after votes, comes when it comes, and is not counted.
    """
    made = 0

    def counted() -> None:
        nonlocal made
        if made == request:
            die()
        made += 1

    def on_a_file(server: Server, requests: Any, *more: Any) -> Any:
        if any(isinstance(request, Decoded) and _is_work(request.kind) for request in requests):
            counted()
        return run_batch(server, requests, *more)

    async def on_a_database(turns: Turns, requests: list[str]) -> Any:
        if any(map(_works, requests)):
            counted()
        return await answers(turns, requests)

    async def over_http(network: HttpConnection, req: str, *more: Any) -> Any:
        if _works(req):
            counted()
        return await send(network, req, *more)

    run_batch, answers, send = Server.run_batch, Turns._answers, HttpConnection.send
    with (
        patch.object(Server, "run_batch", on_a_file),
        patch.object(Turns, "_answers", on_a_database),
        patch.object(HttpConnection, "send", over_http),
    ):
        work(server, *args)


def _works(request: str) -> bool:
    """Whether a request in JSON is one for a task."""
    return _is_work(str(msgspec.json.decode(request)["kind"]))


def _is_work(kind: str) -> bool:
    """Whether requests of a kind are those for a task."""
    return kind.startswith("task.") and kind != "task.heartbeat"
