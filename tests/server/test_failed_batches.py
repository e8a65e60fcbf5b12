"""A batch that could not be written changed nothing, also for event streams."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from hitl_cli.engine.http.app import HttpServer, Options
from hitl_cli.engine.machine import OFFER_RETRY_MS
from hitl_cli.engine.server import decode
from hitl_cli.engine.wall_clock import now_ms
from tests.engine.failing import Failing
from tests.server.conftest import LIFE_MS, envelope

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from hitl_cli.engine.records import Reply


class FullDisk(Failing):
    """A connection that commits nothing."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise self._error()
        return self._db.execute(sql, values)


class Bug(Failing):
    """A connection that fails as none should where the id `bad` is asked for."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if "bad" in values:
            raise RuntimeError
        return self._db.execute(sql, values)


async def sent(path: Path) -> list[str]:
    """Create a task beside a request that fails as none should; return the ids of what a stream is sent."""
    server = HttpServer(Options(path=path, host="127.0.0.1", port=0))
    urls: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(server.run(urls.put_nowait))
    url = await urls.get()
    found = []
    async with aiohttp.ClientSession() as session, session.get(f"{url}/poll/g/w") as stream:

        async def create(id: str) -> Reply:
            data = {"id": id, "timeoutAt": now_ms() + LIFE_MS, "tags": {"resonate:target": "poll://any@g"}}
            assert server._commit_loop is not None
            request = decode(envelope("promise.create", data))
            return await server._commit_loop.decide(request)

        await create("first")
        server._commit_loop._poll_s = LIFE_MS  # it looks for what others left once, and not again
        server._commit_loop._look()
        store = server._commit_loop.server.store
        store._db = Bug(store._db, 0, "a bug")  # type: ignore[assignment]
        answers = await asyncio.gather(create("good"), create("bad"))
        assert [answer.status for answer in answers] == [200, 500]
        async with asyncio.timeout(OFFER_RETRY_MS / 2_000):
            async for line in stream.content:
                if line.startswith(b"data: "):
                    found.append(json.loads(line.removeprefix(b"data: "))["data"]["task"]["id"])
                    if len(found) == 2:
                        break
    server.stop()
    await running
    return found


async def first_message(path: Path) -> Any:
    """Create a task while the disk is full and another one later, and return what a stream is sent first."""
    server = HttpServer(Options(path=path, host="127.0.0.1", port=0))
    urls: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(server.run(urls.put_nowait))
    url = await urls.get()

    async def create(id: str) -> int:
        tags = {"resonate:target": "poll://any@g"}
        return await post("promise.create", {"id": id, "timeoutAt": now_ms() + LIFE_MS, "tags": tags})

    async def post(kind: str, data: dict[str, Any]) -> int:
        async with session.post(url, data=envelope(kind, data)) as answer:
            return answer.status

    store = server._commit_loop.server.store
    async with aiohttp.ClientSession() as session, session.get(f"{url}/poll/g/w") as stream:
        assert await post("promise.get", {"id": "lost"}) == 404
        real = store._db
        store._db = FullDisk(real, 0, "the disk")  # type: ignore[assignment]
        assert await create("lost") == 503
        store._db = real
        assert await post("promise.get", {"id": "lost"}) == 404
        assert await create("kept") == 200
        async for line in stream.content:
            if line.startswith(b"data: "):
                message = json.loads(line.removeprefix(b"data: "))
                break
    server.stop()
    await running
    return message


def test_a_stream_is_not_sent_what_a_failed_batch_had_found(tmp_path: Path) -> None:
    message = asyncio.run(first_message(tmp_path / "hitl.db"))

    assert message["data"]["task"]["id"] == "kept"


def test_a_stream_is_sent_at_once_what_came_beside_a_request_that_failed(tmp_path: Path) -> None:
    assert asyncio.run(sent(tmp_path / "hitl.db")) == ["first", "good"]
