"""Promises that other tools made, with odd ids, tags and headers, stop nobody from doing their work."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from hitl_cli.client.protocol import ProtocolRequest, as_promise, get_promise
from hitl_cli.errors import BadInput, Conflict, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.bulk import plan
from hitl_cli.inbox.history import history
from hitl_cli.inbox.pending import pending
from hitl_cli.inbox.votes import votes_of
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Escalation, Question
from hitl_cli.runs.reading import get_run
from hitl_cli.runs.steps import tree
from hitl_cli.views.request import request_details_document
from hitl_cli.views.runs import run_with_steps
from hitl_cli.worker.housekeeping import Housekeeper
from tests.acting import approval, comments_of, decide, details, rejection
from tests.cli.requests import put
from tests.conftest import wait_until

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

EXTERNAL = {"resonate:external": "true"}
DEPTH = 1_500
HUGE = "9" * 5_000
DEEP = '[{"by":"a","verdict":"approve","at":1,"data":' + "[" * 50_000 + "]" * 50_000 + "}]"


def make(client: Client, id: str, tags: dict[str, str], headers: dict[str, str] | None = None) -> None:
    param = {"headers": headers or {}}
    data = {"id": id, "timeoutAt": client.now() + 10_000_000, "tags": tags, "param": param}
    as_promise(client.call_many([ProtocolRequest("promise.create", data)])[0])


def test_an_id_that_begins_with_a_colon_hides_nothing_else(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    with hitl.client() as client:
        make(client, ":x", {**EXTERNAL, "hitl:request": "1", "hitl:quorum": "1"})
        assert [item.id for item in pending(client)[0]] == ["a", ":x"]
        decide(client, "a", approval(by="reviewer", via="test"))
        assert len(history(client)[0]) == 1


@pytest.mark.parametrize("headers", [{"hitl:by": "x", "hitl:at": HUGE}, {"hitl:by": "x", "hitl:votes": DEEP}])
def test_headers_that_cannot_be_read_are_left_out(hitl: Hitl, headers: dict[str, str]) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    put(hitl, "b", Question(prompt="Now?"))
    with hitl.client() as client:
        for tag in ("hitl:vote", "hitl:comment"):
            make(client, f"a:{tag[5:]}", {tag: "a"}, headers)
        settle = {"id": "b", "state": "resolved", "value": {"headers": headers}}
        as_promise(client.call_many([ProtocolRequest("promise.settle", settle)])[0])
        assert [item.id for item in pending(client)[0]] == ["a"]
        assert [entry.id for entry in history(client)[0]] == ["b"]
        assert votes_of(client, "a") == []
        assert comments_of(client, "a") == []
        with pytest.raises(Conflict):
            decide(client, "b", rejection(by="reviewer", via="test"))


def test_counting_goes_on_after_what_nobody_foresaw(hitl: Hitl) -> None:
    opened: list[Client] = []

    def open_client() -> Client:
        if not opened:
            opened.append(hitl.client())
            raise ZeroDivisionError
        opened.append(hitl.client())
        return opened[-1]

    put(hitl, "a", Question(prompt="Now?", approvals=1))
    counter = Housekeeper(open_client, Directory, every_s=0.01)
    counter.start()
    wait_until(lambda: len(opened) == 2)
    counter.stop()
    opened[0].close()


def test_data_that_no_workflow_could_read_is_refused(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    for depth in (101, 1_400, 1_487):
        (hitl.folder / "x.json").write_text("[" * depth + "]" * depth)
        assert "deep" in hitl.fails(2, "approve", "a", "--data", "@x.json", code="bad-answer")
    (hitl.folder / "x.json").write_text("[" * 100 + "]" * 100)
    hitl.ok("approve", "a", "--data", "@x.json")


def test_a_key_is_of_what_a_person_can_answer_and_of_nothing_else(hitl: Hitl) -> None:
    with hitl.client() as client:
        make(client, "run", {"hitl:key": "k", "resonate:target": "poll://any@nobody"})
        with pytest.raises(NotFound):
            decide(client, "k", approval(by="reviewer", via="test"))
        run = get_promise(client, "run")
        assert run is not None
        assert run.state == "pending"


def test_the_same_votes_decide_the_same_whenever_they_are_counted(hitl: Hitl) -> None:
    late = Escalation(after=10_000_000, to=("c",))
    put(hitl, "a", Question(prompt="Now?", approvals=2, to=("a", "b"), escalate=(late,)))
    with hitl.client() as client:
        given = decide(client, "a", rejection(by="a", via="test"))
        assert not given.settled  # c may still make it two


def test_a_change_of_mind_that_came_too_late_is_told(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2, choices=("ship", "hold")))
    with hitl.client() as client:
        for person in ("a", "b"):
            decide(client, "a", approval(by=person, via="test", text="ship"))
        assert decide(client, "a", approval(by="a", via="test", text="ship")).settled
        with pytest.raises(Conflict):
            decide(client, "a", approval(by="a", via="test", text="hold"))


def test_what_is_remarked_on_the_same_vote_is_kept(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2))
    with hitl.client() as client:
        for remark in ("first", "second thoughts", None):
            decide(client, "a", approval(by="a", via="test", comment=remark))
        assert [ballot.vote.comment for ballot in votes_of(client, "a")] == ["first", "second thoughts"]


def test_a_dry_run_of_what_is_settled_says_what_would_happen(hitl: Hitl) -> None:
    put(hitl, "yes", Question(prompt="Now?"))
    put(hitl, "no", Question(prompt="Now?"))
    with hitl.client() as client:
        decide(client, "yes", approval(by="a", via="test"))
        decide(client, "no", rejection(by="a", via="test"))
        inbox = Inbox(client, Actor(person="b", via="test"))
        problems = [one.problem for one in plan(inbox, ["yes", "no"], DecisionInput(verdict="approve"))]
    assert problems[0] is None
    assert isinstance(problems[1], Conflict)
    assert "nothing: it already has this decision" in hitl.ok("approve", "yes", "--dry-run")


def test_words_that_stand_for_nothing_match_nothing(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    assert "'*' for all requests" in hitl.fails(2, "approve", "--match", "", "--yes", code="bad-usage")
    hitl.fails(2, "pending", "--workflow", "", code="bad-name")
    hitl.fails(2, "ask", "Now?", "--to", "group:", "--no-wait", code="bad-question")
    assert [item["id"] for item in hitl.json("pending")] == ["a"]


def test_a_negative_number_is_an_answer(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How cold?", form={"type": "integer"}))
    hitl.ok("answer", "a", "-5")
    assert "-5" in hitl.ok("history", "a")


def test_a_name_that_is_no_text_is_refused(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    assert "UTF-8" in hitl.fails(2, "approve", "a", code="bad-name", env={"HITL_AS": "\udcff"})
    with hitl.client() as client, pytest.raises(BadInput):
        decide(client, "a", approval(by="\udcff", via="test"))


def test_the_commands_that_are_shown_are_for_the_server_that_was_named(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", choices=("ship", "hold")))
    shown = hitl.ok("show", "a", "-S", hitl.url)
    assert f"hitl answer a ship -S {hitl.url}" in shown
    assert f"hitl reject a --reason TEXT -S {hitl.url}" in shown
    assert json.loads(hitl.ok("show", "a", "--json"))["answer_with"][0] == "hitl answer a ship"


def test_steps_inside_steps_are_all_shown_however_deep_they_are(hitl: Hitl) -> None:
    ids = ["deep", *(f"deep:{number}" for number in range(DEPTH))]
    tags = [{"resonate:target": "poll://any@nobody"}, *({"resonate:parent": id} for id in ids[:-1])]
    tags[-1] |= EXTERNAL
    with hitl.client() as client:
        ends = client.now() + 10_000_000
        made = [
            {"id": id, "timeoutAt": ends, "tags": {"resonate:origin": "deep", **more}}
            for id, more in zip(ids, tags, strict=True)
        ]
        client.call_many([ProtocolRequest("promise.create", data) for data in made])
        asked = get_promise(client, ids[-1])
        assert asked is not None
        assert request_details_document(details(client, asked)).id == ids[-1]
        run = run_with_steps(get_run(client, "deep"), tree(client, "deep").children, client.now())
    shown = msgspec.json.encode(run)
    assert msgspec.json.decode(shown)
    assert all(f'"id":"{id}"'.encode() in shown for id in ids)
