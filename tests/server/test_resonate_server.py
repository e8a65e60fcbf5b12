"""hitl on a Resonate Server, which knows the protocol and nothing else.

Each test runs on what stands in for it (resonate_server.py), and on the real one if HITL_RESONATE_SERVER
names a program with the changes of colon_ids.diff.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import OK, ProtocolRequest, as_page, call, check_ids, get_promise, get_tasks
from hitl_cli.client.wire import Audit, Vote
from hitl_cli.errors import TooLarge
from hitl_cli.inbox.deadlines import AGAIN_S, LIST_EVERY_S, DueRequests
from hitl_cli.inbox.votes import record_vote
from hitl_cli.requests.question import Question
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from hitl_cli.runs.schedules import Schedules, ScheduleSpec
from tests.cli.requests import put
from tests.conftest import APPS, NOBODY, WorkerProcess, wait_until
from tests.server.conftest import EXTERNAL, LIFE_MS, stand_in
from tests.server.relay import Relay
from tests.server.test_auth import ADMIN, public, token
from tests.server.test_limits import APP
from tests.worker.watching import begin, end_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl
    from tests.server.conftest import Served

ASKS = ("--app", str(APPS / "asks.py"))
FEATURES = ("--app", str(APPS / "features.py"))
ASK = ("--workflow", "asks", "--args")
QUICK_S = 5.0
"""Less than what a worker waits for steps in progress."""
SOME = 10
TWO = Question(prompt="Well?", approvals=2)


def create(client: Client, id: str, life_ms: int, **tags: str) -> int:
    """Create a request of another tool, and return its deadline."""
    until = client.now() + life_ms
    every = {**EXTERNAL, "resonate:scope": "global", "resonate:origin": id.split(":", 1)[0], **tags}
    data = {"id": id, "timeoutAt": until, "tags": every}
    [answer] = client.call_many([ProtocolRequest("promise.create", data)])
    assert answer.status == OK
    return until


def stored_state(client: Client, id: str) -> str:
    """Return the state of a promise as a search finds it, which settles nothing there."""
    answer = call(client, "promise.search", limit=1_000)
    return next(promise.state for promise in as_page(answer).promises if promise.id == id)


# Ids


def test_a_server_that_refuses_our_ids_is_named_at_once(hitl: Hitl) -> None:
    hitl.use(stand_in(hitl, "--old-ids"))
    for command in (["worker"], ["doctor"]):
        hitl.fails(6, *command, code="ids-refused")
    hitl.ok("ask", "--id", "alone", "--no-wait", "Well?", "--approvals", "2")
    hitl.fails(6, "approve", "alone", code="ids-refused")
    hitl.fails(6, "comment", "alone", "a remark", code="ids-refused")


def test_probing_stores_nothing_and_says_nothing_of_a_server_that_takes_our_ids(
    hitl: Hitl, resonate_server: Callable[..., str]
) -> None:
    with connect(resonate_server()) as client:
        check_ids(client)
        assert get_promise(client, "hitl-probe:1") is None
    assert "error" not in hitl.ok("doctor")


def test_a_server_that_cannot_be_asked_is_not_said_to_refuse_our_ids(hitl: Hitl) -> None:
    class Failing(Relay):
        status = 0

        def answer(self, asked: dict[str, Any], question: str | None) -> dict[str, Any]:
            if asked["kind"] != "promise.register_callback":
                return super().answer(asked, question)
            head = {"corrId": asked["head"]["corrId"], "status": self.status, "version": "2026-04-01"}
            return {"kind": asked["kind"], "head": head, "data": "it does not work"}

    with Failing(stand_in(hitl, "--old-ids")) as server, connect(server.url) as client:
        for server.status in (400, 401, 403, 404, 500, 503):
            check_ids(client)


# Deadlines


def test_a_list_has_nothing_that_is_overdue(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    with connect(resonate_server()) as client:
        until = max(create(client, "late:1", 300, **{"hitl:key": "k"}), create(client, "late-2:1", 300))
        create(client, "open:1", LIFE_MS)
        wait_until(lambda: client.now() > until)
        assert stored_state(client, "late:1") == "pending"
        assert [item["id"] for item in hitl.json("pending")] == ["open:1"]
        assert stored_state(client, "late:1") == stored_state(client, "late-2:1") == "rejected_timedout"
        assert {entry["outcome"] for entry in hitl.json("history")} == {"expired"}


def test_history_has_what_just_ran_out(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    with connect(resonate_server()) as client:
        until = create(client, "late:1", 300)
        wait_until(lambda: client.now() > until)
        assert [entry["id"] for entry in hitl.json("history", "--outcome", "expired")] == ["late:1"]


def test_a_request_runs_out_and_its_run_goes_on(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    resonate_server()
    hitl.worker(*ASKS)
    hitl.ok("start", "r", *ASK, '[{"prompt": "Well?", "deadline": "2s"}]')
    asked = hitl.waiting()[0]["id"]
    with connect(hitl.url) as client:
        wait_until(lambda: stored_state(client, asked) != "pending")
        wait_until(lambda: stored_state(client, "r") == "resolved")


def test_a_request_runs_out_with_only_a_gateway_up(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    resonate_server()
    gateway = WorkerProcess([*hitl.command, "gateway", "--port", "0"], hitl.env, hitl.folder)
    hitl.workers.append(gateway)
    gateway.said("http://")
    with connect(hitl.url) as client:
        create(client, "late:1", 1_000)
        wait_until(lambda: stored_state(client, "late:1") == "rejected_timedout")


def test_the_next_deadline_is_looked_at_when_it_is_due_and_not_all_the_time(
    resonate_server: Callable[..., str],
) -> None:
    with Relay(resonate_server()) as relay, connect(relay.url) as client:
        create(client, "far:1", LIFE_MS)
        due = DueRequests()
        assert 0 < due.look(client) <= LIST_EVERY_S
        until = create(client, "near:1", 300)
        relay.forget()
        assert due.look(client) <= LIST_EVERY_S
        assert relay.kinds == []  # it has listed just now
        due = DueRequests()
        assert due.look(client) <= AGAIN_S
        wait_until(lambda: client.now() > until)
        relay.forget()
        due.look(client)
        assert relay.kinds == ["promise.get"]
        assert stored_state(client, "near:1") == "rejected_timedout"
        relay.forget()
        due.look(client)
        assert relay.kinds == []


def test_on_our_own_server_only_deadlines_that_can_be_moved_are_looked_for(served: Served) -> None:
    with Relay(served.url) as relay, connect(relay.url) as client:
        get_promise(client, "x")
        relay.forget()
        assert DueRequests().look(client) < LIST_EVERY_S
        assert relay.kinds == ["promise.search"]


# Workers


def test_a_worker_stops_at_once_while_a_run_sleeps(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    resonate_server()
    worker = hitl.worker(*FEATURES)
    hitl.ok("start", "s", "--workflow", "sleeps", "--args", "[3]")
    with connect(hitl.url) as client:
        wait_until(lambda: "s:1" in (found := get_tasks(client, ["s:1"])) and found["s:1"].state == "halted")
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < QUICK_S
        hitl.worker(*FEATURES)
        assert hitl.ok("wait", "s") == '"awake"\n'


def test_workers_and_people_send_their_token(
    hitl: Hitl, resonate_server: Callable[..., str], request: pytest.FixtureRequest
) -> None:
    key = str(public(hitl.folder))
    standing_in = request.node.callspec.params["resonate_server"] == "stand-in"
    resonate_server(*([f"--key={key}"] if standing_in else ["--auth-publickey", key]))
    hitl.fails(6, "pending", code="token-refused")
    hitl.env["RESONATE_TOKEN"] = token(ADMIN)
    hitl.worker(*ASKS)
    hitl.ok("start", "r", *ASK, '[{"prompt": "Well?"}]')
    hitl.ok("approve", hitl.waiting()[0]["id"])
    hitl.ok("wait", "r")


def test_a_scheduled_run_is_listed(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    resonate_server()
    client = (
        EmbeddedClient(hitl.database, clock=lambda: time.time_ns() // 1_000_000 - 3_600_000)
        if hitl.database.exists()
        else connect(hitl.url)
    )
    each = ScheduleSpec(id="each", cron="0 * * * *" if hitl.database.exists() else "* * * * * *")
    with client:
        assert Schedules(client, NOBODY).add(each).created
        assert not Schedules(client, NOBODY).add(each).created
    hitl.worker()
    wait_until(lambda: {run["id"].rpartition("-")[0] for run in hitl.json("status")} == {"each"})


def test_what_is_too_large_for_the_server_fails_its_run_and_no_step_is_repeated(
    hitl: Hitl, resonate_server: Callable[..., str]
) -> None:
    (hitl.folder / "app.py").write_text(APP.replace("6_000_000", "2_500_000"))
    with connect(resonate_server()) as client:
        hitl.worker("--app", "app.py")
        for name in ("step", "result", "details", "call"):
            begin(client, name, name, "id")
            run = end_of(client, name)
            assert run.state == "failed"
            assert run.failure is not None
            assert "length limit exceeded" in run.failure.message
        assert len((hitl.folder / "calls").read_text()) == 4
        with pytest.raises(TooLarge):
            begin(client, "large", "step", "x" * 2_500_000)


# What is read


def test_a_tree_is_in_the_order_of_its_steps(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    resonate_server()
    hitl.worker(*FEATURES)
    hitl.ok("start", "c", "--workflow", "counts", "--args", "[11]")
    assert hitl.ok("wait", "c") == "11\n"
    assert [step["id"] for step in hitl.json("status", "c")["steps"]] == [f"c:{n}" for n in range(1, 12)]


def test_lists_ask_for_no_more_than_they_need(hitl: Hitl, resonate_server: Callable[..., str]) -> None:
    with connect(resonate_server()) as client:
        for name in ("r", "done-"):
            specs = [RunSpec(id=f"{name}{n}", workflow="nobody") for n in range(SOME)]
            Runs(client, NOBODY).start_many(specs)
        for n in range(SOME):
            put(hitl, f"r{n}:1", TWO)
            put(hitl, f"done-{n}:1", Question(prompt="Well?"))
            request = get_promise(client, f"r{n}:1")
            assert request is not None
            vote = Vote(by="ada", verdict="approve", at=client.now())
            assert record_vote(client, request, vote, Audit(by="ada"), [])
            assert call(client, "promise.settle", id=f"done-{n}:1", state="resolved", value={}).status == OK
    with Relay(hitl.url) as relay:
        hitl.env["HITL_SERVER"] = relay.url
        for command, searches, gets in (
            # All that is pending: requests, runs, claims, what was asked back, who is away. And all votes.
            (["pending", "--all"], 2, 1),
            (["status"], 2, 1),  # the runs, and all that waits below them
            (["history", "--all"], 2, SOME),
            (["show", "r3:1"], 2, 2),  # all of its run, and who is away
        ):
            relay.forget()
            shown = hitl.json(*command)
            assert command[0] == "show" or len(shown) in (SOME, 2 * SOME)
            assert relay.kinds.count("promise.search") <= searches, command
            assert relay.kinds.count("promise.get") <= gets, command
        relay.forget()
        assert {item["votes"] for item in hitl.json("pending")} == {1}
