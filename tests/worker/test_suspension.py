"""How a workflow suspends and ends that waits for several things at once, or forgets to wait."""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.failure import failure_in
from hitl_cli.client.protocol import search
from hitl_cli.client.tags import belongs_to_notification
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import BadInput
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.pending import pending
from hitl_cli.people.actor import Actor
from hitl_cli.runs import Runs
from hitl_cli.runs.reading import get_run
from hitl_cli.sdk import suspension
from hitl_cli.sdk.suspension import PATIENCE_S
from tests.conftest import APPS, NOBODY, Hitl, wait_until
from tests.recovery.crew import DAY_MS, LEASE_MS, Crew
from tests.worker.watching import end_of, task_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitl_cli.client.wire import Promise
    from hitl_cli.runs.run import Run

APP = str(APPS / "at_once.py")

HEARD_S = 5.0
"""Far less than a lease, after which an answer would be noticed in any case."""


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """A worker for all tests here: each has a run of its own."""
    opened = Crew(Hitl(tmp_path_factory.mktemp("suspension")), APP)
    opened.worker()
    yield opened
    complaints = opened.complaints()
    opened.close()
    for complaint in ("never retrieved", "unhandled errors", "coroutine", "pending todos"):
        assert complaint not in complaints, complaints


def asked(crew: Crew, run: str, *prompts: str | None) -> dict[str | None, str]:
    """Wait until a run asks exactly this and is suspended; return the ids of its requests."""

    def found() -> dict[str | None, str]:
        return {item.prompt: item.id for item in pending(crew.client)[0] if item.workflow == run}

    def is_asked() -> bool:
        assert crew.promise(run).state == "pending", get_run(crew.client, run).error
        return set(found()) == set(prompts) and task_of(crew.client, run).state == "suspended"

    wait_until(is_asked)
    return found()


def begun(crew: Crew, workflow: str, *args: object) -> str:
    """Start a run, named after its workflow and arguments, and return its id."""
    id = f"{workflow}-{zlib.crc32(repr(args).encode())}"
    crew.begin(id, workflow, *args)
    return id


def ended(crew: Crew, run: str) -> Run:
    """Wait until a run has ended and nothing is left of it, sooner than a lease would end; return it."""
    since = time.monotonic()
    end = end_of(crew.client, run)
    wait_until(lambda: not left(crew, run))
    assert time.monotonic() - since < HEARD_S
    return end


def left(crew: Crew, run: str) -> list[str]:
    """Return the ids of what is pending below a run, notices among it."""
    return [promise.id for promise in search(crew.client, state="pending", idPrefix=f"{run}:")]


def requests(crew: Crew, run: str) -> dict[str, Promise]:
    """Return all requests of a run."""
    return {p.id: p for p in search(crew.client, idPrefix=f"{run}:") if "hitl:request" in p.tags}


# What nobody waits for any more


@pytest.mark.parametrize(
    ("workflow", "others"),
    [
        ("gathers", 1),
        ("gathers_deeply", 2),
        ("groups", 1),
        ("asks_one_by_one", 1),
        ("steps", 1),
        ("calls", 1),
    ],
)
def test_the_first_no_ends_the_run_and_what_else_it_asked_is_taken_back(
    crew: Crew, workflow: str, others: int
) -> None:
    run = begun(crew, workflow)
    prompts = ["A?", "B?", "C?"][: others + 1]
    if workflow == "calls":
        wait_until(lambda: len([p for p in requests(crew, run).values() if p.state == "pending"]) == 2)
        ids: dict[str | None, str] = {"A?": f"{run}:1.1.1", "B?": f"{run}:2.1.1"}
    else:
        ids = asked(crew, run, *prompts)
    crew.reject(ids["A?"], reason="over budget")
    end = ended(crew, run)
    assert end.state == "failed"
    assert "over budget" in str(end.error)
    states = {id: promise.state for id, promise in requests(crew, run).items()}
    assert states.pop(ids["A?"]) == "rejected"
    assert list(states.values()) == ["rejected_canceled"] * others
    moot = requests(crew, run)[ids["B?"]]
    assert (audit_of(moot).by, audit_of(moot).via) == (None, "workflow")


def test_the_first_answer_is_enough_and_the_other_question_is_taken_back(crew: Crew) -> None:
    run = begun(crew, "takes_the_first")
    ids = asked(crew, run, "A?", "B?")
    Inbox(crew.client, Actor(person="ada", via="test")).comment(ids["A?"], "rather not")
    [comment] = search(crew.client, idPrefix=f"{ids['A?']}.c")
    crew.approve(ids["B?"], data="mine")
    assert end_of(crew.client, run).result == ["mine"]
    wait_until(lambda: requests(crew, run)[ids["A?"]].state == "rejected_canceled")
    assert crew.promise(comment.id).state == comment.state


def test_an_answer_before_a_pause_is_over_ends_the_run_without_the_pause(crew: Crew) -> None:
    run = begun(crew, "takes_the_first_before_a_pause")
    crew.approve(asked(crew, run, "A?")["A?"], data=7)
    assert ended(crew, run).result == 7


def test_what_was_asked_and_never_awaited_is_taken_back_and_the_worker_says_so(crew: Crew) -> None:
    run = begun(crew, "forgets", "nothing")
    assert ended(crew, run).result == "nothing was used"
    assert [promise.state for promise in requests(crew, run).values()] == ["rejected_canceled"]
    assert f"{run}:1.1" in crew.complaints()


def test_what_the_code_asked_before_it_was_changed_is_taken_back(crew: Crew, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.write_text("asks")
    run = begun(crew, "asks_no_more", str(code))
    ids = asked(crew, run, "A?", "B?")
    crew.approve(ids["A?"], data=7)
    assert ended(crew, run).result == 7
    assert requests(crew, run)[ids["B?"]].state == "rejected_canceled"


def test_what_sys_exit_leaves_behind_is_taken_back(crew: Crew) -> None:
    run = begun(crew, "leaves_by_exit")
    assert ended(crew, run).state == "failed"
    assert [promise.state for promise in requests(crew, run).values()] == ["rejected_canceled"]


def test_a_call_that_was_never_awaited_is_waited_for_with_what_it_asks(crew: Crew) -> None:
    run = begun(crew, "calls_and_forgets")
    wait_until(lambda: requests(crew, run) and task_of(crew.client, f"{run}:1").state == "suspended")
    assert task_of(crew.client, run).state == "suspended"
    crew.approve(f"{run}:1.1.1", data=7)
    assert ended(crew, run).result == "done"


def test_what_a_canceled_run_asked_is_taken_back(crew: Crew) -> None:
    crew.begin("canceled", "gathers_deeply")
    asked(crew, "canceled", "A?", "B?", "C?")
    Runs(crew.client, NOBODY).cancel("canceled")
    assert {promise.state for promise in requests(crew, "canceled").values()} == {"rejected_canceled"}


# At the same time


@pytest.mark.parametrize("workflow", ["groups", "groups_beside_its_own_await", "takes_them_as_they_come"])
def test_each_answer_is_noticed_at_once_and_the_run_waits_on_for_the_other(crew: Crew, workflow: str) -> None:
    run = f"{workflow}-both"
    crew.begin(run, workflow)
    ids = asked(crew, run, "A?", "B?")
    crew.approve(ids["B?"], data=2)
    crew.approve(asked(crew, run, "A?")["A?"], data=1)
    assert sorted(ended(crew, run).result) == [1, 2]


def test_a_gather_that_is_awaited_later_is_suspended_without_a_complaint(crew: Crew) -> None:
    run = begun(crew, "gathers_later")
    for prompt, id in asked(crew, run, "A?", "B?", "C?").items():
        crew.approve(id, data=prompt)
    assert ended(crew, run).result == ["A?", "B?", "C?"]


def test_a_step_that_ends_while_another_task_waits_for_a_person_leaves_the_run_to_suspend(crew: Crew) -> None:
    run = begun(crew, "groups_beside_a_slow_step")
    crew.approve(asked(crew, run, "A?")["A?"], data=1)
    assert ended(crew, run).result == [1, 2]


def test_a_task_group_of_plain_promises_suspends_and_returns_both(crew: Crew) -> None:
    run = begun(crew, "groups_promises")
    wait_until(lambda: len(left(crew, run)) == 2 and task_of(crew.client, run).state == "suspended")
    crew.approve(f"{run}:2", data=2)
    wait_until(lambda: len(left(crew, run)) == 1 and task_of(crew.client, run).state == "suspended")
    crew.approve(f"{run}:1", data=1)
    assert ended(crew, run).result == [1, 2]


def test_a_branch_of_a_group_goes_on_to_its_next_question_while_the_other_waits(crew: Crew) -> None:
    run = begun(crew, "groups_a_sequence")
    crew.approve(asked(crew, run, "A?", "B?")["A?"], data=1)
    ids = asked(crew, run, "A2?", "B?")
    crew.approve(ids["B?"], data=3)
    crew.approve(asked(crew, run, "A2?")["A2?"], data=2)
    assert ended(crew, run).result == [1, 2, 3]


def test_a_gather_that_returns_exceptions_returns_those_of_the_workflow_alone(crew: Crew) -> None:
    run = begun(crew, "gathers_errors")
    ids = asked(crew, run, "A?", "B?")
    crew.reject(ids["A?"], reason="over budget")
    crew.approve(asked(crew, run, "B?")["B?"], data=2)
    no, yes = ended(crew, run).result
    assert "over budget" in no
    assert yes == "2"


def test_a_wait_that_cannot_be_seen_to_be_one_for_a_question_suspends_too(crew: Crew) -> None:
    run = begun(crew, "shields")
    crew.approve(asked(crew, run, "A?")["A?"], data=1)
    assert ended(crew, run).result == 1


@pytest.mark.parametrize(
    "workflow", ["takes_them_from_a_generator", "takes_them_with_a_default", "groups_with_anyio"]
)
def test_a_hidden_wait_for_what_another_task_asks_suspends_at_once(crew: Crew, workflow: str) -> None:
    run = begun(crew, workflow)
    since = time.monotonic()
    ids = asked(crew, run, "A?", "B?")
    assert time.monotonic() - since < PATIENCE_S
    crew.approve(ids["B?"], data=2)
    crew.approve(asked(crew, run, "A?")["A?"], data=1)
    assert sorted(ended(crew, run).result) == [1, 2]


def test_a_function_that_catches_its_cancellation_and_awaits_more_suspends(crew: Crew) -> None:
    run = begun(crew, "catches_its_cancellation")
    for prompt, id in asked(crew, run, "A?", "B?").items():
        crew.approve(id, data=prompt)
    assert ended(crew, run).result == ["A?", "B?"]


def test_a_task_that_nobody_awaits_does_not_keep_a_function_that_catches_its_cancellation(crew: Crew) -> None:
    run = begun(crew, "catches_its_cancellation_beside_a_task")
    asked(crew, run, "A?", "B?")
    Runs(crew.client, NOBODY).cancel(run)


def test_what_a_function_awaits_in_finally_is_waited_for_before_it_suspends(
    crew: Crew, tmp_path: Path
) -> None:
    end = tmp_path / "ended"
    run = begun(crew, "cleans_up", str(end))
    asked(crew, run, "A?")
    assert end.exists()
    Runs(crew.client, NOBODY).cancel(run)


def test_tasks_that_nobody_awaits_end_when_the_run_suspends(crew: Crew, tmp_path: Path) -> None:
    end = tmp_path / "ended"
    run = begun(crew, "forgets_tasks", str(end))
    ids = asked(crew, run, "A?")
    wait_until(end.exists)
    crew.approve(ids["A?"], data=1)
    assert ended(crew, run).result == 1


@pytest.mark.parametrize(
    ("workflow", "args"),
    [
        ("groups_slow_work", ()),
        ("groups_slow_network", ()),
        ("gathers_eager_tasks", ()),
        ("groups_slow_signals", ("timer",)),
        ("groups_slow_signals", ("thread",)),
    ],
)
def test_a_branch_that_takes_a_moment_before_it_asks_is_waited_for(
    crew: Crew, workflow: str, args: tuple[str, ...]
) -> None:
    run = begun(crew, workflow, *args)
    since = time.monotonic()
    ids = asked(crew, run, "A?", "B?")
    assert time.monotonic() - since < PATIENCE_S
    for prompt, id in ids.items():
        crew.approve(id, data=prompt)
    assert ended(crew, run).result == ["A?", "B?"]


@pytest.mark.parametrize("workflow", ["groups_under_a_limit", "groups_a_shared_task"])
def test_a_branch_that_waits_for_another_run_of_the_worker_is_waited_for(crew: Crew, workflow: str) -> None:
    runs = [f"{workflow}-{number}" for number in range(3)]
    for run in runs:
        crew.begin(run, workflow)
    for run in runs:
        for prompt, id in asked(crew, run, "A?", "B?").items():
            crew.approve(id, data=prompt)
        assert ended(crew, run).result == ["A?", "B?"]


# Timeouts of asyncio


@pytest.mark.parametrize(
    "how",
    [
        "timeout",
        "wait_for",
        "wait",
        "as_completed",
        "gather",
        "in a group",
        "in a group of anyio",
        "promise",
        "sleep",
        "call",
    ],
)
def test_a_timeout_around_a_wait_that_can_last_is_an_error_that_names_the_deadline(
    crew: Crew, how: str
) -> None:
    run = begun(crew, "times_out", how)
    end = ended(crew, run)
    assert end.state == "failed"
    assert "deadline=" in str(end.error)
    assert "at_once.py" in str(failure_in(crew.promise(run).value).where)


def test_a_timeout_around_a_step_is_the_workflows_own_affair(crew: Crew) -> None:
    run = begun(crew, "times_a_step")
    crew.approve(asked(crew, run, "Well?")["Well?"], data=7)
    assert ended(crew, run).result == 7


def test_a_timeout_of_a_loop_is_not_one_of_what_is_asked_in_it(crew: Crew) -> None:
    run = begun(crew, "asks_between_timed_work")
    for delay in (0, 0.2):
        crew.approve(asked(crew, run, f"{delay}?")[f"{delay}?"], data=delay)
    assert ended(crew, run).result == [0, 0.2]


def test_a_timeout_is_recorded_on_an_event_loop_with_timers_of_its_own() -> None:
    class Timer:
        """Shows as little as that of uvloop."""

        def __init__(self, timer: asyncio.TimerHandle) -> None:
            self.cancel, self.cancelled, self.when = timer.cancel, timer.cancelled, timer.when

    class Loop(asyncio.SelectorEventLoop):
        def call_at(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
            return Timer(super().call_at(*args, **options))

    async def times_out() -> None:
        suspension.install(asyncio.get_running_loop())
        function = suspension._Function(object())
        suspension._current.set(function)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.sleep(0)
            with pytest.raises(BadInput, match="deadline="):
                function.concurrent()._refuse_timeouts(asyncio.current_task())

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(times_out())


# Exceptions that are no failures


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_function_that_catches_all_exceptions_waits_for_its_answer_even_so(crew: Crew, how: str) -> None:
    run = begun(crew, "catches_all", how)
    crew.approve(asked(crew, run, "A?")["A?"])
    assert ended(crew, run).result is True


@pytest.mark.parametrize("where", ["workflow", "step"])
def test_a_run_that_awaits_a_task_it_canceled_fails_and_says_so(crew: Crew, where: str) -> None:
    end = ended(crew, begun(crew, "awaits_a_canceled_task", where))
    assert end.state == "failed"
    assert "CancelledError" in str(end.error)


# A forgotten await, and what cannot be asked


@pytest.mark.parametrize("how", ["attribute", "method", "truth", "equality", "text", "item", "result"])
def test_a_question_that_is_used_before_it_was_awaited_says_so_at_once(crew: Crew, how: str) -> None:
    run = begun(crew, "forgets", how)
    end = ended(crew, run)
    assert end.state == "failed"
    assert "await" in str(end.error)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prompt": "x?", "deadline": "soon"}, "'soon'"),
        ({"prompt": "x?", "deadlin": "1d"}, "'deadlin'"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x?", "form": 7}, "7"),
        ({"prompt": "x?", "tags": {"hitl:x": "1"}}, "hitl:x"),
    ],
)
def test_what_cannot_be_asked_ends_the_run_with_the_reason(
    crew: Crew, options: dict[str, Any], named: str
) -> None:
    run = begun(crew, "asks_badly", options)
    end = ended(crew, run)
    assert end.state == "failed"
    assert named in str(end.error)
    assert "at_once.py" in str(failure_in(crew.promise(run).value).where)
    assert crew.promise(run).settled_at - crew.promise(run).created_at < HEARD_S * 1_000  # type: ignore[operator]


# kill -9


@pytest.mark.parametrize("dies_at", range(5, 11))
def test_a_worker_killed_at_any_request_leaves_no_question_that_nobody_waits_for(
    hitl: Hitl, dies_at: int
) -> None:
    crew = Crew(hitl, APP)
    first = crew.worker(dies_at)
    crew.begin("r", "gathers")
    try:
        survivors = 0

        def survived(condition: Callable[[], object]) -> object:
            nonlocal survivors
            if first.exitcode is not None and not survivors:
                survivors += 1
                crew.later(LEASE_MS)
                crew.worker()
            return condition()

        wait_until(
            lambda: survived(
                lambda: len(crew.pending()) == 2 and task_of(crew.client, "r").state == "suspended"
            )
        )
        crew.reject("r:1", reason="no")
        wait_until(lambda: survived(lambda: crew.promise("r").state != "pending"))
        crew.later(DAY_MS // 24)
        wait_until(lambda: survived(lambda: not left(crew, "r")))
        if crew.hitl.url.startswith("sqlite:"):  # other servers are asked less often
            assert survivors, "it ended before that request"
        assert crew.promise("r:2.1").state == "rejected_canceled"
        assert [p.id for p in search(crew.client, idPrefix="r:") if belongs_to_notification(p.id)] == [
            "r:t-left"
        ]
    finally:
        crew.close()
