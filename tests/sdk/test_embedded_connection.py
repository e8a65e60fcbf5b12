"""The SDK's connection: when it looks for messages, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from hitl_cli.engine.doorbell import Bell
from hitl_cli.sdk.embedded_connection import EmbeddedConnection
from tests.engine.conftest import LIFE_MS, request

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from hitl_cli.engine.records import Promise

GROUP = "workers"
TARGETED = {"resonate:target": f"poll://any@{GROUP}"}


def connection(path: Path, pid: str, room: int) -> EmbeddedConnection:
    """Return a connection that has as much room whatever it has taken."""

    def wants(_: Promise) -> bool:
        return True

    return EmbeddedConnection(path, group=GROUP, pid=pid, room=lambda ended: room + ended, wants=wants)


async def create(sender: EmbeddedConnection, *ids: str) -> None:
    """Create runs."""
    now = sender.now()
    data = {"timeoutAt": now + LIFE_MS, "tags": TARGETED}
    await asyncio.gather(*(sender.send(request("promise.create", {"id": id, **data})) for id in ids))


async def collect(queue: asyncio.Queue[str], count: int) -> list[str]:
    """Return the ids of so many tasks, as they are handed over."""
    texts = [await asyncio.wait_for(queue.get(), 10) for _ in range(count)]
    return [json.loads(text)["data"]["task"]["id"] for text in texts]


def test_what_a_worker_leaves_to_others_it_takes_if_they_do_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "hitl.db"
        one = connection(path, "one", room=4)
        deaf = Bell(path, GROUP, "deaf")  # one of the group that never fetches anything
        ids = [f"r{n}" for n in range(20)]
        await create(one, *ids)
        queue: asyncio.Queue[str] = asyncio.Queue()
        one.recv(queue.put_nowait)
        await one.start()
        assert sorted(await collect(queue, 20)) == sorted(ids)
        await one.stop()
        one.close()
        deaf.close()

    asyncio.run(scenario())


def test_two_workers_take_their_parts_of_what_waits(tmp_path: Path) -> None:
    async def scenario() -> list[list[str]]:
        path = tmp_path / "hitl.db"
        both = [connection(path, pid, room=8) for pid in ("one", "two")]
        await create(both[0], *(f"r{n}" for n in range(40)))
        taken: list[list[str]] = [[], []]
        every: asyncio.Queue[str] = asyncio.Queue()
        for texts, one in zip(taken, both, strict=True):
            one.recv(texts.append)
            one.recv(every.put_nowait)
            await one.start()
        await collect(every, 40)
        for one in both:
            await one.stop()
            one.close()
        return taken

    assert min(len(texts) for texts in asyncio.run(scenario())) >= 10


def test_nothing_is_said_of_a_batch_that_a_close_overtook(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        one = connection(tmp_path / "hitl.db", "one", room=1)
        one.recv(print)
        await one.start()
        await create(one, "r")
        one.poke()
        await one.stop()
        one.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert not caplog.records
