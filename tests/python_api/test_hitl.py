"""`Hitl` and `AsyncHitl`: the same calls on a file, over HTTP, on PostgreSQL and at a gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from hitl_cli import AsyncHitl, Digest, Hitl, HitlError, Rejected
from hitl_cli.auth import tokens
from hitl_cli.client.connect import connect
from hitl_cli.errors import BadInput, NotCovered, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question, sensible
from tests.conftest import PATIENCE_S, wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.visiting import Visited
from tests.server.conftest import serve  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Hitl as Command
    from tests.server.conftest import Served

DAY_MS = 86_400_000

YES = DecisionInput(verdict="approve")


class Refund(Struct):
    """A form."""

    amount: int
    note: str = ""


class Place(Struct):
    """Where requests are, and a person there."""

    url: str
    options: dict[str, Any]

    def decide(self, id: str, said: DecisionInput = YES, person: str = "lead") -> None:
        with connect(self.url) as client:
            Inbox(client, Actor(person=person, via="test")).decide(id, said, whole=True)

    def soon(self, id: str, said: DecisionInput = YES) -> None:
        """Decide a request once it is there."""

        def decide() -> bool:
            with contextlib.suppress(NotFound):
                self.decide(id, said)
                return True
            return False

        threading.Thread(target=wait_until, args=(decide,)).start()


@pytest.fixture(params=["file", "http", "gateway", pytest.param("postgres", marks=pytest.mark.heavy)])
def place(hitl: Command, request: pytest.FixtureRequest) -> Iterator[Place]:
    gateway: Visited | None = None
    match request.param:
        case "http":
            url = request.getfixturevalue("served_url")
        case "postgres":
            url = request.getfixturevalue("database")
        case _:
            url = hitl.url
    options: dict[str, Any] = {"server": url, "person": "ada"}
    if request.param == "gateway":
        gateway = Visited(hitl, sign_in=True)
        with connect(url) as client:
            _, token = tokens.create(client, "ada", ["read", "start"], life_ms=DAY_MS, by="ops")
        options = {"gateway": gateway.address, "token": token}
    yield Place(url, options)
    if gateway is not None:
        gateway.stop()


@pytest.fixture
def asker(place: Place) -> Iterator[Hitl]:
    with Hitl(**place.options) as asker:
        yield asker


WHOLE: dict[str, Any] = {
    "details": {"order": 7},
    "to": ["lead", "group:ops"],
    "allow_self": False,
    "deadline": "2d",
    "on_deadline": "reject",
    "key": "the-key",
    "priority": "high",
    "tags": {"team": "shop"},
    "link": "https://example.org/7",
    "digest": Digest(sha256="0" * 64, file="order.json"),
    "arguments": [{"order": 7}],
    "valid_for": "1h",
}


def test_a_question_is_asked_and_its_decision_is_typed(place: Place, asker: Hitl) -> None:
    place.soon("refund", DecisionInput(verdict="approve", data={"amount": 7}, comment="as agreed"))
    decision = asker.ask("Refund?", form=Refund, id="refund", **WHOLE)
    assert decision.approved
    assert decision.data == Refund(amount=7)
    assert (decision.by, decision.via, decision.comment) == ("lead", "test", "as agreed")
    assert decision.question is not None
    assert (decision.question.prompt, decision.question.details) == ("Refund?", {"order": 7})
    shown = asker.show("refund")
    assert (shown.from_, shown.to, shown.tags) == ("ada", ("lead", "group:ops"), {"team": "shop"})
    assert asker.wait("refund", form=Refund) == decision


def test_nobody_waits_for_a_request_by_a_key_that_another_asker_chose(place: Place, asker: Hitl) -> None:
    """Otherwise an approval of something else could pass for that of a request that is not asked yet."""
    place.decide(asker.put("May I look?", id="ask-look", key="deploy-7"))
    with pytest.raises(NotFound):
        asker.wait("deploy-7", timeout="1ms")
    assert asker.wait("ask-look").approved


def test_every_outcome_is_told_as_to_a_workflow(place: Place, asker: Hitl) -> None:
    no = asker.put("A?", id="no")
    place.decide(no, DecisionInput(verdict="reject", reason="not now"))
    choice = asker.put("B?", id="choice", choices=["red", "blue"])
    place.decide(choice, DecisionInput(choice="blue"))
    two = asker.put("C?", id="two", to=["lead", "reviewer"], approvals=2)
    place.decide(two)
    place.decide(two, person="reviewer")
    late = asker.put("D?", id="late", deadline="1ms")
    yes = asker.put("E?", id="yes", deadline="1ms", on_deadline={"amount": 3})
    back = asker.put("F?", id="back")
    taken = asker.take_back(back)
    found = [asker.wait(id) for id in (no, choice, two, late, yes, back)]
    assert [(one.approved, one.choice, one.data, one.reason, one.expired) for one in found] == [
        (False, None, None, "not now", False),
        (True, "blue", "blue", None, False),
        (True, None, True, None, False),
        (False, None, None, "nobody answered before the deadline", True),
        (True, None, {"amount": 3}, None, True),
        (False, None, None, "canceled by the person who asked", False),
    ]
    assert [vote.by for vote in found[2].votes] == ["lead", "reviewer"]
    assert taken == found[5]
    assert asker.take_back(no) == found[0]


def test_the_decision_is_the_same_wherever_it_is_read(hitl: Command) -> None:
    gateway = begin_gateway(hitl)
    try:
        here, there = Hitl(server=hitl.url, person="ada"), Hitl(gateway=gateway.url)
        place = Place(hitl.url, {})
        id = here.put("C?", to=["lead", "reviewer"], approvals=2, form=Refund, details=[1])
        for person in ("lead", "reviewer"):
            place.decide(id, DecisionInput(verdict="approve", data={"amount": 1}), person)
        one, other = here.wait(id, form=Refund), there.wait(id, form=Refund)
        assert one == other
        assert one.question is not None
        assert one.question == other.question
    finally:
        gateway.clear_away()


def test_what_json_has_not_is_neither_asked_nor_covered(place: Place, asker: Hitl) -> None:
    place.soon("null")
    decision = asker.ask("Pay?", id="null", arguments={"amount": None})
    for number in (float("nan"), float("inf")):
        with pytest.raises(HitlError) as refused:
            decision.covers({"amount": number})
        assert refused.value.code == "not-covered"
        for asked in (asker.put, place_put):
            with pytest.raises(BadInput):
                asked("Pay?", id="nan", arguments=[{"amount": number}])


def place_put(prompt: str, *, id: str, arguments: Any) -> None:
    """Ask as a workflow does."""
    sensible(Question(prompt=prompt + id, arguments=arguments))


def test_an_approval_covers_its_arguments_and_nothing_else(place: Place, asker: Hitl) -> None:
    command = {"argv": ["rm", "-r", "build"], "cwd": "/srv", "n": 1}
    place.soon("rm")
    decision = asker.ask("Remove?", id="rm", arguments=command, valid_for="10m")
    assert decision.covers({"n": 1.0, "cwd": "/srv", "argv": ("rm", "-r", "build")}) is decision
    assert decision.covers(command, now=decision.at + timedelta(minutes=9)) is decision
    other: tuple[Any, ...] = (command | {"cwd": "/"}, [], None, {**command, "n": 2**60}, object(), "\ud800")
    for arguments in other:
        with pytest.raises(HitlError) as refused:
            decision.covers(arguments)
        assert refused.value.code == "not-covered"
    with pytest.raises(HitlError) as late:
        decision.covers(command, now=decision.at + timedelta(minutes=11))
    assert late.value.code == "approval-expired"
    place.soon("plain")
    with pytest.raises(HitlError):
        asker.ask("?", id="plain").covers(command)
    place.soon("no", DecisionInput(verdict="reject"))
    with pytest.raises(Rejected):
        asker.ask("?", id="no", arguments=command).covers(command)
    with pytest.raises(HitlError) as differs:
        asker.put("Remove?", id="rm", arguments=command | {"cwd": "/"}, valid_for="10m")
    assert differs.value.code == "question-differs"


def test_the_same_id_and_question_are_one_request(asker: Hitl) -> None:
    ids = {asker.put("Deploy?", id="deploy", to="lead") for _ in range(3)}
    assert ids == {"deploy"}
    with pytest.raises(HitlError) as refused:
        asker.put("Deploy it?", id="deploy", to="lead")
    assert refused.value.code == "question-differs"
    assert any("Deploy it?" in line for line in refused.value.lines)
    assert asker.put("Deploy?") != asker.put("Deploy?")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prompt": ""}, "bad-question"),
        ({"deadline": "soon"}, "bad-duration"),
        ({"approvals": 0}, "bad-question"),
        ({"priority": "none"}, "bad-question"),
        ({"to": ["lead"], "approvals": 2}, "bad-question"),
        ({"id": "a:1"}, "bad-name"),
        ({"form": {"type": "nonsense"}}, "bad-form"),
        ({"details": object()}, "bad-question"),
        ({"tags": {"hitl:key": "x"}}, "bad-name"),
    ],
)
def test_what_cannot_be_asked_is_refused(asker: Hitl, options: dict[str, Any], code: str) -> None:
    with pytest.raises(HitlError) as refused:
        asker.put(**{"prompt": "?", "id": "refused"} | options)
    assert refused.value.code == code
    with pytest.raises(HitlError, match="refused"):
        asker.show("refused")


def test_a_timeout_ends_the_wait_and_not_the_request(place: Place, asker: Hitl) -> None:
    with pytest.raises(HitlError) as late:
        asker.ask("?", id="open", timeout="50ms")
    assert late.value.code == "timed-out"
    place.soon("open")
    assert asker.wait("open", timeout="60s").approved
    for call in (asker.wait, asker.show, asker.take_back, asker.result):
        with pytest.raises(HitlError) as unknown:
            call("nothing")
        assert unknown.value.code == "not-found"


def test_open_requests_are_listed_by_who_may_answer(asker: Hitl) -> None:
    for n in range(3):
        asker.put("?", id=f"q{n}", to="ada" if n else "lead", priority="high" if n == 1 else "normal")
    assert [one.id for one in asker.pending()] == ["q0", "q1", "q2"]
    assert [one.id for one in asker.pending(mine=True)] == ["q1", "q2"]
    assert [one.id for one in asker.pending(to="lead")] == ["q0"]
    assert [one.id for one in asker.pending(priority="high", asker="ada")] == ["q1"]
    assert [one.id for one in asker.pending(limit=2)] == ["q0", "q1"]
    assert asker.pending(workflow="nothing*", tags={"a": "b"}) == []


def test_runs_are_started_and_their_results_awaited(place: Place, asker: Hitl, hitl: Command) -> None:
    assert asker.start("approval", id="r1") == "r1"
    assert asker.start("approval", id="r1") == "r1"
    with pytest.raises(HitlError) as taken:
        asker.start("approval", "other", id="r1")
    assert taken.value.code == "already-exists"
    with pytest.raises(HitlError) as late:
        asker.result("r1", timeout="10ms")
    assert late.value.code == "timed-out"
    with connect(place.url) as client:
        from hitl_cli.runs import Runs

        Runs(client, Actor(person="ops", via="test")).cancel("r1", "no more")
    with pytest.raises(HitlError) as failed:
        asker.result("r1")
    assert failed.value.code == "run-failed"
    assert hitl is not None


def test_one_object_serves_many_threads(place: Place, asker: Hitl) -> None:
    ids = [f"t{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(asker.ask, "?", id=id) for id in ids]
        wait_until(lambda: len(asker.pending()) == len(ids))
        for id in ids:
            place.decide(id)
        assert all(one.result().approved for one in asked)


def test_what_is_used_after_it_was_closed_says_so(place: Place) -> None:
    async def use_async() -> None:
        closed = AsyncHitl(**place.options)
        id = await closed.put("?")
        await closed.close()
        await closed.close()
        for call in (closed.show, closed.wait, closed.take_back, closed.result):
            with pytest.raises(HitlError) as refused:
                await call(id)
            assert refused.value.code == "closed"

    closed = Hitl(**place.options)
    id = closed.put("?", once=True)
    place.decide(id)
    decision = closed.wait(id)
    states = closed.states
    closed.close()
    closed.close()
    calls: list[Callable[[], object]] = [
        *(partial(call, id) for call in (closed.show, closed.wait, closed.take_back, closed.result)),
        partial(closed.put, "?"),
        closed.pending,
        decision.consume,
        partial(closed.start, "approval"),
    ]
    if "gateway" not in place.options:
        calls.append(partial(states.load, "run-1"))
    for used in calls:
        with pytest.raises(HitlError) as refused:
            used()
        assert refused.value.code == "closed"
    asyncio.run(use_async())


def count(place: Place) -> int:
    """Return how many requests are open."""
    with connect(place.url) as client:
        return len(Inbox(client, Actor(person="ada", via="test")).list()[0])


def test_many_are_awaited_at_once_and_one_is_canceled(place: Place) -> None:
    async def main() -> list[bool]:
        async with AsyncHitl(**place.options) as asker:
            given_up = asyncio.create_task(asker.ask("?", id="given-up"))
            asked = [asyncio.create_task(asker.ask("?", id=f"a{n}")) for n in range(20)]
            await asyncio.to_thread(wait_until, lambda: count(place) == 21)
            given_up.cancel()
            for n in range(20):
                await asyncio.to_thread(place.decide, f"a{n}")
            found = [(await one).approved for one in asked]
            with pytest.raises(asyncio.CancelledError):
                await given_up
            assert (await asker.show("given-up")).state == "pending"
            assert not (await asker.take_back("given-up")).approved
            with pytest.raises(HitlError):
                await asker.wait(await asker.put("?", form=Refund), timeout="10ms")
            return found

    assert asyncio.run(main()) == [True] * 20


def test_a_token_of_the_gateway_limits_what_is_allowed(hitl: Command) -> None:
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        with connect(hitl.url) as client:
            _, token = tokens.create(client, "agent", ["ask"], life_ms=DAY_MS, by="ops")
        agent = Hitl(gateway=gateway.url, token=token)
        id = agent.put("?")
        Place(hitl.url, {}).decide(id)
        assert agent.wait(id).by == "lead"
        for wrong, code in ((None, "unauthenticated"), ("hitl_x", "token-refused")):
            with pytest.raises(HitlError) as refused:
                Hitl(gateway=gateway.url, token=wrong).pending()
            assert refused.value.code == code
            assert "HITL_TOKEN" in str(refused.value)
            assert "hitl login" not in str(refused.value) + refused.value.hint  # it is a person's
        with pytest.raises(HitlError) as refused:
            agent.start("approval")
        assert refused.value.code == "permission-missing"
    finally:
        gateway.clear_away()


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Hitl(gateway="ftp://example.org"),
        lambda: Hitl(gateway="https://example.org", server="sqlite:///x.db"),
        lambda: Hitl(server="nonsense").pending(),
        lambda: Hitl(server="sqlite:///x.db", token="x"),
        lambda: Hitl(gateway="http://127.0.0.1:1").pending(),
    ],
)
def test_an_address_that_is_none_is_refused(broken: Callable[[], object]) -> None:
    with pytest.raises(HitlError) as refused:
        broken()
    assert refused.value.exit_code in (2, 6)


def test_a_wait_outlasts_a_restart_of_the_gateway(hitl: Command) -> None:
    first = Visited(hitl)
    assert first.gateway is not None
    waiters = first.gateway.waiters
    asker = Hitl(gateway=first.address)
    id = asker.put("?")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(asker.wait, id, timeout="60s")
        wait_until(lambda: len(waiters) == 1)
        first.stop()
        Place(hitl.url, {}).decide(id)
        again = Visited(hitl, port=int(first.address.rsplit(":", 1)[1]))
        try:
            assert waiting.result().approved
        finally:
            again.stop()


def test_an_awaited_decision_outlasts_a_restart_of_the_gateway(hitl: Command) -> None:
    first = Visited(hitl)
    port = int(first.address.rsplit(":", 1)[1])
    assert first.gateway is not None
    waiters = first.gateway.waiters
    again: list[Visited] = []

    async def main() -> bool:
        async with AsyncHitl(gateway=first.address) as asker:
            id = await asker.put("?")
            waiting = asyncio.create_task(asker.wait(id, timeout="60s"))
            await asyncio.to_thread(wait_until, lambda: len(waiters) == 1)
            await asyncio.to_thread(first.stop)
            Place(hitl.url, {}).decide(id)
            again.append(await asyncio.to_thread(Visited, hitl, port=port))
            return (await waiting).approved

    try:
        assert asyncio.run(main())
    finally:
        for each in again:
            each.stop()


def test_an_awaited_decision_outlasts_a_restart_of_the_server(
    hitl: Command,
    serve: Callable[..., Served],  # noqa: F811
) -> None:
    first = serve()

    async def main() -> bool:
        async with AsyncHitl(server=first.url, person="ada") as asker:
            id = await asker.put("?")
            waiting = asyncio.create_task(asker.wait(id, timeout="60s"))
            with pytest.raises(HitlError):
                await asker.wait(id, timeout="10ms")
            looked = asker._waits._waiting
            await asyncio.to_thread(wait_until, lambda: looked.get(id))  # by the first one, which goes on
            await asyncio.to_thread(first.process.stop)
            Place(hitl.url, {}).decide(id)
            with pytest.raises(HitlError):
                await asker.wait(id)  # a server that is not there is told at once
            await asyncio.to_thread(serve, port=int(first.url.rsplit(":", 1)[1]))
            return (await waiting).approved

    assert asyncio.run(main())


def test_one_of_many_that_wait_is_told_at_once(place: Place) -> None:
    """When each had a thread for half a second in turn, 600 had to wait for half a minute."""
    many, one = 150 if "gateway" in place.options else 600, "r100"

    async def main() -> bool:
        async with AsyncHitl(**place.options) as asker, asyncio.TaskGroup() as tasks:
            await asyncio.gather(*(asker.put("?", id=f"r{n}") for n in range(many)))
            waiting = {f"r{n}": tasks.create_task(asker.wait(f"r{n}")) for n in range(many)}
            with pytest.raises(HitlError):
                await asker.wait(one, timeout="100ms")
            await asyncio.to_thread(place.decide, one)
            async with asyncio.timeout(PATIENCE_S):
                decision = await waiting.pop(one)
            for other in waiting.values():
                other.cancel()
            return decision.approved

    assert asyncio.run(main())


def test_an_awaited_quorum_ends_with_its_last_vote(place: Place) -> None:
    async def main() -> None:
        async with AsyncHitl(**place.options) as asker:
            id = await asker.put("?", approvals=2)
            waiting = asyncio.create_task(asker.wait(id, timeout="30s"))
            await asyncio.to_thread(place.decide, id, person="reviewer")
            with pytest.raises(HitlError):
                await asker.wait(id, timeout="10ms")
            await asyncio.to_thread(place.decide, id, person="lead")
            assert [vote.by for vote in (await waiting).votes] == ["reviewer", "lead"]
            with pytest.raises(NotFound):
                await asker.wait("nobody-asked")

    asyncio.run(main())


def test_arguments_are_approved_with_a_change(place: Place, asker: Hitl) -> None:
    asked, new = {"amount": 120, "to": "shop"}, {"amount": 80, "to": "shop"}
    place.soon("a", DecisionInput(verdict="approve", arguments=new))
    decision = asker.ask(
        "Refund?", id="a", arguments=asked, editable={"properties": {"amount": {"type": "integer"}}}
    )
    assert (decision.arguments, decision.data, decision.changed) == (new, new, True)
    decision.covers(new)
    with pytest.raises(HitlError) as refused:
        decision.covers(asked)
    assert refused.value.code == "not-covered"
    with pytest.raises(HitlError) as refused:
        asker.put("Refund?", arguments=[1], editable=True)
    assert refused.value.code == "bad-question"


def test_an_approval_is_used_once(place: Place, asker: Hitl) -> None:
    place.soon("a")
    decision = asker.ask("Run it?", id="a", once=True, valid_for="1h")
    assert decision.consume(key="k").approved
    assert asker.wait("a").consume(key="k").approved  # as a script that is started again
    with pytest.raises(HitlError) as refused:
        decision.consume()
    assert (refused.value.code, type(refused.value)) == ("approval-used", NotCovered)
    shown = asker.show("a")
    assert (shown.once, shown.used and shown.used.by) == (True, "ada")

    async def again() -> None:
        async with AsyncHitl(**place.options) as other:
            await (await other.wait("a")).consume()

    with pytest.raises(NotCovered):
        asyncio.run(again())


FORKS = """
import asyncio, contextlib, json, os, sys
from hitl_cli import AsyncHitl, HitlError

asker = AsyncHitl(**json.loads(sys.argv[1]))

async def waits():
    id = await asker.put("Ship?", to="lead", id="forked")
    with contextlib.suppress(HitlError):
        await asker.wait(id, timeout="600ms")

asyncio.run(waits())
if (child := os.fork()) == 0:
    asyncio.run(asyncio.wait_for(waits(), 20))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_process_waits_with_threads_of_its_own(place: Place) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKS, json.dumps(place.options)]
    subprocess.run(command, check=True, timeout=60)
