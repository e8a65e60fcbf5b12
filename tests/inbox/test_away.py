"""Somebody is away: their deputy is asked as well, decides for them, and counts as one of them."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import search_beside
from hitl_cli.client.wire import audit_of
from hitl_cli.errors import BadInput, HitlError, NotAllowed, NotFound, Unproven
from hitl_cli.format.times import LAST_MS, moment
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.watch import watch_inbox
from hitl_cli.people.actor import Actor
from hitl_cli.people.away import Away, absences_of
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS, groups_of
from hitl_cli.people.sight import Sight
from hitl_cli.people.visibility import RoleSettings, Visibility, VisibilitySettings
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.demand import Demand
from hitl_cli.requests.question import Question, quorum_of, sensible
from hitl_cli.runs import Runs
from hitl_cli.views.pending import request_summary_document
from hitl_cli.views.request import request_details_document
from tests.server.conftest import serve, served  # noqa: F401 - fixtures
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Permission
    from hitl_cli.people.groups import Groups
    from tests.conftest import Hitl

HOUR_MS = 3_600_000
YES = DecisionInput(verdict="approve")
NO = DecisionInput(verdict="reject", reason="no")


def inbox(client: Client, person: str, groups: Groups = NO_GROUPS) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=groups))


def away(client: Client, by: str, to: str | None, groups: Groups = NO_GROUPS, **more: Any) -> Away:
    return inbox(client, by, groups).go_away(until=client.now() + HOUR_MS, to=to, anyway=True, **more)


def asked(client: Client, *to: str, id: str = "q", by: str = "clerk", **options: Any) -> str:
    question = Question(prompt="Pay?", to=to or ("reviewer",), **options)
    return inbox(client, by).ask(question, id=id, deadline_ms=HOUR_MS).id


def mine(at: Inbox, person: str) -> list[str]:
    return [item.id for item in at.list(RequestFilter(person=person))[0]]


def refused(at: Inbox, id: str = "q", said: DecisionInput = YES) -> HitlError:
    with pytest.raises(HitlError) as error:
        at.decide(id, said)
    return error.value


def test_new_and_open_requests_go_to_the_deputy_as_well_and_the_decision_says_for_whom(
    client: Client,
) -> None:
    asked(client, id="old")
    deputy = inbox(client, "lead")
    assert mine(deputy, "lead") == []
    made = away(client, "reviewer", "lead")
    put = inbox(client, "clerk").ask(Question(prompt="Pay?", to=("reviewer",)), id="new", deadline_ms=HOUR_MS)
    assert [(one.person, one.until, one.deputies) for one in put.away] == [
        ("reviewer", made.until, ("lead",))
    ]
    assert mine(deputy, "lead") == mine(deputy, "reviewer") == ["old", "new"]
    document = request_details_document(deputy.show("new"))
    assert [(one.person, one.deputies) for one in document.away] == [("reviewer", ("lead",))]
    assert deputy.decide("old", YES).settled
    assert audit_of(promise_of(client, "old")).deputy_for == ("reviewer",)
    [entry] = deputy.story("old", EVERYTHING)
    assert (entry.by, entry.deputy_for) == ("lead", ("reviewer",))
    assert inbox(client, "reviewer").decide("new", YES).settled  # who is away can still decide
    assert audit_of(promise_of(client, "new")).deputy_for == ()


def test_it_ends_when_one_is_back_and_a_new_word_replaces_the_old_one(client: Client) -> None:
    asked(client)
    away(client, "reviewer", "lead")
    away(client, "reviewer", "ops")
    [now] = inbox(client, "lead").aways()
    assert (now.person, now.to, now.number) == ("reviewer", "ops", 2)
    assert refused(inbox(client, "lead")).code == "not-assignee"
    assert inbox(client, "reviewer").come_back()
    assert not inbox(client, "reviewer").come_back()
    assert inbox(client, "ops").aways() == []
    assert refused(inbox(client, "ops")).code == "not-assignee"


def test_it_begins_when_it_is_said_to_and_ends_by_itself(hitl: Hitl) -> None:
    with hitl.client() as client:
        asked(client)
        now = client.now()
        inbox(client, "reviewer").go_away(since=now + 60_000, until=now + 120_000, to="lead")
        assert refused(inbox(client, "lead")).code == "not-assignee"
    with hitl.client(lambda: now + 90_000) as later:
        assert mine(inbox(later, "lead"), "lead") == ["q"]
    with hitl.client(lambda: now + 121_000) as after:
        assert mine(inbox(after, "lead"), "lead") == []


def test_a_deputy_who_is_away_is_followed_and_circles_end() -> None:
    def of(*pairs: str) -> dict[str, tuple[str, ...]]:
        active = [
            Away(id=pair, number=1, person=pair[0], since=0, until=1, to=pair[1:] or None) for pair in pairs
        ]
        return {one.person: one.deputies for one in absences_of(NO_GROUPS, active)}

    assert of("ab", "bc") == {"a": ("b", "c"), "b": ("c",)}
    assert of("ab", "bc", "ca") == {"a": ("b", "c"), "b": ("c", "a"), "c": ("a", "b")}
    assert of("ab", "bc", "cb") == {"a": ("b", "c"), "b": ("c",), "c": ("b",)}
    assert of("a") == {"a": ()}


def test_a_deputy_does_not_approve_what_they_asked_themselves_unless_it_is_allowed(client: Client) -> None:
    away(client, "reviewer", "clerk")
    asked(client, allow_self=False)
    assert refused(inbox(client, "clerk")).code == "self-approval"
    away(client, "reviewer", "lead")
    asked(client, "reviewer", "other", id="own", by="reviewer", allow_self=False)
    assert refused(inbox(client, "lead"), "own").code in ("not-assignee", "self-approval")


def test_who_may_not_answer_does_not_choose_who_does(client: Client) -> None:
    away(client, "reviewer", "clerk")
    away(client, "clerk", "friend")  # who stands in for both
    asked(client, allow_self=False)
    assert refused(inbox(client, "friend")).code in ("not-assignee", "self-approval")
    assert mine(inbox(client, "friend"), "friend") == []
    asked(client, id="r", by="other", allow_self=False)
    assert inbox(client, "friend").decide("r", YES).settled


def test_an_operator_is_not_led_to_by_their_own_word(client: Client) -> None:
    team = groups_of({}, visibility=Visibility(roles=RoleSettings(operator=("ops",))))
    away(client, "lead", "ops", team)
    away(client, "ops", "lead", team, person="reviewer")
    asked(client)
    assert refused(inbox(client, "ops", team)).code == "not-assignee"
    assert inbox(client, "lead", team).decide("q", YES).settled
    away(client, "reviewer", "lead", team)
    asked(client, id="r")
    assert inbox(client, "ops", team).decide("r", YES).settled  # as they said themselves


def test_who_may_only_ask_does_not_learn_who_is_in_a_group(client: Client) -> None:
    team = groups_of({"ops": ["ada"]})
    away(client, "ada", "dan", team)
    away(client, "eve", "dan", team)
    agent = Actor(person="agent", via="test", groups=team, may=frozenset({"ask"}))
    asking = Inbox(client, agent)
    put = asking.ask(Question(prompt="?", to=("group:ops", "eve")), id="q", deadline_ms=HOUR_MS)
    for absent in (put.away, asking.show(put.id).item.away, asking.list()[0][0].away):
        assert [one.person for one in absent] == ["eve"]
    assert len(inbox(client, "boss", team).show(put.id).item.away) == 2


def test_an_author_can_say_that_no_deputy_is_asked(client: Client) -> None:
    away(client, "reviewer", "lead")
    asked(client, reassign="nobody")
    assert mine(inbox(client, "lead"), "lead") == []
    assert refused(inbox(client, "lead")).code == "not-assignee"
    [absent] = inbox(client, "clerk").show("q").item.away
    assert (absent.person, absent.deputies) == ("reviewer", ())


def test_in_a_quorum_a_deputy_is_one_and_takes_the_place_of_one(client: Client) -> None:
    away(client, "reviewer", "lead")
    away(client, "finance", "lead")
    asked(client, "reviewer", "finance", "ops", approvals=2)
    assert not inbox(client, "lead").decide("q", YES).settled  # one person for two counts once
    assert not inbox(client, "lead").decide("q", YES).settled
    assert not inbox(client, "reviewer").decide("q", NO).settled  # then lead stands for finance
    assert inbox(client, "ops").decide("q", YES).settled
    asked(client, "reviewer", "ops", id="r", approvals=2)
    assert not inbox(client, "lead").decide("r", YES).settled
    assert not inbox(client, "reviewer").decide("r", YES).settled  # they and their deputy are one approval
    assert inbox(client, "ops").decide("r", YES).settled
    asked(client, "reviewer", "ops", id="s", approvals=2)
    assert inbox(client, "lead").decide("s", NO).settled  # the no of a deputy is that of who is away


def test_a_deputy_to_whom_it_is_assigned_then_votes_for_themselves(client: Client) -> None:
    away(client, "reviewer", "lead")
    asked(client, "reviewer", "ops", approvals=2, reassign="assignees")
    assert not inbox(client, "lead").decide("q", YES).settled
    inbox(client, "ops").assign("q", ["reviewer", "lead"], Directory(), "default")
    assert not inbox(client, "reviewer").decide("q", YES).settled
    assert inbox(client, "lead").decide("q", YES).settled


def test_a_deputy_counts_for_the_group_of_who_is_away(client: Client) -> None:
    team = groups_of({"ops": ["ada"], "legal": ["eve"]})
    away(client, "ada", "dan", team)
    question = sensible(Question(prompt="?", **quorum_of({"group:ops": 1, "group:legal": 1})))
    inbox(client, "clerk", team).ask(question, id="q", deadline_ms=HOUR_MS)
    voted = inbox(client, "dan", team).decide("q", YES)
    assert voted.votes is not None
    assert voted.votes.leading_by["group:ops"] == 1
    assert inbox(client, "eve", team).decide("q", YES).settled


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"to": "reviewer"}, "bad-away"),
        ({"to": "nobody-here"}, "unknown-person"),
        ({"to": "group:ops"}, "bad-name"),
        ({"until": 1}, "bad-away"),
        ({"since": 10**14}, "bad-away"),
        ({"until": 10**14}, "bad-away"),
        ({"person": "lead"}, "not-allowed"),
    ],
)
def test_what_makes_no_sense_is_refused(hitl: Hitl, said: dict[str, Any], code: str) -> None:
    strict = groups_of({"ops": ["reviewer", "lead"]}, strict=True)
    with hitl.client() as client, pytest.raises(HitlError) as error:
        inbox(client, "reviewer", strict).go_away(**{"until": client.now() + HOUR_MS, "to": "lead"} | said)
    assert error.value.code == code


def test_an_operator_says_it_of_others_but_does_not_make_themselves_the_deputy(hitl: Hitl) -> None:
    roles = Visibility(roles=RoleSettings(operator=("ops",)))
    team = groups_of({}, {"ops": None, "reviewer": None, "lead": None}, visibility=roles)
    with hitl.client() as client:
        made = away(client, "ops", "lead", team, person="reviewer")
        assert (made.person, made.by) == ("reviewer", "ops")
        with pytest.raises(NotAllowed):
            away(client, "ops", "ops", team, person="reviewer")
        assert inbox(client, "ops", team).come_back("reviewer")


def test_a_change_concerns_the_deputy_too(hitl: Hitl) -> None:
    hidden = Visibility(settings=VisibilitySettings(default="assigned"))
    team = groups_of({"ops": ["reviewer"]}, {"lead": None, "other": None}, visibility=hidden)
    with hitl.client() as client:
        watch = watch_inbox(client)
        watch.start()
        away(client, "reviewer", "lead", team)
        asked(client, "group:ops")
        asked(client, "group:ops", id="mine", reassign="nobody")
        first, second = watch.look() or []
        lead, other = (Actor(person=person, via="test", groups=team) for person in ("lead", "other"))
        assert [first.concerns(lead), first.seen_by(Sight(lead))] == [True, True]
        assert [first.concerns(other), first.seen_by(Sight(other))] == [False, False]
        assert [second.concerns(lead), second.seen_by(Sight(lead))] == [False, False]


def test_lists_in_memory_know_deputies_too(hitl: Hitl) -> None:
    with hitl.client() as client, hitl.client() as own:
        asked(client)
        away(client, "reviewer", "lead")
        known = OpenRequests(own)
        for _ in known.load():
            pass
        kept = Inbox(own, Actor(person="lead", via="test"), known)
        assert mine(kept, "lead") == ["q"]
        assert kept.list()[0][0].away[0].deputies == ("lead",)
        assert mine(kept, "other") == []
        for listed, absent in ((kept.list()[0][0], 1), (_after_coming_back(kept), 0)):
            assert len(request_summary_document(listed, 0).away) == absent


def _after_coming_back(kept: Inbox) -> RequestSummary:
    inbox(kept.client, "reviewer").come_back()
    return kept.list()[0][0]


def test_where_proof_is_needed_the_settings_name_the_deputy(hitl: Hitl) -> None:
    people = groups_of(
        {}, {"reviewer": None, "lead": None}, policy={"q": Demand(approvals=1, proof="signed")}
    )
    with hitl.client() as client:
        away(client, "reviewer", "lead", people)
        asked(client)
        assert refused(inbox(client, "lead", people)).code == "not-assignee"
        assert inbox(client, "lead").decide("q", YES).settled  # by settings without that policy
        with pytest.raises(Unproven):
            decision_of(
                promise_of(client, "q"), Question(prompt="Pay?", to=("reviewer",)), people, names=["q"]
            )


def test_where_a_policy_needs_two_a_recorded_deputy_counts_where_it_is_used(hitl: Hitl) -> None:
    people = groups_of({}, {"reviewer": None, "ops": None}, policy={"q": Demand(approvals=2)})
    with hitl.client() as client:
        away(client, "reviewer", "lead", people)
        put = inbox(client, "clerk", people).ask(
            Question(prompt="Pay?", to=("reviewer", "ops")), id="q", deadline_ms=HOUR_MS
        )
        assert not inbox(client, "lead", people).decide("q", YES).settled
        assert inbox(client, "ops", people).decide("q", YES).settled
        assert inbox(client, "reviewer", people).come_back()  # what was decided stays
        made = decision_of(promise_of(client, "q"), put.question, people, asked=put.question, names=["q"])
        assert made.approved


def test_who_says_it_while_another_reads_is_seen_to_be_away_at_once(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hitl.client() as client:
        asked(client)
        read = search_beside

        def interrupted(*args: Any) -> Any:
            found = read(*args)
            monkeypatch.undo()
            with hitl.client() as other:
                away(other, "reviewer", "lead")
            return found

        monkeypatch.setattr("hitl_cli.inbox.beside.search_beside", interrupted)
        inbox(client, "clerk").list()
        assert [one.person for one in inbox(client, "clerk").actor.groups.away] == ["reviewer"]


def test_the_command_reads_days_instants_and_durations() -> None:
    day = 86_400_000
    read = partial(moment, now=5, code="bad-away")
    assert read("2026-12-24") - read("2026-12-24", end_of_day=False) == day
    assert read("2026-12-24") == read("20261224") == read("2026-W52-4")
    assert read("2026-12-24T12:00:00Z") == read("2026-12-24T12:00", zone=UTC) == 1_798_113_600_000
    assert read("3d") == 3 * day + 5
    assert read("9999-12-31") == LAST_MS  # what is allowed is said by who knows it
    for text in ("soon", "36601d", "2026-13-01", ""):
        with pytest.raises(BadInput) as error:
            read(text)
        assert error.value.code == "bad-away"


def test_a_deputy_sees_what_they_stand_in_for_while_they_do(hitl: Hitl) -> None:
    hidden = Visibility(settings=VisibilitySettings(default="assigned"))
    team = groups_of({}, {"reviewer": None, "lead": None, "other": None}, visibility=hidden)
    with hitl.client() as client:
        asked(client)
        for person in ("lead", "other"):
            with pytest.raises(NotFound):
                inbox(client, person, team).show("q")
        away(client, "reviewer", "lead", team)
        assert inbox(client, "lead", team).show("q").item.id == "q"
        with pytest.raises(NotFound):
            inbox(client, "other", team).show("q")
        known = OpenRequests(client)
        list(known.load())
        for person, sees in (("lead", True), ("other", False)):
            own = Actor(person=person, via="test", groups=team)
            assert [item.id for item in Inbox(client, own, known).list()[0]] == ["q"] * sees
            if sees:
                assert Runs(client, own).show("q").kind == "request"


def test_a_name_that_may_be_a_mistake_is_asked_about_and_json_says_who_is_back(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text("[people.lead]\n[people.reviewer]\n")
    hitl.ok("ask", "Ship?", "--id", "ship", "--to", "lead", "--reassign", "anyone", "--no-wait")
    left = ("away", "--until", "1d", "--to", "leadd", "--as", "reviewer")
    hitl.fails(2, *left, code="unknown-name")
    assert hitl.json("away") == []
    hitl.ok(*left, "--yes")
    assert hitl.json("away", "--end", "--as", "reviewer") == {"person": "reviewer", "ended": True}
    assert hitl.json("away", "--end", "--as", "reviewer") == {"person": "reviewer", "ended": False}
    assign = ("assign", "ship", "reviewr", "--as", "lead")
    hitl.fails(2, *assign, code="unknown-name")
    assert hitl.json("show", "ship")["to"] == ["lead"]
    assert hitl.json(*assign, "--yes")["to"] == ["reviewr"]


def test_who_is_away_is_seen_by_those_whom_it_concerns(hitl: Hitl) -> None:
    roles = RoleSettings(auditor=("auditor",), operator=("operator",))
    hidden = Visibility(settings=VisibilitySettings(default="assigned"), roles=roles)
    team = groups_of({"ops": ["reviewer", "colleague"], "it": ["operator", "auditor"]}, visibility=hidden)

    def seen(person: str, *may: Permission) -> list[str]:
        own = Actor(person=person, via="test", groups=team, may=frozenset(may or ("read",)))
        return [one.person for one in Inbox(client, own).aways()]

    with hitl.client() as client:
        away(client, "reviewer", "deputy", team)
        asked(client, "group:ops")
        inbox(client, "asker", team).ask(Question(prompt="?", to=("group:ops",)), id="s", deadline_ms=HOUR_MS)
        for person in ("reviewer", "deputy", "colleague", "auditor", "operator", "clerk", "asker"):
            assert seen(person) == ["reviewer"], person
        assert seen("other") == []
        assert seen("operator", "decide") == seen("asker", "decide") == []
        assert seen("reviewer", "decide") == ["reviewer"]
