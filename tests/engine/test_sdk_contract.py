"""The responses fit the parsers of the released SDK."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from resonate.error import ServerError
from resonate.send import Redirect, Sender, TaskRef
from resonate.transport import ExecuteMsg, Message, Transport, UnblockMsg
from resonate.types import PromiseCreateReq, PromiseRegisterCallbackData, PromiseSettleReq, Value

from hitl_cli.sdk.embedded_connection import EmbeddedConnection
from tests.engine.conftest import ADDRESS, EXTERNAL, INTERNAL, LEASE_MS, START_MS, TARGETED, Clock, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from resonate.observability import Event

    from tests.engine.conftest import Engine

DEADLINE = START_MS + 60_000


class Sdk:
    """The SDK's sender over the embedded connection, and everything it dropped as unreadable."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.dropped: list[Event] = []
        self.connection = EmbeddedConnection(
            path, group="workers", pid="w1", room=lambda _: 10, wants=lambda _: True, clock=clock
        )
        self.transport = Transport(self.connection, [self.connection], self.dropped.append)
        self.sender = Sender(self.transport, None, observer=self.dropped.append)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Sdk], Awaitable[None]]], None]:
    """Run a conversation of the SDK with the engine, in which nothing may be dropped."""

    def conversation(talk: Callable[[Sdk], Awaitable[None]]) -> None:
        async def whole() -> None:
            sdk = Sdk(tmp_path / "hitl.db", Clock())
            try:
                await talk(sdk)
                assert sdk.dropped == []
            finally:
                await sdk.connection.stop()
                sdk.connection.close()

        asyncio.run(whole())

    return conversation


def create(id: str, tags: dict[str, str] = EXTERNAL) -> PromiseCreateReq:
    return PromiseCreateReq(id=id, timeout_at=DEADLINE, param=Value(data="IjEi"), tags=tags)


def settle(id: str) -> PromiseSettleReq:
    return PromiseSettleReq(id=id, state="resolved", value=Value(data="IjEi"))


def callbacks(awaiter: str, awaited: Sequence[str]) -> list[PromiseRegisterCallbackData]:
    return [PromiseRegisterCallbackData(awaited=id, awaiter=awaiter) for id in awaited]


type Run = Callable[[Callable[[Sdk], Awaitable[None]]], None]


def test_the_sdk_reads_every_answer_about_promises(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        created = await sdk.sender.promise_create(create("p"))
        assert created == await sdk.sender.promise_get("p")
        assert created.param == Value(data="IjEi")
        assert created == await sdk.sender.promise_register_listener("p", "poll://uni@workers/w1")
        settled = await sdk.sender.promise_settle(settle("p"))
        assert (settled.state, settled.value, settled.settled_at) == (
            "resolved",
            Value(data="IjEi"),
            START_MS,
        )
        page = await sdk.sender.promise_search("resolved", EXTERNAL, 1, None)
        assert (page.promises, page.cursor) == ([settled], None)

    run(talk)


def test_the_sdk_pages_through_a_search(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        for n in range(3):
            await sdk.sender.promise_create(create(f"p{n}"))
        first = await sdk.sender.promise_search("pending", None, 2, None)
        assert first.cursor is not None
        second = await sdk.sender.promise_search("pending", None, 2, first.cursor)
        assert [p.id for p in [*first.promises, *second.promises]] == ["p0", "p1", "p2"]

    run(talk)


def test_the_sdk_takes_a_task_through_its_life(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        held = await sdk.sender.task_create("w1", LEASE_MS, create("t", TARGETED))
        assert (held.task.state, held.task.version, held.preload) == ("acquired", 1, [])
        assert await sdk.sender.task_create_or_conflict("w1", 9, create("t", TARGETED)) == "conflict"

        step = await sdk.sender.task_fence_create("t", 1, create("t:1", INTERNAL))
        assert step.promise.state == "pending"
        done = await sdk.sender.task_fence_settle("t", 1, settle("t:1"))
        assert done.promise.state == "resolved"
        asked = await sdk.sender.task_fence_create("t", 1, create("t:2"))
        await sdk.sender.task_heartbeat("w1", [TaskRef(id="t", version=1)])

        assert await sdk.sender.task_suspend("t", 1, callbacks("t", ["t:2"])) == "suspended"
        answered = await sdk.sender.promise_settle(settle("t:2"))
        again = await sdk.sender.task_acquire("t", 1, "w1", LEASE_MS)
        assert again.preload == [done.promise, answered]
        assert again.preload != [done.promise, asked.promise]
        redirect = await sdk.sender.task_suspend("t", 2, callbacks("t", ["t:2"]))
        assert redirect == Redirect(preload=[done.promise, answered])

        await sdk.sender.task_release("t", 2)
        await sdk.sender.task_acquire("t", 2, "w1", LEASE_MS)
        ended = await sdk.sender.task_fulfill("t", 3, settle("t"))
        assert ended == await sdk.sender.promise_get("t")

    run(talk)


def test_the_sdk_is_told_in_a_sentence_why_a_request_was_refused(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        await sdk.sender.task_create("w1", LEASE_MS, create("t", TARGETED))
        refused: list[tuple[int, Awaitable[Any]]] = [
            (404, sdk.sender.promise_get("nobody")),
            (404, sdk.sender.promise_settle(settle("nobody"))),
            (400, sdk.sender.promise_register_listener("t", "nowhere")),
            (409, sdk.sender.task_acquire("t", 0, "w2", 1)),
            (409, sdk.sender.task_fulfill("t", 9, settle("t"))),
            (422, sdk.sender.task_suspend("t", 1, callbacks("t", ["nobody"]))),
            (400, sdk.sender.promise_search("pending", None, 0, None)),
        ]
        for status, asked in refused:
            with pytest.raises(ServerError) as caught:
                await asked
            assert caught.value.code == status
            assert "server error (status" not in str(caught.value)

    run(talk)


def test_the_sdk_reads_the_messages_that_it_is_handed(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        await sdk.sender.promise_create(create("t", {"resonate:target": ADDRESS}))
        await sdk.sender.promise_create(create("p"))
        await sdk.sender.promise_register_listener("p", sdk.connection.unicast())
        settled = await sdk.sender.promise_settle(settle("p"))
        got: asyncio.Queue[Message] = asyncio.Queue()
        sdk.transport.recv(got.put_nowait)
        await sdk.connection.start()

        execute, unblock = await got.get(), await got.get()

        assert isinstance(execute, ExecuteMsg)
        assert (execute.task_id, execute.version) == ("t", 0)
        assert isinstance(unblock, UnblockMsg)
        assert unblock.promise == settled

    run(talk)


def test_the_addresses_of_a_connection_are_what_the_sdk_targets(run: Run) -> None:
    async def talk(sdk: Sdk) -> None:
        assert sdk.connection.resolve_target("workers") == ADDRESS
        assert ADDRESS in sdk.connection.addresses()
        assert sdk.connection.unicast() in sdk.connection.addresses()
        await asyncio.sleep(0)

    run(talk)


def test_an_error_is_a_string_and_echoes_kind_and_correlation(engine: Engine) -> None:
    raw = engine.run_batch(request("promise.get", {"id": "nobody"}, corr_id="sr-1")).answers[0]

    answer = json.loads(raw)

    assert answer["kind"] == "promise.get"
    assert answer["head"] == {"corrId": "sr-1", "status": 404, "version": "2026-04-01"}
    assert isinstance(answer["data"], str)


def test_the_answer_inside_a_fence_has_a_head_of_its_own(engine: Engine) -> None:
    engine.hold("t")

    inner = engine.fence("t", 1, "promise.create", id="t:1", timeoutAt=DEADLINE)[1]["action"]

    assert inner["head"] == {"corrId": "", "status": 200, "version": "2026-04-01"}


def test_a_task_record_counts_its_resumptions(engine: Engine) -> None:
    engine.hold("t")

    assert engine.task("t")["resumes"] == 0


def test_heads_may_carry_what_the_engine_does_not_use(engine: Engine) -> None:
    head = {"corrId": "c", "version": "2026-04-01", "auth": "secret", "resonate:origin": "p"}
    raw = msgspec.json.encode({"kind": "promise.get", "head": head, "data": {"id": "p", "more": [1]}})

    assert json.loads(engine.server.run_batch([raw]).answers[0])["head"]["status"] == 404
