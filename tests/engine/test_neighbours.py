"""Requests that share a commit do not share their failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.engine import machine, records, server
from tests.engine.conftest import EXTERNAL, TARGETED, request

if TYPE_CHECKING:
    import pytest

    from hitl_cli.engine.machine import State
    from hitl_cli.engine.records import Reply, Single
    from tests.engine.conftest import Engine


def test_a_request_that_breaks_the_server_leaves_no_trace_and_its_neighbours_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_break(tx: State, req: Single, now: int) -> Reply:
        del req
        create = records.PromiseCreate(id="trace", timeout_at=now + 1)
        tx.insert_promise(machine.newborn(create, now, None), {})
        raise ZeroDivisionError

    monkeypatch.setitem(server.RULES, "task.halt", (records.Single, write_and_break))
    create = {"timeoutAt": engine.clock.now + 1_000, "tags": EXTERNAL}

    answers = engine.batch(
        request("promise.create", {"id": "before", **create}),
        request("task.halt", {"id": "x"}),
        request("promise.create", {"id": "after", **create}),
    )

    assert [status for status, _ in answers] == [200, 500, 200]
    assert isinstance(answers[1][1], str)
    assert engine.promise("before")["state"] == "pending"
    assert engine.promise("after")["state"] == "pending"
    assert engine.send("promise.get", id="trace")[0] == 404


def test_a_task_for_any_of_a_group_is_offered_to_all_of_it_whatever_pid_is_preferred(engine: Engine) -> None:
    engine.create("a", {**TARGETED, "resonate:target": "poll://any@workers/gone"})
    assert engine.offers() == [("a", 0)]
