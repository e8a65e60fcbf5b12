"""Tasks over requests: when a step may begin before its promise is stored, and what follows if it may not."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from resonate.error import ServerError
from resonate.types import PromiseCreateReq, PromiseRecord, PromiseSettleReq, TaskRecord, Value

from hitl_cli.client.tags import lineage
from hitl_cli.postgres.turns import Turns
from hitl_cli.sdk.request_ports import NEAR_MS, HeldTask, RequestTaskPorts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

NOW_MS = 1_000_000
LEASE_S = 60.0
STEP = PromiseCreateReq(
    id="r:1",
    timeout_at=NOW_MS + 10 * NEAR_MS,
    param=Value(headers={}),
    tags=lineage("r", scope="local", origin="r"),
)
ENDED = PromiseSettleReq(id="r:1", state="resolved", value=Value(headers={}, data="MQ=="))


class Database(Turns):
    """Answers each batch with what a test says, once it says so."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.batches: list[list[tuple[str, str]]] = []
        self.refused: set[str] = set()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def _answers(self, requests: list[str]) -> Any:
        asked = [json.loads(request) for request in requests]
        self.batches.append(
            [(each["kind"], each["data"].get("action", {}).get("kind", "")) for each in asked]
        )
        await self.goes_on.wait()
        return [json.dumps(self._answer_to(each)).encode() for each in asked]

    def _answer_to(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request["data"].get("action", {}).get("kind", "")
        if kind in self.refused:
            return {"head": {"status": 409}, "data": "conflict"}
        inner = {"head": {"status": 200}, "data": {"promise": record_of(kind)}}
        if request["kind"] == "task.fence":
            return {"head": {"status": 200}, "data": {"action": inner, "preload": []}}
        return {"head": {"status": 200}, "data": {"promise": record_of(kind), "preload": []}}


def in_a_loop[**P](test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def record_of(kind: str) -> dict[str, Any]:
    state, value = ("resolved", ENDED.value.data) if kind == "promise.settle" else ("pending", None)
    place = {
        "id": STEP.id,
        "state": state,
        "tags": STEP.tags,
        "timeoutAt": STEP.timeout_at,
        "createdAt": NOW_MS,
    }
    return {**place, "param": {"headers": {}}, "value": {"headers": {}, "data": value}, "settledAt": None}


def held(database: Database, ago_s: float = 0.0) -> RequestTaskPorts:
    """Return ports that hold the task `r`, which was asked for some time ago."""
    ports = RequestTaskPorts(database.ask, LEASE_S, lambda: NOW_MS)
    task = TaskRecord(id="r", state="acquired", version=1, resumes=0, ttl=60_000, pid="p")
    value = Value(headers={})
    root = PromiseRecord(
        id="r",
        state="pending",
        param=value,
        value=value,
        tags={},
        timeout_at=STEP.timeout_at,
        created_at=NOW_MS,
    )
    ports.give(HeldTask(task, root), time.monotonic() - ago_s)
    return ports


def kinds(batches: Sequence[Sequence[tuple[str, str]]]) -> list[list[str]]:
    return [[inner or kind for kind, inner in batch] for batch in batches]


@in_a_loop
async def test_a_quick_step_is_stored_in_one_batch_with_its_end() -> None:
    database = Database()
    ports = held(database)
    begun = await ports.task_fence_create("r", 1, STEP)
    assert (begun.promise.state, database.batches) == ("pending", [])
    ended = await ports.task_fence_settle("r", 1, ENDED)
    assert ended.promise.state == "resolved"
    assert kinds(database.batches) == [["promise.create", "promise.settle"]]


@in_a_loop
async def test_the_answer_known_beforehand_is_the_one_that_comes() -> None:
    database = Database()
    begun = await held(database).task_fence_create("r", 1, STEP)
    asked = await held(database, ago_s=LEASE_S).task_fence_create("r", 1, STEP)
    assert begun == asked


@in_a_loop
async def test_what_a_slow_step_ends_with_is_asked_after_its_creation_is_answered() -> None:
    database = Database()
    database.goes_on.clear()
    ports = held(database)
    await ports.task_fence_create("r", 1, STEP)
    await asyncio.sleep(0)  # one turn, at whose end it is sent
    await asyncio.sleep(0)
    ending = asyncio.create_task(ports.task_fence_settle("r", 1, ENDED))
    for _ in range(5):
        await asyncio.sleep(0)
    assert kinds(database.batches) == [["promise.create"]]
    database.goes_on.set()
    await ending
    assert kinds(database.batches) == [["promise.create"], ["promise.settle"]]


@in_a_loop
async def test_a_step_whose_creation_is_refused_fails_where_it_ends() -> None:
    database = Database()
    database.refused.add("promise.create")
    ports = held(database)
    await ports.task_fence_create("r", 1, STEP)
    with pytest.raises(ServerError):
        await ports.task_fence_settle("r", 1, ENDED)


@in_a_loop
async def test_of_a_task_that_was_lost_no_step_begins_and_nothing_is_kept() -> None:
    database = Database()
    ports = held(database)
    database.refused = {"promise.create", "promise.settle"}
    with pytest.raises(ServerError):
        await ports.task_fence_settle("r", 1, ENDED)
    with pytest.raises(ServerError):
        await ports.task_fence_create("r", 1, STEP)
    assert ports._holds == {}


@pytest.mark.parametrize("ago_s", [1.1, LEASE_S / 2])
@in_a_loop
async def test_long_after_the_last_word_of_the_server_a_step_waits_for_its_creation(ago_s: float) -> None:
    database = Database()
    database.refused.add("promise.create")
    with pytest.raises(ServerError):
        await held(database, ago_s).task_fence_create("r", 1, STEP)


@in_a_loop
async def test_what_is_no_step_or_of_another_hold_or_near_its_deadline_waits() -> None:
    database = Database()
    database.refused.add("promise.create")
    ports = held(database)
    request = {"tags": lineage("r:1", scope="global", origin="r", parent="r")}
    for version, changed in ((1, request), (2, {}), (1, {"timeout_at": NOW_MS + NEAR_MS})):
        creation = msgspec.structs.replace(STEP, **changed)
        with pytest.raises(ServerError):
            await ports.task_fence_create("r", version, creation)


@in_a_loop
async def test_many_steps_at_once_are_stored_in_their_order() -> None:
    database = Database()
    ports = held(database)
    for _ in range(3):
        await ports.task_fence_create("r", 1, STEP)
    await ports.task_fence_settle("r", 1, ENDED)
    assert kinds(database.batches) == [["promise.create"] * 3 + ["promise.settle"]]
