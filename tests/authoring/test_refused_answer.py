"""An answer that fits the schema of a form and not its type: the question is put again, and the run waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.authoring.refused_answer import MOST
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import encode
from hitl_cli.requests.question import question_of
from tests.authoring.test_changed_question import Changing
from tests.conftest import wait_until
from tests.recovery.crew import HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.requests.question import Question
    from tests.conftest import Hitl

PAYS = """
import pydantic

class Pay(pydantic.BaseModel):
    amount: int

    @pydantic.field_validator("amount")
    @classmethod
    def even(cls, value):
        if value % {step}:
            raise ValueError("must be even")
        return value

class Struct2(Struct):
    amount: int

    def __post_init__(self):
        if self.amount % {step}:
            raise ValueError("must be even")

@workflow
async def pays(ctx, n):
    form = Pay if n else Struct2
    decision = await ask(ctx, "How much?", form=form, {options})
    second = await ask(ctx, "Sure?")
    return [decision.id, decision.data and decision.data.amount, decision.by, second.id]
"""


class Paying(Changing):
    def pay(self, options: str = "", *, step: int = 2, model: int = 1) -> str:
        """Start a run, and return the request that it waits for."""
        self.deploy(PAYS.format(options=options, step=step))
        self.begin("r", "pays", model)
        return self.asked()

    def question(self, id: str) -> Question:
        """Return the question of a request."""
        question = question_of(self.promise(id))
        assert question is not None
        return question

    def next_after(self, id: str) -> str:
        """Wait until another request waits than one that was answered, and return it."""
        wait_until(lambda: self.promise(id).state != "pending" and self.hitl.json("pending"))
        return self.asked()


@pytest.fixture
def crew(hitl: Hitl, tmp_path: Path) -> Iterator[Paying]:
    opened = Paying(hitl, tmp_path / "app")
    yield opened
    opened.close()


@pytest.mark.parametrize("model", [0, 1])
def test_what_no_schema_can_say_is_asked_again_until_it_fits(crew: Paying, model: int) -> None:
    first = crew.pay(model=model)
    crew.approve(first, by="reviewer", data={"amount": 3})
    second = crew.next_after(first)
    assert (first, second) == ("r:1.1", "r:1.r1.1")
    asked = crew.question(second)
    assert asked.refused is not None
    assert (asked.replaces, asked.refused.by, asked.refused.data) == (first, "reviewer", {"amount": 3})
    assert "must be even" in asked.refused.why
    assert asked.refused.times == 1
    crew.approve(second, by="lead", data={"amount": 5})
    third = crew.next_after(second)
    again = crew.question(third).refused
    assert again is not None
    assert (again.by, again.times) == ("lead", 2)
    crew.kill()
    crew.worker()
    crew.approve(third, by="lead", data={"amount": 4})
    sure = crew.next_after(third)
    crew.approve(sure)
    assert crew.result() == [third, 4, "lead", "r:2.1"]
    assert set(crew.requests()) == {first, second, third, sure}


def test_the_person_sees_why_their_answer_did_not_fit(crew: Paying) -> None:
    first = crew.pay('to=["reviewer"]')
    crew.approve(first, by="reviewer", data={"amount": 3})
    second = crew.next_after(first)
    [listed] = crew.hitl.json("pending")
    assert listed["refused"]["why"].endswith("must be even")
    assert (listed["refused"]["by"], listed["refused"]["data"]) == ("reviewer", {"amount": 3})
    assert listed["replaces"] == first
    assert "must be even" in crew.hitl.ok("pending")
    shown = crew.hitl.ok("show", second)
    for said in ("must be even", "reviewer", "Amount: 3", first):
        assert said in shown
    answered = crew.hitl.ok("show", first)
    assert second in answered
    assert "must be even" in answered
    assert crew.hitl.json("show", first)["replaced_by"] == second


def test_a_restart_in_between_asks_once(crew: Paying) -> None:
    first = crew.pay()
    crew.kill()
    crew.approve(first, data={"amount": 3})
    for at in range(2, 8):  # wherever it dies, the question is put again once
        crew.worker(at)
        wait_until(lambda: crew.is_dead() or [item.id for item in crew.pending()] == ["r:1.r1.1"])
        crew.kill()
        crew.later(60_000)  # what it had in hand is free again
    crew.worker()
    second = crew.next_after(first)
    assert second == "r:1.r1.1"
    crew.deploy(PAYS.format(options="", step=1))  # the type takes the first answer by now: that came too late
    crew.approve(second, data={"amount": 8})
    sure = crew.next_after(second)
    crew.approve(sure)
    assert crew.result()[:2] == [second, 8]


def test_that_an_answer_does_not_fit_is_logged_once_however_often_the_run_goes_on(crew: Paying) -> None:
    first = crew.pay()
    crew.approve(first, data={"amount": 3})
    second = crew.next_after(first)
    crew.approve(second, data={"amount": 5})
    crew.next_after(second)
    wait_until(lambda: f"{second}: the data of the decision does not fit" in crew.complaints())
    assert crew.complaints().count(f"{first}: the data of the decision does not fit") == 1


def test_it_is_asked_of_those_who_may_answer_by_then_for_the_time_that_is_left(crew: Paying) -> None:
    first = crew.pay('to=["reviewer"], escalate={"2h": ["lead"], "20h": ["boss"]}, deadline="1d"')
    crew.later(3 * HOUR_MS)
    crew.approve(first, by="lead", data={"amount": 3})
    second = crew.next_after(first)
    asked = crew.question(second)
    assert asked.to == ("reviewer", "lead")
    [ahead] = asked.escalate
    assert ahead.to == ("boss",)
    assert 16 * HOUR_MS < ahead.after <= 17 * HOUR_MS
    left = crew.promise(second).timeout_at - crew.promise(first).timeout_at
    assert abs(left) < HOUR_MS / 60
    crew.approve(second, by="lead", data={"amount": 2})
    crew.approve(crew.next_after(second))
    assert crew.result()[1:3] == [2, "lead"]


def test_an_automatic_answer_that_does_not_fit_is_refused_before_it_is_asked(crew: Paying) -> None:
    crew.deploy(PAYS.format(options='on_deadline={"amount": 3}, deadline="1h"', step=2))
    crew.begin("r", "pays", 1)
    assert "must be even" in crew.failure()
    assert not crew.requests()


def test_what_answers_by_itself_is_not_asked_for_ever(crew: Paying) -> None:
    request = crew.pay()
    for _ in range(MOST):
        crew.approve(request, data={"amount": 3})
        request = crew.next_after(request)
    crew.approve(request, data={"amount": 3})
    assert "must be even" in crew.failure()


def test_what_another_tool_answered_is_asked_again_too(crew: Paying) -> None:
    first = crew.pay()
    settle = {"id": first, "state": "resolved", "value": encode({"amount": 1})}
    crew.client.call_many([ProtocolRequest("promise.settle", settle)])
    second = crew.next_after(first)
    refused = crew.question(second).refused
    assert refused is not None
    assert (refused.by, refused.data) == (None, {"amount": 1})
    assert "another tool" in crew.hitl.ok("show", second)
    crew.reject(second, by="lead")  # a no is a no
    crew.approve(crew.next_after(second))
    assert crew.result()[:3] == [second, None, "lead"]
