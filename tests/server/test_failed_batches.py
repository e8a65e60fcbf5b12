"""A batch that could not be written changed nothing, also for event streams."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from hitl_cli.engine.http.app import HttpServer, Options
from hitl_cli.engine.server import now_ms
from tests.engine.failing import Failing
from tests.server.conftest import LIFE_MS, envelope

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path


class FullDisk(Failing):
    """A connection that commits nothing."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            raise self._error()
        return self._db.execute(sql, values)


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
