"""When assignees are reminded: once for all due reminders, however rarely a worker runs."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resonate.context import Context
from resonate.dependencies import DependencyMap
from resonate.types import PromiseRecord

from hitl_cli.authoring.ask import next_occasion, remind
from hitl_cli.requests.question import Escalation, Question
from tests.authoring.test_ask import Seen

if TYPE_CHECKING:
    from collections.abc import Coroutine

ASKED_AT = 1_000_000

durations = st.integers(1, 50)
questions = st.builds(
    Question,
    prompt=st.just("Well?"),
    to=st.just(("ada",)),
    remind=st.none() | durations,
    escalate=st.lists(
        st.builds(Escalation, after=durations, to=st.sampled_from([("lead",), ("boss", "lead"), ("ada",)]))
    ).map(tuple),
)
pauses = st.lists(st.integers(0, 120), min_size=1, max_size=20)


def reminded(question: Question, told: int, now: int) -> tuple[int, str]:
    """Remind at an instant, and return until when that is done, and what was said."""
    context = Context.root(
        id="r:1.2",
        origin_id="r",
        timeout_at=2**50,
        func_name="remind",
        effects=Seen(),
        target_resolver=str,
        deps=DependencyMap(),
        clock=lambda: now,
    )
    request = PromiseRecord(id="r:1.1", state="pending", created_at=ASKED_AT, timeout_at=2**50)
    said = io.StringIO()
    with redirect_stdout(said):
        return result_of(remind(context, question, request, told)), said.getvalue()


def result_of(coroutine: Coroutine[Any, Any, int]) -> int:
    """Return what a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    returned: int = end.value.value
    return returned


def occasions(question: Question, last: int) -> list[int]:
    """Return all instants up to the last one at which somebody is to be told, naively."""
    ages = range(1, last - ASKED_AT + 1)
    return [
        ASKED_AT + age
        for age in ages
        if (question.remind is not None and age % question.remind == 0)
        or any(step.after == age for step in question.escalate)
    ]


@given(questions, pauses)
def test_at_each_look_all_that_was_due_is_said_at_once_and_nothing_else(
    question: Question, pauses: list[int]
) -> None:
    told = ASKED_AT
    for now in accumulate(pauses, initial=ASKED_AT):
        missed = [at for at in occasions(question, now) if at > told]
        due = next_occasion(question, ASKED_AT, told)
        assert (due <= now) == bool(missed)
        if due <= now:
            assert due == missed[0]
            told, said = reminded(question, told, now)
            assert told == now
            assert said.count("\n") == 1
        assert next_occasion(question, ASKED_AT, told) > now


@given(questions, pauses)
def test_each_who_may_answer_too_is_told_so_once(question: Question, pauses: list[int]) -> None:
    told, lines = ASKED_AT, []
    for now in accumulate(pauses, initial=ASKED_AT):
        if next_occasion(question, ASKED_AT, told) <= now:
            told, said = reminded(question, told, now)
            lines.append(said)
    new = [name for line in lines for name in named_new(line)]
    assert sorted(new) == sorted(set(question.asked_at(told - ASKED_AT)) - {"ada"})


def named_new(line: str) -> list[str]:
    """Return who is named as one who may answer too from now on."""
    _, _, rest = line.partition("(now for ")
    return rest.partition(" too)")[0].split(", ") if rest else []
