"""A workflow that asks something else than it did when its run came here first."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from resonate.types import PromiseRecord, Value

from hitl_cli.authoring.changed_question import NewRequest, standing
from hitl_cli.client.protocol import ProtocolRequest, as_promise, search
from hitl_cli.client.wire import audit_of, encode, error_message, headers_of
from hitl_cli.errors import Conflict, QuestionChanged
from hitl_cli.people.contacts import Contact, Directory, NotificationSettings
from hitl_cli.requests.question import REPLACED_BY, Code, Question, question_of
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.desk import address
from tests.notify.receivers import HttpReceiver
from tests.recovery.crew import HOUR_MS, Crew
from tests.worker.watching import end_of, task_of, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl

HEAD = """
import asyncio, time
from datetime import timedelta
from msgspec import Struct
from hitl_cli import QuestionChanged, ask, workflow
"""

STAGING = """
@workflow
async def deploys(ctx):
    decision = await ask(ctx, "Delete staging?", to="reviewer")
    return [decision.id, decision.approved, decision.question.prompt]
"""

PRODUCTION = """
@workflow
async def deploys(ctx):
    decision = await ask(ctx, "Delete production?", to="lead")
    return [decision.id, decision.approved, decision.question.prompt]
"""


class Changing(Crew):
    """Workers whose app is written again by the test."""

    def __init__(self, hitl: Hitl, folder: Path) -> None:
        folder.mkdir()
        self.file = folder / "changing.py"
        super().__init__(hitl, str(self.file))

    def write(self, code: str) -> None:
        """Write the app, under a name that no earlier one was compiled for."""
        self.file.write_text(HEAD + textwrap.dedent(code))
        for compiled in self.file.parent.glob("__pycache__/*"):
            compiled.unlink()

    def deploy(self, code: str, dies_at: int | None = None) -> None:
        """Put other code in the place of what runs."""
        self.kill()
        self.write(code)
        self.worker(dies_at)

    def newer(self, code: str) -> None:
        """Start a worker with newer code beside those that run."""
        self.file = self.file.with_name("newer.py")
        self._app = str(self.file)
        self.write(code)
        self.worker()

    def run(self, code: str, id: str = "r") -> str:
        """Start a run of this code, and return the request that it waits for."""
        self.deploy(code)
        self.begin(id, "deploys")
        return self.asked()

    def failure(self, id: str = "r") -> str:
        """Wait until a run has failed, and return why."""
        wait_until(lambda: self.promise(id).state == "rejected")
        return error_message(self.promise(id).value)

    def requests(self) -> dict[str, Promise]:
        """Return all requests that were ever put, by id."""
        every = search(self.client, tags={"hitl:request": "1"})
        return {promise.id: promise for promise in every}


@pytest.fixture
def crew(hitl: Hitl, tmp_path: Path) -> Iterator[Changing]:
    opened = Changing(hitl, tmp_path / "app")
    yield opened
    opened.close()


def prompt(promise: Promise) -> str:
    question = question_of(promise)
    assert question is not None
    return question.prompt


# Other code


def test_an_answer_given_before_the_code_changed_is_not_used_and_the_new_question_is_put_once(
    crew: Changing,
) -> None:
    old = crew.run(STAGING)
    crew.kill()
    crew.approve(old, by="reviewer")
    crew.deploy(PRODUCTION)
    new = crew.asked()
    assert (old, new) == ("r:1.1", "r:1.r1.1")
    asked = question_of(crew.promise(new))
    assert asked is not None
    assert (asked.prompt, asked.to, asked.replaces) == ("Delete production?", ("lead",), old)
    crew.approve(new, by="lead")
    assert crew.result() == [new, True, "Delete production?"]
    assert set(crew.requests()) == {old, new}


def test_what_waits_is_taken_back_once_its_run_goes_on_and_says_why(crew: Changing) -> None:
    old = crew.run(REMINDS.format(prompt="Delete staging?"))
    crew.deploy(REMINDS.format(prompt="Delete production?"))
    crew.later(HOUR_MS)
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:1.r1.1"])
    taken = crew.promise(old)
    assert taken.state == "rejected_canceled"
    assert headers_of(taken.value)[REPLACED_BY] == "r:1.r1.1"
    assert "r:1.r1.1" in error_message(taken.value)
    assert audit_of(taken).via == "workflow"
    with pytest.raises(Conflict):
        crew.approve(old)
    for n in (1, 2):  # the new one has reminders of its own
        crew.later(HOUR_MS)
        crew.said_in_all(n)
    assert all("r:1.r1.1 has been waiting" in line for line in crew.said())
    crew.approve("r:1.r1.1")
    assert crew.result() is True
    assert [promise.id for promise in search(crew.client, state="pending")] == []


REMINDS = """
@workflow
async def deploys(ctx):
    return (await ask(ctx, "{prompt}", remind="1h")).approved
"""


def test_a_plain_yes_is_no_answer_to_a_question_that_was_inserted_before_it(crew: Changing) -> None:
    crew.run(
        """
        @workflow
        async def deploys(ctx):
            return (await ask(ctx, "Sure?")).data
        """
    )
    crew.kill()
    crew.approve("r:1.1")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            where = await ask(ctx, "Where to?", choices=["north", "south"])
            return [where.choice, (await ask(ctx, "Sure?")).data]
        """
    )
    assert crew.asked() == "r:1.r1.1"
    crew.approve("r:1.r1.1", text="south")
    assert crew.asked() == "r:2.1"
    crew.approve("r:2.1")
    assert crew.result() == ["south", True]


TWO = """
@workflow
async def deploys(ctx):
    first = await ask(ctx, "{first}")
    second = await ask(ctx, "Second?")
    return [first.question.prompt, second.id]
"""


def test_the_answer_to_an_earlier_question_is_not_used_when_that_has_changed(crew: Changing) -> None:
    crew.run(TWO.format(first="Staging?"))
    crew.approve("r:1.1")
    assert crew.asked() == "r:2.1"
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(TWO.format(first="Production?"))
    assert crew.asked() == "r:r1.1"
    crew.approve("r:r1.1")
    assert crew.result() == ["Production?", "r:2.1"]  # the second is as it was


def test_one_that_changes_again_replaces_the_one_that_was_answered(crew: Changing) -> None:
    crew.run(TWO.format(first="A?"))
    crew.kill()
    crew.approve("r:1.1")
    crew.deploy(TWO.format(first="B?"))
    assert crew.asked() == "r:1.r1.1"
    crew.approve("r:1.r1.1")
    assert crew.asked() == "r:2.1"
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(TWO.format(first="C?"))
    assert crew.asked() == "r:r1.1"
    chain = {id: question_of(promise).replaces for id, promise in crew.requests().items()}  # type: ignore[union-attr]
    assert chain == {"r:1.1": None, "r:1.r1.1": "r:1.1", "r:r1.1": "r:1.r1.1", "r:2.1": None}
    crew.approve("r:r1.1")
    assert crew.result() == ["C?", "r:2.1"]


def test_a_question_that_was_removed_leaves_its_answer_to_nothing_else(crew: Changing) -> None:
    crew.run(TWO.format(first="Staging?"))
    crew.approve("r:1.1")
    crew.asked()
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            return (await ask(ctx, "Second?")).id
        """
    )
    assert crew.asked() == "r:r1.1"
    crew.approve("r:r1.1")
    assert crew.result() == "r:r1.1"


GATHERED = """
@workflow
async def deploys(ctx):
    a, b = ask(ctx, "{a}"), ask(ctx, "{b}")
    return [decision.question.prompt for decision in ({how})]
"""


@pytest.mark.parametrize("how", ["await asyncio.gather(a, b)", "await a, await b"])
def test_of_several_that_wait_at_once_those_that_changed_are_asked_anew(crew: Changing, how: str) -> None:
    crew.deploy(GATHERED.format(a="A?", b="B?", how=how))
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    crew.kill()
    crew.approve("r:1.1")
    crew.deploy(GATHERED.format(a="A?", b="Another B?", how=how))
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:2.r1.1"])
    assert crew.promise("r:2.1").state == "rejected_canceled"
    crew.approve("r:2.r1.1")
    assert crew.result() == ["A?", "Another B?"]


def test_questions_in_a_loop_are_compared_one_by_one(crew: Changing) -> None:
    loop = """
    @workflow
    async def deploys(ctx):
        return [(await ask(ctx, f"{{n}} {where}?")).question.prompt for n in range(3)]
    """
    crew.run(loop.format(where="staging"))
    crew.approve("r:1.1")
    crew.asked()
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(loop.format(where="production"))
    for id in ("r:r1.1", "r:2.r1.1", "r:3.1"):
        assert crew.asked() == id
        crew.approve(id)
    assert crew.result() == [f"{n} production?" for n in range(3)]


@pytest.mark.parametrize("call", ["run", "rpc"])
def test_a_question_of_a_child_is_compared_too(crew: Changing, call: str) -> None:
    code = """
    @workflow
    async def child(ctx):
        return (await ask(ctx, "{prompt}")).question.prompt

    @workflow
    async def deploys(ctx):
        return await ctx.options(timeout=timedelta(days=30)).{call}(child)
    """
    assert crew.run(code.format(prompt="Staging?", call=call)) == "r:1.1.1"
    crew.kill()
    crew.approve("r:1.1.1")
    crew.deploy(code.format(prompt="Production?", call=call))
    assert crew.asked() == "r:1.1.r1.1"
    crew.approve("r:1.1.r1.1")
    assert crew.result() == "Production?"


PART = {
    "prompt": ('"A?"', '"B?"'),
    "details": ('"A?", details={"n": 1}', '"A?", details={"n": True}'),
    "arguments": ('"A?", arguments=["ls"]', '"A?", arguments=["rm"]'),
    "valid_for": ('"A?", valid_for="10m"', '"A?", valid_for="1h"'),
    "form": ('"A?", form={"type": "integer"}', '"A?", form={"type": "number"}'),
    "typed form": ('"A?", form=int', '"A?", form=float'),
    "choices": ('"A?", choices=["a", "b"]', '"A?", choices=["a", "b", "c"]'),
    "to": ('"A?", to="reviewer"', '"A?", to=["reviewer", "lead"]'),
    "approvals": ('"A?", approvals=1', '"A?", approvals=2'),
    "allow_self": ('"A?"', '"A?", allow_self=False'),
    "on_deadline": ('"A?", on_deadline="approve"', '"A?", on_deadline="reject"'),
    "escalate": ('"A?", to="a", escalate={"8h": "b"}', '"A?", to="a", escalate={"8h": "c"}'),
    "digest": (
        '"A?", digest=Digest(sha256="0" * 64, file="f")',
        '"A?", digest=Digest(sha256="1" * 64, file="f")',
    ),
}
SAME = {
    "comments and format": ('"A?"', "'A?',  # as before\n\n"),
    "order of names": ('"A?", to=["a", "b"]', '"A?", to={"b", "a"}'),
    "order of choices": ('"A?", choices=["a", "b"]', '"A?", choices=["b", "a"]'),
    "when it is reminded": (
        '"A?", remind="1h"',
        '"A?", remind="2h", priority="high", link="https://a.example"',
    ),
    "how a name is written": ('"A?", to=" a  b"', '"A?", to="a b"'),
    "the name of a file": (
        '"A?", digest=Digest(sha256="0" * 64, file="f")',
        '"A?", digest=Digest(sha256="0" * 64, file="another")',
    ),
}
PARTS = """
from hitl_cli import Digest

@workflow
async def deploys(ctx):
    await ask(ctx, {asked})
    return 1
"""


@pytest.mark.parametrize("part", PART)
def test_each_part_of_a_question_counts(crew: Changing, part: str) -> None:
    before, now = PART[part]
    crew.run(PARTS.format(asked=before))
    crew.kill()
    settle(crew, "r:1.1", 1)
    crew.deploy(PARTS.format(asked=now))
    assert crew.asked() == "r:1.r1.1"


@pytest.mark.parametrize("part", SAME)
def test_what_does_not_change_the_meaning_of_an_answer_asks_nothing_anew(crew: Changing, part: str) -> None:
    before, now = SAME[part]
    crew.run(PARTS.format(asked=before))
    crew.kill()
    settle(crew, "r:1.1", "a")
    crew.deploy(PARTS.format(asked=now))
    assert crew.result() == 1
    assert set(crew.requests()) == {"r:1.1"}


def settle(crew: Crew, id: str, data: object) -> None:
    """Approve a promise past all checks, as another tool would."""
    settlement = {"id": id, "state": "resolved", "value": encode(data)}
    as_promise(crew.client.call_many([ProtocolRequest("promise.settle", settlement)])[0])


@pytest.mark.parametrize("raises", [False, True])
def test_a_question_that_no_code_asks_any_more_is_taken_back_when_its_run_ends(
    crew: Changing, raises: bool
) -> None:
    crew.deploy(GATHERED.format(a="A?", b="B?", how="await asyncio.gather(a, b)"))
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    crew.kill()
    crew.approve("r:1.1")
    end = 'raise ValueError("no")' if raises else "return decision.data"
    crew.deploy(
        f"""
        @workflow
        async def deploys(ctx):
            decision = await ask(ctx, "A?")
            {end}
        """
    )
    wait_until(lambda: not crew.pending())
    assert crew.promise("r:2.1").state == "rejected_canceled"
    assert crew.promise("r").state == ("rejected" if raises else "resolved")


def test_history_and_details_link_what_was_asked_before_and_after(crew: Changing) -> None:
    old = crew.run(STAGING)
    crew.kill()
    crew.approve(old, by="reviewer")
    crew.deploy(PRODUCTION)
    new = crew.asked()
    shown = {id: crew.hitl.json("show", id) for id in (old, new)}
    assert (shown[old]["replaced_by"], shown[old]["replaces"]) == (new, None)
    assert (shown[new]["replaced_by"], shown[new]["replaces"]) == (None, old)
    assert new in crew.hitl.ok("show", old)
    assert old in crew.hitl.ok("show", new)
    [before] = crew.hitl.json("history", old)
    assert (before["outcome"], before["replaced_by"]) == ("approved", new)
    assert new in crew.hitl.ok("history", old)
    crew.approve(new, by="lead")
    crew.result()
    assert [entry["replaces"] for entry in crew.hitl.json("history")] == [old, None]


# What stands there is no question, or the code has none any more


def test_a_bare_promise_where_a_question_was_is_not_given_its_answer(crew: Changing) -> None:
    crew.run(TWO.format(first="Staging?"))
    crew.approve("r:1.1")
    crew.asked()
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            return "deployed" if await ctx.promise(timedelta(days=3)) else "no"
        """
    )
    assert "r:1 " in crew.failure()


@pytest.mark.parametrize("answered", [True, False])
def test_a_question_where_a_bare_promise_was_is_put_anew(crew: Changing, answered: bool) -> None:
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            a, b = ctx.promise(timedelta(days=3)), ctx.promise(timedelta(days=3))
            return [await a, await b]
        """
    )
    crew.begin("r", "deploys")
    assert waiting(crew.client, 2) == ["r:1", "r:2"]
    crew.kill()
    crew.approve("r:1" if answered else "r:2")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            a = ask(ctx, "Deploy?")
            b = ctx.promise(timedelta(days=3))
            return [(await a).id, await b]
        """
    )
    wait_until(lambda: "r:r1.1" in [item.id for item in crew.pending()])
    assert crew.promise("r:1").state == ("resolved" if answered else "rejected_canceled")
    crew.approve("r:r1.1")
    if answered:
        crew.approve("r:2")
    assert crew.result() == ["r:r1.1", True]


def test_a_step_where_a_question_was_is_not_given_its_answer(crew: Changing) -> None:
    crew.run(TWO.format(first="Staging?"))
    crew.approve("r:1.1")
    crew.asked()
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            return await ctx.run(lambda ctx: "charged")
        """
    )
    assert "r:1 " in crew.failure()


def test_a_question_where_a_step_was_is_put_beside_it(crew: Changing) -> None:
    crew.run(
        """
        @workflow
        async def deploys(ctx):
            await ctx.run(lambda ctx: True)
            return (await ask(ctx, "Deploy?")).id
        """
    )
    crew.kill()
    crew.approve("r:2.1")
    crew.deploy(
        """
        @workflow
        async def deploys(ctx):
            return (await ask(ctx, "Deploy?")).id
        """
    )
    assert crew.asked() == "r:r1.1"


# The same code


def test_a_prompt_that_is_another_each_time_fails_the_run_and_names_both(crew: Changing) -> None:
    crew.run(
        """
        @workflow
        async def deploys(ctx):
            return (await ask(ctx, f"At {time.time_ns()}?")).approved
        """
    )
    before = prompt(crew.promise("r:1.1"))
    crew.approve("r:1.1")
    why = crew.failure()
    assert before in why
    assert why.count("At ") == 2
    assert "ctx.run" in why
    assert set(crew.requests()) == {"r:1.1"}


def test_what_waits_is_taken_back_where_the_run_fails(crew: Changing) -> None:
    crew.run(
        """
        @workflow
        async def deploys(ctx):
            return (await ask(ctx, f"At {time.time_ns()}?", remind="1h")).approved
        """
    )
    crew.later(HOUR_MS)
    crew.pending()
    assert "ctx.run" in crew.failure()
    assert crew.promise("r:1.1").state == "rejected_canceled"


def test_it_is_an_exception_that_authors_can_import(crew: Changing) -> None:
    crew.run(
        """
        @workflow
        async def deploys(ctx):
            try:
                await ask(ctx, f"At {time.time_ns()}?")
            except QuestionChanged as error:
                return type(error).__name__
        """
    )
    crew.approve("r:1.1")
    assert crew.result() == "QuestionChanged"


# Kept whatever the code says


KEEPS = """
@workflow
async def deploys(ctx):
    decision = await ask(ctx, {asked}, on_change="keep")
    return [decision.id, decision.data, decision.question.prompt]
"""


def test_a_kept_question_stands_and_the_decision_has_what_was_answered(crew: Changing) -> None:
    crew.run(KEEPS.format(asked='"Delpoy?"'))
    crew.kill()
    crew.approve("r:1.1")
    crew.deploy(KEEPS.format(asked='"Deploy it?"'))
    assert crew.result() == ["r:1.1", True, "Delpoy?"]


def test_a_prompt_that_is_another_each_time_is_kept(crew: Changing) -> None:
    crew.run(KEEPS.format(asked='f"At {time.time_ns()}?"'))
    crew.approve("r:1.1")
    assert crew.result()[0] == "r:1.1"


@pytest.mark.parametrize(
    ("before", "answer", "now"),
    [
        ('"A?", choices=["ship", "hold"]', {"text": "hold"}, '"A?", choices=["ship", "stop"]'),
        ('"A?"', {}, '"A?", choices=["ship", "stop"]'),
        ('"A?", form={"type": "integer"}', {"data": 7}, '"A?", form={"type": "string"}'),
    ],
)
def test_a_kept_answer_that_is_none_to_what_is_asked_now_decides_nothing(
    crew: Changing, before: str, answer: dict[str, Any], now: str
) -> None:
    crew.run(KEEPS.format(asked=before))
    crew.kill()
    crew.approve("r:1.1", **answer)
    crew.deploy(KEEPS.format(asked=now))
    assert "r:1.1" in crew.failure()


def test_a_worker_that_starts_takes_back_what_its_code_asks_otherwise(crew: Changing) -> None:
    (crew.hitl.folder / "hitl.toml").write_text('[requests]\n"*" = {extend = "2d"}\n')
    old = crew.run(STAGING)
    assert checked(crew, STAGING + "# a comment", 0) == []
    crew.deploy(PRODUCTION)
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:1.r1.1"])
    taken = crew.promise(old)
    assert (taken.state, headers_of(taken.value)[REPLACED_BY]) == ("rejected_canceled", "r:1.r1.1")
    crew.approve("r:1.r1.1", by="lead")
    assert crew.result() == ["r:1.r1.1", True, "Delete production?"]
    assert set(crew.requests()) == {old, "r:1.r1.1"}


def test_who_may_assign_it_no_more_by_its_author_is_not_let_by_what_was_asked_before(crew: Changing) -> None:
    asks = """
    @workflow
    async def deploys(ctx):
        return (await ask(ctx, "Pay?", to="lead"{more})).approved
    """
    crew.run(asks.format(more=', reassign="anyone"'))
    crew.deploy(asks.format(more=""))
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:1.r1.1"])
    assert crew.pending()[0].asked.reassign is None


# Seen before it is deployed


def checked(crew: Changing, code: str, exits: int) -> list[dict[str, Any]]:
    """Return what `hitl worker --check` says of this code."""
    crew.kill()
    crew.write(code)
    done = crew.hitl.run("worker", "--check", "--log-json", "--app", str(crew.file))
    assert done.returncode == exits, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


STEPS = """
from pathlib import Path

def note(_ctx, text):
    with Path({file!r}).open("a") as notes:
        notes.write(text)

@workflow
async def deploys(ctx):
    print("in the body")
    await ctx.run(note, "1")
    decision = await ask(ctx, "{prompt}", remind="1h")
    await ctx.run(note, "2")
    return (await ask(ctx, "Sure?")).approved
"""


def test_a_check_lists_what_would_be_asked_anew_and_runs_nothing(crew: Changing, tmp_path: Path) -> None:
    notes = str(tmp_path / "notes")
    crew.run(STEPS.format(file=notes, prompt="Delete staging?"))
    crew.begin("given", "deploys")
    waiting(crew.client, 2)
    crew.kill()
    crew.approve("given:2.1")
    stored = len(search(crew.client))
    assert checked(crew, STEPS.format(file=notes, prompt="Delete staging?") + "# a comment", 0) == []
    found = checked(crew, STEPS.format(file=notes, prompt="Delete production?"), 1)
    assert sorted((one["change"], one["id"], one["waits"], one["asked"], one["now"]) for one in found) == [
        ("asked-anew", "given:2.1", False, "Delete staging?", "Delete production?"),
        ("asked-anew", "r:2.1", True, "Delete staging?", "Delete production?"),
    ]
    assert (tmp_path / "notes").read_text() == "11"
    assert len(search(crew.client)) == stored
    assert crew.promise("r:2.1").state == "pending"
    table = crew.hitl.run("worker", "--check", "--app", str(crew.file))
    assert "r:2.1" in table.stdout
    assert "in the body" not in table.stdout


def test_a_check_decides_nothing_by_a_rule_that_was_made_since(crew: Changing) -> None:
    paying = """
    @workflow
    async def deploys(ctx):
        return (await ask(ctx, "Pay?", arguments={"amount": 5}, to="lead")).approved
    """
    crew.run(paying)
    crew.hitl.ok("start", "given", "--workflow", "deploys", "--no-args", "--as", "reviewer")
    waiting(crew.client, 2)
    crew.hitl.ok("rule", "add", "--where", "amount=5", "--as", "lead")
    assert checked(crew, paying, 0) == []
    assert [one.state for one in map(crew.promise, ("r:1.1", "given:1.1"))] == ["pending", "pending"]


def test_a_check_reads_a_workflow_with_a_task_group(crew: Changing) -> None:
    grouped = """
    import asyncio

    @workflow
    async def deploys(ctx):
        async def asks(prompt):
            return (await ask(ctx, prompt)).approved

        async with asyncio.TaskGroup() as group:
            for prompt in ("A?", "{b}"):
                group.create_task(asks(prompt))
    """
    crew.deploy(grouped.format(b="B?"))
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    assert checked(crew, grouped.format(b="B?") + "# a comment", 0) == []
    found = checked(crew, grouped.format(b="C?"), 1)
    assert [(one["change"], one["id"], one["now"]) for one in found] == [("asked-anew", "r:2.1", "C?")]


def test_a_check_reads_a_workflow_with_eager_tasks(crew: Changing) -> None:
    eager = """
    import asyncio

    @workflow
    async def deploys(ctx):
        async def asks(prompt, delay):
            if delay:
                await asyncio.sleep(delay)
            return (await ask(ctx, prompt)).approved

        loop = asyncio.get_running_loop()
        factory = loop.get_task_factory()
        works = (asks("A?", 0), asks("B?", 0.1))  # from Python 3.14 on: create_task(work, eager_start=True)
        await asyncio.gather(*(factory(loop, work, eager_start=True) for work in works))
    """
    crew.deploy(eager)
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    assert checked(crew, eager, 0) == []


def test_a_check_says_which_runs_would_fail_and_what_is_not_asked_any_more(crew: Changing) -> None:
    crew.deploy(GATHERED.format(a="A?", b="B?", how="await asyncio.gather(a, b)"))
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    only = """
    @workflow
    async def deploys(ctx):
        return (await ask(ctx, "A?")).approved
    """
    assert [(one["change"], one["id"]) for one in checked(crew, only, 1)] == [("taken-back", "r:2.1")]
    fails = """
    @workflow
    async def deploys(ctx):
        return await ctx.promise(timedelta(days=3))
    """
    found = checked(crew, fails, 1)
    assert [(one["change"], one["id"]) for one in found] == [("fails", "r:1.1"), ("fails", "r:2.1")]
    assert "r:1 " in found[0]["why"]


def test_a_check_says_what_it_cannot_tell(crew: Changing) -> None:
    code = """
    async def child(ctx):
        return (await ask(ctx, "{prompt}")).approved

    @workflow
    async def deploys(ctx):
        return await ctx.run(child)
    """
    crew.run(code.format(prompt="A?"))
    found = checked(crew, code.format(prompt="Another?"), 0)
    assert [(one["change"], one["id"]) for one in found] == [("not-checked", "r:1.1.1")]


# Two versions at once, and the way back


BUSY = """
@workflow
async def busy(ctx, until):
    from pathlib import Path
    while not Path(until).exists():
        await asyncio.sleep(0.01)
"""


def test_a_worker_with_older_code_leaves_the_run_to_newer_code_and_does_not_take_it_again(
    crew: Changing, tmp_path: Path
) -> None:
    """Each worker runs one task at a time, so that a busy one leaves the next task to the other."""
    crew.told = {"concurrency": 1}
    code = BUSY + GATHERED
    crew.deploy(code.format(a="A?", b="B?", how="await asyncio.gather(a, b)"))
    crew.begin("r", "deploys")
    waiting(crew.client, 2)
    keep_busy(crew, tmp_path / "older")
    crew.newer(code.format(a="A?", b="Another B?", how="await asyncio.gather(a, b)"))
    crew.approve("r:1.1")
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:2.r1.1"])
    wait_until(lambda: task_of(crew.client, "r").state == "suspended")
    keep_busy(crew, tmp_path / "newer")
    (tmp_path / "older").touch()
    end_of(crew.client, "older")
    crew.approve("r:2.r1.1")
    wait_until(lambda: "started later than this one" in crew.complaints())
    (tmp_path / "newer").touch()
    assert crew.result() == ["A?", "Another B?"]
    assert set(crew.requests()) == {"r:1.1", "r:2.1", "r:2.r1.1"}
    assert crew.complaints().count("execution failed, releasing task task_id=r ") == 1


def keep_busy(crew: Changing, until: Path) -> None:
    """Start a run that occupies the only worker that has room, until this file exists."""
    crew.begin(until.name, "busy", str(until))
    wait_until(lambda: task_of(crew.client, until.name).state == "acquired")


def test_after_a_rollback_the_first_question_is_put_again(crew: Changing) -> None:
    crew.run(STAGING)
    crew.kill()
    crew.approve("r:1.1", by="reviewer")
    crew.deploy(PRODUCTION)
    assert crew.asked() == "r:1.r1.1"
    crew.deploy(STAGING)  # the yes to it was given, and counts
    crew.kill()
    crew.approve("r:1.r1.1", by="lead")
    crew.worker()
    assert crew.result() == ["r:1.1", True, "Delete staging?"]


# Killed in between


@pytest.mark.parametrize("at", range(1, 8))
def test_a_worker_that_dies_in_between_leaves_one_new_question(crew: Changing, at: int) -> None:
    crew.run(REMINDS.format(prompt="Delete staging?"))
    crew.kill()
    crew.later(HOUR_MS)
    crew.deploy(REMINDS.format(prompt="Delete production?"), dies_at=at)
    # It dies, or makes fewer requests than that until it waits for the answer.
    wait_until(lambda: crew.is_dead() or [item.id for item in crew.pending()] == ["r:1.r1.1"])
    crew.kill()
    crew.later(60_000)
    crew.worker()
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:1.r1.1"])
    assert set(crew.requests()) == {"r:1.1", "r:1.r1.1"}
    crew.approve("r:1.r1.1")
    assert crew.result() is True


# What the version before put


PUT = NewRequest(
    question=Question(prompt="A?", code=Code(digest="a", hitl="2", since=2)), tags={}, deadline_ms=1
)


def found(question: Question, value: Value | None = None) -> PromiseRecord:
    """Return the request that asks this."""
    data = msgspec.to_builtins(question)
    return PromiseRecord(
        id="r:1.1", state="pending", param=Value(data=data), value=value or Value(), tags={}, timeout_at=1
    )


def stands(question: Question, put: NewRequest = PUT) -> str:
    return standing(found(question), question, put)


def test_a_question_of_unknown_code_is_other_code_only_where_it_differs() -> None:
    assert stands(Question(prompt="A?")) == "same"
    assert stands(Question(prompt="Another?")) == "other"


def test_a_schema_that_hitl_makes_otherwise_of_the_same_type_is_the_same_question() -> None:
    put = PUT._replace(question=msgspec.structs.replace(PUT.question, form={"type": "string"}), typed=True)
    earlier = Code(digest="a", hitl="1", since=1)
    for code, same in [(None, "same"), (earlier, "same"), (Code(digest="b", hitl="2", since=1), "other")]:
        assert stands(Question(prompt="A?", form={"type": "integer"}, code=code), put) == same


def test_the_same_app_with_another_hitl_may_ask_otherwise_and_with_the_same_one_may_not() -> None:
    assert stands(Question(prompt="B?", code=Code(digest="a", hitl="1", since=1))) == "other"
    with pytest.raises(QuestionChanged) as raised:
        stands(Question(prompt="B?", code=Code(digest="a", hitl="2", since=1)))
    assert raised.value.code == "question-changed"
    assert '"A?"' in str(raised.value)
    assert '"B?"' in str(raised.value)


def test_what_was_asked_by_code_that_was_started_later_is_left_to_it() -> None:
    assert stands(Question(prompt="B?", code=Code(digest="b", hitl="2", since=3))) == "newer"
    assert stands(Question(prompt="B?", code=Code(digest="b", hitl="2", since=2))) == "other"


def test_what_was_taken_back_for_another_question_is_not_waited_for() -> None:
    value = Value(headers={REPLACED_BY: "r:1.r1.1"})
    assert standing(found(PUT.question, value), PUT.question, PUT) == "other"


# Those who were asked


def test_votes_for_what_was_asked_before_do_not_count(crew: Changing) -> None:
    code = """
    @workflow
    async def deploys(ctx):
        decision = await ask(ctx, "Delete {where}?", approvals=2, remind="1h")
        return [vote.by for vote in decision.votes]
    """
    crew.run(code.format(where="staging"))
    crew.approve("r:1.1", by="reviewer")
    crew.deploy(code.format(where="production"))
    crew.later(HOUR_MS)
    wait_until(lambda: [item.id for item in crew.pending()] == ["r:1.r1.1"])
    crew.approve("r:1.r1.1", by="lead")
    assert [item.votes for item in crew.pending()] == [1]
    crew.approve("r:1.r1.1", by="ops")
    assert crew.result() == ["lead", "ops"]


def test_they_are_notified_why_it_is_taken_back_and_of_the_new_one(crew: Changing) -> None:
    code = """
    @workflow
    async def deploys(ctx):
        return (await ask(ctx, "Delete {where}?", to="{to}", remind="1h")).approved
    """
    with HttpReceiver() as receiver:
        contact = Contact(webhook=receiver.url)
        directory = Directory(
            people={"reviewer": contact, "lead": contact}, gateway="http://hitl.example.org"
        )
        crew.told["reach"] = NotificationSettings(directory=directory)
        crew.run(code.format(where="staging", to="reviewer"))
        wait_until(lambda: len(receiver.received) == 1)
        crew.deploy(code.format(where="production", to="lead"))
        crew.later(HOUR_MS)
        wait_until(lambda: crew.pending() and len(receiver.received) >= 3)
    got = [post.body.decode() for post in receiver.received]
    [canceled] = [text for text in got if "hitl.canceled" in text]
    assert "r:1.r1.1" in canceled
    [asked] = [text for text in got if "Delete production?" in text]
    assert "hitl.asked" in asked


@pytest.mark.parametrize("answered", [False, True])
def test_an_old_link_leads_to_the_question_that_is_asked_now(crew: Changing, answered: bool) -> None:
    old = crew.run(STAGING.replace('"reviewer"', '["reviewer", "lead"]'))
    gateway = begin_gateway(crew.hitl)
    try:
        link = crew.hitl.ok("link", old, "--for", "reviewer").strip()
        crew.kill()
        if answered:
            crew.approve(old, by="lead")
        crew.deploy(PRODUCTION)
        wait_until(lambda: crew.promise(old).state != "pending")
        new = crew.asked()
        page = gateway.get(f"/l/{link.rpartition('/')[2]}")
        assert page.status == 410
        assert f"/r/{new}" in page.links
        assert "You need not do anything" not in page.text
    finally:
        gateway.kill()


def test_the_page_of_each_links_the_other(crew: Changing) -> None:
    old = crew.run(STAGING)
    crew.kill()
    crew.approve(old, by="reviewer")
    crew.deploy(PRODUCTION)
    new = crew.asked()
    gateway = begin_gateway(crew.hitl)
    try:
        for id, other in ((old, new), (new, old)):
            assert f'href="/r/{other}"' in gateway.get(address(id)).text
        history = gateway.get("/history").text
        assert new not in history  # of what was answered and not used, its own page tells
        assert old in history
    finally:
        gateway.kill()
