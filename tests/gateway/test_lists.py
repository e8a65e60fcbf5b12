"""Lists of a gateway come from memory, and are true: after a restart, without bells, beside others."""

from __future__ import annotations

import asyncio
import shutil
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.pool import ClientPool
from hitl_cli.engine.doorbell import bells_folder
from hitl_cli.errors import NotAllowed, Unreachable
from hitl_cli.gateway import batch_thread
from hitl_cli.gateway.lists import Lists
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox import Inbox
    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, StartGateway

ADA = Actor(person="ada", via="test")
YES = {"verdict": "approve"}


def ids(inbox: Inbox) -> list[str]:
    return [item.id for item in inbox.list()[0]]


@asynccontextmanager
async def serving(open_client: Callable[[], Client]) -> AsyncIterator[Lists]:
    pool = ClientPool(open_client)
    served = Lists(open_client, pool)
    try:
        yield served
    finally:
        await asyncio.to_thread(served.close)
        await asyncio.to_thread(pool.close)


async def until_loaded(served: Lists) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not served._open:
            await served.run(ADA, ids)
            await asyncio.sleep(0.001)


def listed(gateway: GatewayProcess) -> list[str]:
    return [item["id"] for item in gateway.ask("GET", "/api/v1/requests").json["items"]]


def test_a_list_never_shows_what_was_decided_before_it_was_asked_for(
    start_gateway: StartGateway, hitl: Hitl
) -> None:
    left = [f"q{n}" for n in range(12)]
    for id in left:
        put(hitl, id, Question(prompt="?"))
    one, other = start_gateway(), start_gateway()
    shutil.rmtree(bells_folder(hitl.database), ignore_errors=True)  # nobody hears of anything
    new = iter(range(4))
    while left:
        assert listed(one) == listed(other) == left
        by = one if len(left) % 2 else other
        assert by.post(f"/api/v1/requests/{left.pop(3 % len(left))}/decision", YES).status == 200
        if len(left) % 3 == 0 and (n := next(new, None)) is not None:
            left.append(f"new{n}")
            put(hitl, left[-1], Question(prompt="?"))


def test_right_after_a_restart_lists_are_true(start_gateway: StartGateway, hitl: Hitl) -> None:
    put(hitl, "q1", Question(prompt="?"))
    put(hitl, "q2", Question(prompt="?"))
    first = start_gateway()
    assert listed(first) == ["q1", "q2"]
    first.kill()
    hitl.ok("approve", "q1")
    assert listed(start_gateway()) == ["q2"]


@pytest.mark.only("file", reason="has clients of the file answer slowly")
def test_lists_that_wait_for_a_slow_server_share_one_look(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="?"))
    go, asked = threading.Event(), []
    go.set()

    def open_client() -> Any:
        client = hitl.client()
        real = client.call_many

        def call_many(requests: Any) -> Any:
            asked.append(requests)
            assert go.wait(PATIENCE_S)
            return real(requests)

        client.call_many = call_many
        return client

    async def main() -> None:
        async with serving(open_client) as served:
            await until_loaded(served)
            put(hitl, "q2", Question(prompt="?"))
            go.clear()
            asked.clear()
            first = asyncio.create_task(served.run(ADA, ids))
            await asyncio.to_thread(wait_until, lambda: asked)
            put(hitl, "q3", Question(prompt="?"))
            others = [asyncio.create_task(served.run(ADA, ids)) for _ in range(50)]
            await asyncio.sleep(0)
            go.set()
            assert "q" in await first
            assert await asyncio.gather(*others) == [["q", "q2", "q3"]] * 50

    asyncio.run(main())
    assert len([one for one in asked if len(one) == 5]) == 2


@pytest.mark.only("file", reason="has the version of the file fail, which others have not")
def test_an_error_of_the_server_is_told_and_then_lists_go_on(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_thread, "AWAY_S", 0.01)
    put(hitl, "q", Question(prompt="?"))
    clients: list[Any] = []

    def open_client() -> Any:
        clients.append(hitl.client())
        return clients[-1]

    async def main() -> None:
        async with serving(open_client) as served:
            await until_loaded(served)
            for client in clients:
                client.version = _away
            with pytest.raises(Unreachable):
                await served.run(ADA, ids)
            assert await served.run(ADA, ids) == ["q"]  # from the server
            for client in clients:  # also those that it has opened since
                vars(client).pop("version", None)
            await until_loaded(served)
            assert await served.run(ADA, ids) == ["q"]

    asyncio.run(main())


def _away() -> int:
    raise Unreachable("it is away")


def test_nobody_who_may_not_read_gets_a_list(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="?"))

    async def main() -> None:
        async with serving(hitl.client) as served:
            await until_loaded(served)
            with pytest.raises(NotAllowed):
                await served.run(Actor(person="ada", via="test", may=frozenset()), ids)

    asyncio.run(main())


def test_idle_lists_free_their_memory(hitl: Hitl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_thread, "IDLE_S", 0.05)
    put(hitl, "q", Question(prompt="?"))

    async def main() -> None:
        async with serving(hitl.client) as served:
            await until_loaded(served)
            await asyncio.to_thread(wait_until, lambda: served._thread is None)
            assert await served.run(ADA, ids) == ["q"]

    asyncio.run(main())
