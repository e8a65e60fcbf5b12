"""However the server ends, confirmed data are in the file, and its tasks continue."""

from __future__ import annotations

import http.client
import json
import signal
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import wait_until
from tests.server.conftest import EXTERNAL, LIFE_MS, envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served

CLIENTS = 8
ENOUGH = 200


def load(served: Served, answered: list[str], client: int) -> None:
    """Create promises over one connection until that breaks; note those that were answered."""
    connection = http.client.HTTPConnection(served.netloc, timeout=30)
    try:
        for n in range(1_000_000):
            data = {"id": f"c{client}-{n}", "timeoutAt": now_ms() + LIFE_MS, "tags": EXTERNAL}
            connection.request("POST", "/", envelope("promise.create", data))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                answered.append(json.loads(body)["data"]["promise"]["id"])
    except (OSError, http.client.HTTPException):
        connection.close()


def stored(hitl: Hitl) -> set[str]:
    """Return the ids in the file, which must be whole."""
    with closing(sqlite3.connect(hitl.database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {id for (id,) in db.execute("SELECT id FROM promises")}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_answered_is_in_the_file_however_the_server_ends_under_load(
    hitl: Hitl, served: Served, how: signal.Signals
) -> None:
    answered: list[list[str]] = [[] for _ in range(CLIENTS)]
    clients = [
        threading.Thread(target=load, args=(served, ids, client)) for client, ids in enumerate(answered)
    ]
    for client in clients:
        client.start()
    wait_until(lambda: sum(map(len, answered)) >= ENOUGH)
    code = served.process.stop(how)
    for client in clients:
        client.join(30)
    assert code == (0 if how != signal.SIGKILL else -signal.SIGKILL)
    ids = {id for ids in answered for id in ids}
    assert ids <= stored(hitl)
    if how != signal.SIGKILL:
        assert ids == stored(hitl)  # nothing was done and not answered
        assert served.process.errors == []


def test_a_server_that_stops_ends_its_streams_and_leaves_what_they_had_to_the_next(
    serve: Callable[..., Served],
) -> None:
    first = serve()
    reader = first.reader()
    for n in range(3):
        first.create(f"t{n}")
    wait_until(lambda: len(reader.messages) == 3)
    assert first.process.stop() == 0
    assert reader.ended.wait(10)
    second = serve()
    late = second.reader(id="late")
    wait_until(lambda: len(late.messages) == 3)
    assert sorted(late.tasks()) == [(f"t{n}", 0) for n in range(3)]


def test_what_a_killed_servers_readers_had_is_offered_again(serve: Callable[..., Served]) -> None:
    first = serve()
    reader = first.reader()
    first.create("t")
    wait_until(reader.tasks)
    first.process.kill()
    late = serve().reader(id="late")
    wait_until(late.tasks)
    assert late.tasks() == [("t", 0)]
