"""A call with a request in it that changed code makes with other arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import question_of
from tests.authoring.test_changed_question import Changing, checked
from tests.conftest import wait_until
from tests.worker.watching import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Hitl


@pytest.fixture
def crew(hitl: Hitl, tmp_path: Path) -> Iterator[Changing]:
    opened = Changing(hitl, tmp_path / "app")
    yield opened
    opened.close()


CONFIRMS = """
import functools

def note(_ctx, text):
    return text

@workflow
async def confirm(ctx, text, keep="ask", stamp=0):
    return (await ask(ctx, text, on_change=keep)).approved

@workflow
async def confirm_after_a_step(ctx, text):
    await ctx.run(note, text)
    return (await ask(ctx, text)).approved

@workflow
async def nested(ctx, text):
    return await ctx.run(confirm, text)

@workflow
async def decision(ctx, text):
    return await ask(ctx, text)

class Confirms:
    def __init__(self, text):
        self._text = text

    async def confirm(self, ctx):
        return await confirm(ctx, self._text)

    async def confirm_it(self, ctx):
        return (await ask(ctx, "Delete staging?")).approved

@workflow
async def deploys(ctx):
    ctx = ctx.options(timeout=timedelta(days=30))
    first = await ({call})
    return [first, (await ask(ctx, "Sure?")).approved]
"""

CALLS = {
    "run": 'ctx.run(confirm, "Delete {0}?")',
    "rpc": 'ctx.rpc(confirm, "Delete {0}?")',
    "rpc by name": 'ctx.rpc("confirm", "Delete {0}?")',
    "keyword": 'ctx.run(confirm, text="Delete {0}?")',
    "partial": 'ctx.run(functools.partial(confirm, text="Delete {0}?"))',
    "nested": 'ctx.run(nested, "Delete {0}?")',
    "rpc of nested": 'ctx.rpc(nested, "Delete {0}?")',
    "lambda": 'ctx.run(lambda c: c.run(confirm, "Delete {0}?"))',
    "method": 'ctx.run(Confirms("Delete {0}?").confirm)',
    "gather": 'asyncio.gather(ctx.run(confirm, "Delete {0}?"))',
}


def code(call: str, what: str) -> str:
    return CONFIRMS.format(call=call.format(what))


ASKS_IN_ITSELF = """
async def confirm_it(ctx):
    "Ask about staging."
    text = "Delete staging?"
    return (await ask(ctx, text)).approved

async def nested_it(ctx):
    return await ctx.run(confirm_it)
"""


def answered(crew: Changing, call: str, app: str | None = None) -> str:
    """Start a run, approve what a call asks, and kill the worker once the run waits after it."""
    request = crew.run(app or code(call, "staging"))
    crew.approve(request)
    assert crew.asked() == "r:2.1"
    crew.kill()
    crew.approve("r:2.1")
    return request


@pytest.mark.parametrize("call", CALLS)
def test_a_yes_that_a_call_came_to_is_not_used_for_a_call_with_other_arguments(
    crew: Changing, call: str
) -> None:
    old = answered(crew, CALLS[call])
    crew.deploy(code(CALLS[call], "production"))
    new = crew.asked()
    assert new == old.replace("r:1.", "r:r1.", 1)
    asked = question_of(crew.promise(new))
    assert asked is not None
    assert asked.prompt == "Delete production?"
    crew.reject(new)
    result = crew.result()
    assert result in ([False, True], [[False], True])


def test_the_new_request_is_linked_to_the_one_that_it_replaces(crew: Changing) -> None:
    old = answered(crew, CALLS["nested"])
    crew.deploy(code(CALLS["nested"], "production"))
    asked = question_of(crew.promise(crew.asked()))
    assert asked is not None
    assert asked.replaces == old


@pytest.mark.parametrize("call", CALLS)
def test_the_same_call_keeps_its_result_in_other_code(crew: Changing, call: str) -> None:
    answered(crew, CALLS[call])
    crew.deploy(code(CALLS[call], "staging").replace("Sure?", "Sure? "))
    assert crew.asked() == "r:2.r1.1"


def test_a_call_with_steps_below_it_is_not_repeated_and_fails_the_run(crew: Changing) -> None:
    answered(crew, 'ctx.run(confirm_after_a_step, "Delete {0}?")')
    crew.deploy(code('ctx.run(confirm_after_a_step, "Delete {0}?")', "production"))
    why = crew.failure()
    assert "r:1 " in why
    assert "confirm_after_a_step" in why


@pytest.mark.parametrize("asks", ["confirm_it", "Confirms(0).confirm_it", "nested_it"])
def test_the_yes_to_a_text_in_the_called_function_is_not_used_for_another_text(
    crew: Changing, asks: str
) -> None:
    deploys = ASKS_IN_ITSELF + CONFIRMS
    answered(crew, "", deploys.replace("{call}", f"ctx.run({asks})"))
    crew.deploy(deploys.replace("{call}", f"ctx.run({asks})").replace("staging", "production"))
    asked = question_of(crew.promise(crew.asked()))
    assert asked is not None
    assert asked.prompt == "Delete production?"


@pytest.mark.parametrize(
    ("old", "new"), [("about staging", "about what is deleted"), ("text = ", "said = text = ")]
)
def test_a_called_function_with_other_comments_or_names_keeps_its_result(
    crew: Changing, old: str, new: str
) -> None:
    deploys = (ASKS_IN_ITSELF + CONFIRMS).replace("{call}", "ctx.run(confirm_it)")
    answered(crew, "", deploys)
    crew.deploy(deploys.replace(old, new))
    assert crew.result() == [True, True]


@pytest.mark.parametrize("call", ["run", "rpc"])
def test_an_argument_that_is_another_each_time_fails_the_run(crew: Changing, call: str) -> None:
    request = crew.run(code(f'ctx.{call}(confirm, "Delete {{0}}?", stamp=time.time_ns())', "staging"))
    crew.approve(request)
    if call == "run":  # it has not come there again yet
        assert crew.asked() == "r:2.1"
        crew.approve("r:2.1")
    why = crew.failure()
    assert "r:1 " in why
    assert "ctx.run" in why


@pytest.mark.parametrize(
    "call",
    [
        "ctx.run(note, time.time_ns())",  # nobody is asked below it
        'ctx.rpc("noted", time.time_ns())',
        'ctx.run(confirm, "Delete it?", "keep", time.time_ns())',
    ],
)
def test_a_call_that_put_no_request_is_not_compared_nor_one_that_keeps_its_question(
    crew: Changing, call: str
) -> None:
    noted = "\n@workflow\nasync def noted(ctx, text):\n    return text\n"
    crew.deploy(CONFIRMS.format(call=call) + noted)
    crew.begin("r", "deploys")
    if "keep" in call:
        crew.approve(crew.asked())
    assert crew.asked() == "r:2.1"
    crew.kill()
    crew.approve("r:2.1")
    crew.worker()
    assert crew.result()[1] is True


def test_a_function_that_returns_its_decision_goes_on(crew: Changing) -> None:
    answered(crew, 'ctx.run(decision, "Delete {0}?")')
    crew.worker()
    assert crew.result()[1] is True


def test_an_ask_where_an_answered_call_was_is_put_anew(crew: Changing) -> None:
    answered(crew, 'ctx.run(decision, "Delete {0}?")')
    crew.deploy(code('ask(ctx, "Delete {0}?")', "production"))
    assert crew.asked() == "r:r1.1"


def test_a_call_that_still_waits_is_compared_when_it_ends(crew: Changing) -> None:
    old = crew.run(code(CALLS["rpc"], "staging"))
    crew.deploy(code(CALLS["rpc"], "production"))
    crew.approve(old)
    wait_until(lambda: [one.id for one in crew.pending()] == ["r:r1.1.1"])
    asked = question_of(crew.promise("r:r1.1.1"))
    assert asked is not None
    assert asked.prompt == "Delete production?"


def test_after_a_rollback_the_first_result_counts(crew: Changing) -> None:
    answered(crew, CALLS["run"])
    crew.deploy(code(CALLS["run"], "production"))
    assert crew.asked() == "r:r1.1.1"
    crew.kill()
    crew.deploy(code(CALLS["run"], "staging"))
    crew.kill()
    crew.approve("r:r1.1.1")
    crew.worker()
    assert crew.result() == [True, True]


@pytest.mark.parametrize("at", range(1, 7))
def test_a_worker_that_dies_in_between_leaves_one_new_request(crew: Changing, at: int) -> None:
    old = answered(crew, CALLS["run"])
    crew.deploy(code(CALLS["run"], "production"), dies_at=at)
    crew._workers[-1].join(5)
    crew.kill()
    crew.later(60_000)
    crew.worker()
    assert crew.asked() == "r:r1.1.1"
    assert set(crew.requests()) == {old, "r:2.1", "r:r1.1.1"}


@pytest.mark.parametrize(
    ("call", "change"),
    [
        (CALLS["run"], "asked-anew"),
        (CALLS["rpc"], "asked-anew"),
        ('ctx.run(confirm_after_a_step, "Delete {0}?")', "fails"),
    ],
)
def test_a_check_says_which_answered_call_would_be_made_anew(crew: Changing, call: str, change: str) -> None:
    old = crew.run(code(call, "staging"))
    crew.approve(old)
    assert crew.asked() == "r:2.1"
    assert checked(crew, code(call, "staging") + "# a comment", 0) == []
    found = {one["id"]: one["change"] for one in checked(crew, code(call, "production"), 1)}
    assert found[old] == change


def test_a_check_says_that_a_call_which_waits_would_be_made_anew(crew: Changing) -> None:
    old = crew.run(code(CALLS["rpc"], "staging"))
    found = checked(crew, code(CALLS["rpc"], "production"), 1)
    assert ("asked-anew", old, True) in [(one["change"], one["id"], one["waits"]) for one in found]
    assert waiting(crew.client) == [old]
