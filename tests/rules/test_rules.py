"""Standing rules: what they decide for their author, what they leave to people, and what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import UNSET

from hitl_cli.client.wire import headers_of
from hitl_cli.errors import BadAnswer, BadInput, Conflict, HitlError, NotAllowed, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.people.visibility import Visibility, VisibilitySettings
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Digest, Offer, Question
from hitl_cli.rules.rule import NewRule, Rule
from hitl_cli.rules.rules import Rules, where_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.ask import StandaloneRequest
    from hitl_cli.people.groups import Groups

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

STATUS = {"tool": "Bash", "input": {"command": "git status --short"}, "cwd": "/srv/app"}
GIT = {"tool": "Bash", "input.command": "git status*"}


def rules_of(client: Client, person: str = "lead", **more: Any) -> Rules:
    return Rules(client, Actor(person=person, via="test", **more))


def rule(client: Client, person: str = "lead", *, life_ms: int = HOUR_MS, **said: Any) -> Rule:
    return rules_of(client, person).add(NewRule(**{"where": GIT, **said}), life_ms=life_ms)


def put(
    client: Client,
    id: str = "q",
    *,
    by: str = "agent",
    arguments: Any = STATUS,
    groups: Groups = NO_GROUPS,
    **said: Any,
) -> StandaloneRequest:
    inbox = Inbox(client, Actor(person=by, via="test", groups=groups))
    question = Question(prompt="Run it?", arguments=arguments, **said)
    return inbox.ask(question, id=id, deadline_ms=DAY_MS)


def state(asked: StandaloneRequest) -> str:
    return asked.promise.state


def headers(promise: Promise) -> dict[str, str]:
    return headers_of(promise.value)


def test_a_rule_decides_for_its_author_and_the_record_says_so(client: Client) -> None:
    made = rule(client)
    asked = put(client, valid_for=600_000)
    decision = decision_of(asked.promise, asked.question, NO_GROUPS)
    assert (decision.approved, decision.by, decision.via, decision.data) == (True, "lead", "rule", True)
    decision.covers(STATUS)
    assert decision.valid_until is not None
    assert headers(asked.promise)["hitl:rule"] == made.id
    inbox = Inbox(client, Actor(person="ada", via="test"))
    [entry] = inbox.story("q", EVERYTHING)
    assert (entry.by, entry.via, entry.rule, entry.outcome) == ("lead", "rule", made.id, "approved")
    assert inbox.list() == ([], False)


def test_a_rule_that_rejects_comes_first_and_gives_its_reason(client: Client) -> None:
    rule(client)
    denies = rule(client, "ada", verdict="reject", reason="ask me first", where={"tool": "Bash"})
    rule(client)
    asked = put(client)
    decision = decision_of(asked.promise, asked.question, NO_GROUPS)
    assert (decision.approved, decision.by, decision.reason) == (False, "ada", "ask me first")
    assert headers(asked.promise)["hitl:rule"] == denies.id


def test_a_request_that_waits_is_decided_when_it_is_asked_again(client: Client) -> None:
    assert state(put(client)) == "pending"
    rule(client)
    assert state(put(client)) == "resolved"


def test_what_has_been_decided_stays_when_the_rule_ends(client: Client) -> None:
    made = rule(client)
    assert state(put(client)) == "resolved"
    ended, fresh = rules_of(client).remove(made.id)
    assert (ended.state, fresh) == ("removed", True)
    assert rules_of(client).remove(made.id)[1] is False
    assert state(put(client)) == "resolved"
    assert state(put(client, "later")) == "pending"
    assert rules_of(client).list() == []
    [listed] = rules_of(client).list(every=True)
    assert (listed.id, listed.state, listed.by) == (made.id, "removed", "lead")


def test_a_rule_ends_by_itself(client: Client) -> None:
    rule(client, life_ms=1)
    while rules_of(client).list():
        client.fire_due()
    assert state(put(client)) == "pending"
    assert [one.state for one in rules_of(client).list(every=True)] == ["expired"]


@pytest.mark.parametrize(
    "said",
    [
        {"approvals": 2, "to": ("lead", "ada")},
        {"to": ("ada",)},
        {"to": ("group:ops",)},
        {"form": {"type": "object"}},
        {"choices": ("eu", "us")},
        {"digest": Digest(sha256="0" * 64, file="plan.txt")},
        {"arguments": None},
        {"arguments": {**STATUS, "input": {"command": "git status; ls"}}},
        {"by": "lead"},
        {"by": "LEAD "},
        {"by": "lead@example.org", "groups": groups_of({}, {"lead": "lead@example.org"})},
    ],
)
def test_what_a_rule_must_not_decide_waits_for_a_person(client: Client, said: dict[str, Any]) -> None:
    rule(client)
    rule(client, where={"cwd": "/srv/app", "input.command": "git status*"})
    assert state(put(client, **said)) == "pending"


def test_a_rule_of_who_has_left_approves_nothing_where_the_settings_name_all_people(client: Client) -> None:
    without = groups_of({}, {"ada": None}, strict=True)
    rule(client)
    assert state(put(client, groups=without)) == "pending"
    assert state(put(client, groups=groups_of({}, {"lead": None}, strict=True))) == "resolved"
    with pytest.raises(BadInput) as refused:
        rules_of(client, groups=without).add(NewRule(where=GIT), life_ms=HOUR_MS)
    assert refused.value.code == "unknown-person"
    rule(client, verdict="reject")  # what is refused stays refused
    assert state(put(client, "next", groups=without)) == "rejected"


def test_a_rule_that_rejects_needs_no_data_but_the_right_to_answer(client: Client) -> None:
    rule(client, verdict="reject")
    assert state(put(client, "form", form={"type": "object"})) == "rejected"
    assert state(put(client, "others", to=("ada",))) == "pending"
    assert state(put(client, "several", approvals=2)) == "pending"


def test_a_rule_of_a_member_decides_what_the_group_is_asked(client: Client) -> None:
    rule(client)
    assert state(put(client, to=("group:ops",), groups=groups_of({"ops": ["lead"]}))) == "resolved"


def test_a_rule_can_be_for_one_asker(client: Client) -> None:
    rule(client, asker="agent")
    assert state(put(client, "other", by="stranger")) == "pending"
    assert state(put(client, by="Agent")) == "resolved"


def test_a_rule_for_a_workflow_decides_nothing_outside_of_it(client: Client) -> None:
    rule(client, workflow="deploy")
    assert state(put(client)) == "pending"


@pytest.mark.parametrize(
    ("said", "life_ms", "code"),
    [
        ({"where": {}}, HOUR_MS, "bad-rule"),
        ({"where": {"input.command": "*"}}, HOUR_MS, "bad-rule"),
        ({"where": {"tool": "Bash", "cwd": "/srv"}}, HOUR_MS, "bad-rule"),
        ({"reason": "no"}, HOUR_MS, "bad-rule"),
        ({"asker": "lead"}, HOUR_MS, "bad-rule"),
        ({"asker": " "}, HOUR_MS, "bad-name"),
        ({"where": {"input": {"__type": "x"}}}, HOUR_MS, "bad-answer"),
        ({}, 31 * DAY_MS, "bad-duration"),
    ],
)
def test_a_bad_rule_is_refused(client: Client, said: dict[str, Any], life_ms: int, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        rule(client, life_ms=life_ms, **said)
    assert refused.value.code == code
    assert rules_of(client).list() == []


def test_match_needs_a_tool_that_it_knows() -> None:
    assert where_of("Bash", "ls", {"cwd": "/srv"}) == {"tool": "Bash", "input.command": "ls", "cwd": "/srv"}
    for tool in (None, "Unknown"):
        with pytest.raises(BadInput):
            where_of(tool, "ls", {})


@pytest.mark.parametrize("other", [{"tool": "Write"}, {"input.command": "rm -r build"}])
def test_no_other_argument_replaces_the_tool_or_its_match(other: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        where_of("Bash", "ls", other)
    assert refused.value.code == "bad-rule"
    same = {"tool": "Bash", "input.command": "ls"}
    assert where_of("Bash", "ls", same) == same


def test_only_its_author_removes_a_rule_and_only_people_make_one(client: Client) -> None:
    made = rule(client)
    with pytest.raises(NotAllowed) as refused:
        rules_of(client, "ada").remove(made.id)
    assert refused.value.code == "not-author"
    with pytest.raises(NotFound):
        rules_of(client).remove("unknown")
    new = NewRule(where=GIT)
    others: list[dict[str, Any]] = [{"may": frozenset({"ask", "start", "read"})}, {"only": "q"}]
    for more in others:
        with pytest.raises(NotAllowed):
            rules_of(client, **more).add(new, life_ms=HOUR_MS)
        with pytest.raises(NotAllowed):
            rules_of(client, **more).remove(made.id)
    with pytest.raises(NotAllowed):
        rules_of(client, may=frozenset({"ask"})).list()
    assert [one.id for one in rules_of(client).list()] == [made.id]


def test_a_request_cannot_look_like_a_rule(client: Client) -> None:
    with pytest.raises(HitlError):
        Inbox(client, Actor(person="agent", via="test")).ask(
            Question(prompt="?"), id="hitl-rule-x", deadline_ms=DAY_MS, tags={"hitl:rule": "1"}
        )
    put(client, "hitl-rule-y", arguments=None)
    assert rules_of(client).list() == []


# Offers

OFFER = Offer(where={**GIT, "cwd": "/srv/app"}, longest=8 * HOUR_MS)

PRIVATE_CWD = Visibility(settings=VisibilitySettings(private={"*": ("arguments.cwd",)}))


def approve(client: Client, duration: str | None, person: str = "lead", **more: Any) -> Rule | None:
    inbox = Inbox(client, Actor(person=person, via="test", **more))
    return inbox.decide("q", DecisionInput(verdict="approve", for_=duration or UNSET)).made


def test_an_approval_makes_the_rule_that_is_offered_for_the_same_asker(client: Client) -> None:
    put(client, offer=OFFER)
    made = approve(client, "8h")
    assert made is not None
    assert (made.by, made.asker, made.where, made.verdict) == ("lead", "agent", OFFER.where, "approve")
    assert abs(made.ends_at - made.created_at - 8 * HOUR_MS) < 1_000
    assert state(put(client, "next")) == "resolved"
    assert state(put(client, "stranger", by="stranger")) == "pending"
    elsewhere = {**STATUS, "cwd": "/srv/other"}
    assert state(put(client, "elsewhere", arguments=elsewhere)) == "pending"


def test_a_plain_approval_makes_no_rule(client: Client) -> None:
    put(client, offer=OFFER)
    assert approve(client, None) is None
    assert rules_of(client).list() == []


@pytest.mark.parametrize(
    ("asked", "duration", "more"),
    [
        ({"offer": None}, "8h", {}),
        ({}, "9h", {}),
        ({"by": "lead"}, "8h", {}),
        ({}, "8h", {"only": "q"}),
        ({"private": ("arguments.cwd",), "to": ("lead",)}, "8h", {}),
        ({}, "8h", {"groups": groups_of({}, visibility=PRIVATE_CWD)}),
    ],
)
def test_what_is_not_offered_is_refused_and_decides_nothing(
    client: Client, asked: dict[str, Any], duration: str, more: dict[str, Any]
) -> None:
    put(client, **{"offer": OFFER, **asked})
    with pytest.raises(BadAnswer) as refused:
        approve(client, duration, **more)
    assert refused.value.code == "no-rule-offered"
    assert state(put(client, **{"offer": OFFER, **asked})) == "pending"
    assert rules_of(client).list() == []


def test_an_approval_whose_rule_cannot_be_made_is_no_approval(client: Client) -> None:
    """Another tool may have stored an offer for longer than a rule can be valid."""
    put(client, offer=OFFER)
    item = Inbox(client, Actor(person="lead", via="test")).find("q")
    wide = Offer(where=OFFER.where, longest=60 * 24 * HOUR_MS)
    item = msgspec.structs.replace(item, question=msgspec.structs.replace(item.asked, offer=wide))
    with pytest.raises(BadInput) as refused:
        Inbox(client, Actor(person="lead", via="test")).decide(
            item, DecisionInput(verdict="approve", for_="31d")
        )
    assert refused.value.code == "bad-duration"
    assert state(put(client, offer=OFFER)) == "pending"


def test_who_comes_too_late_makes_no_rule(client: Client) -> None:
    put(client, offer=OFFER)
    Inbox(client, Actor(person="ada", via="test")).decide("q", DecisionInput(verdict="reject"))
    with pytest.raises(Conflict):
        approve(client, "8h")
    assert rules_of(client).list() == []


@pytest.mark.parametrize(
    "said",
    [
        {"offer": Offer(where={"tool": "Read"}, longest=HOUR_MS)},
        {"offer": Offer(where={"tool": "Bash"}, longest=HOUR_MS)},
        {"offer": Offer(where={}, longest=HOUR_MS)},
        {"offer": OFFER, "arguments": None},
        {"offer": OFFER, "approvals": 2},
        {"offer": OFFER, "choices": ("a", "b")},
        {"offer": OFFER, "digest": Digest(sha256="0" * 64, file="plan.txt")},
        {"offer": Offer(where=OFFER.where, longest=31 * 24 * HOUR_MS)},
    ],
)
def test_an_offer_that_is_about_something_else_is_refused(client: Client, said: dict[str, Any]) -> None:
    """An agent cannot show a harmless request and offer a rule for another one."""
    with pytest.raises(BadInput):
        put(client, **said)


def test_an_offer_is_not_part_of_what_is_asked(client: Client) -> None:
    assert put(client).fresh
    assert not put(client, offer=OFFER).fresh
