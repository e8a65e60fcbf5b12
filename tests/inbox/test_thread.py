"""What an assignee asks back: it waits for the asker, and comes back with the answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hitl_cli.errors import BadAnswer, Conflict, HitlError, NotAllowed, TooLarge
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.thread import entry_id, open_questions
from hitl_cli.inbox.watch import watch_inbox
from hitl_cli.people.actor import EVERYTHING as ALL
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import MAX_COMMENT_BYTES, DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.views.pending import request_summary_document
from hitl_cli.views.request import request_details_document
from tests.inbox.requests import HOUR_MS, request
from tests.server.conftest import serve, served  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client, ProtocolRequest
    from hitl_cli.people.actor import Permission
    from tests.conftest import Hitl

YES = DecisionInput(verdict="approve")


def inbox(client: Client, person: str, *may: Permission) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", may=frozenset(may) or ALL))


def asked(client: Client, *to: str, **options: object) -> str:
    question = Question(prompt="Pay?", to=to or ("lead", "reviewer"))
    return inbox(client, "agent", "ask").ask(question, id="ask-q", deadline_ms=HOUR_MS, **options).id  # type: ignore[arg-type]


def ids(at: Inbox, person: str) -> list[str]:
    return [item.id for item in at.list(RequestFilter(person=person))[0]]


def code_of(refused: pytest.ExceptionInfo[HitlError]) -> str:
    return refused.value.code


def test_it_waits_for_its_asker_comes_back_and_is_asked_back_again(client: Client) -> None:
    id = asked(client)
    lead, agent = inbox(client, "lead"), inbox(client, "agent", "ask")
    entry = lead.ask_back(id, "Which account?")
    assert (entry.number, entry.kind, entry.by, entry.text) == (1, "ask-back", "lead", "Which account?")
    [item] = lead.list()[0]
    assert item.asked_back == entry
    assert lead.ask_back(id, "Which account?") == entry  # to repeat it changes nothing
    answer = agent.answer_back("q", "The second")
    assert (answer.number, answer.kind, answer.by) == (2, "answer-back", "agent")
    assert agent.answer_back(id, "The second") == answer
    assert lead.list()[0][0].asked_back is None
    again = inbox(client, "reviewer").ask_back(id, "Whose?")
    assert (again.number, lead.show(id).item.asked_back) == (3, again)
    seen = lead.show(id)
    assert [one.text for one in seen.thread] == ["Which account?", "The second", "Whose?"]
    document = request_details_document(seen)
    assert document.asked_back == document.thread[-1]
    assert [one.kind for one in document.thread] == ["ask-back", "answer-back", "ask-back"]
    assert lead.decide(id, YES).settled  # a decision ends the thread
    assert lead.show(id).item.asked_back is None
    story = [(one.kind, one.by, one.comment) for one in lead.story(id, EVERYTHING)]
    assert story[:3] == [
        ("ask-back", "lead", "Which account?"),
        ("answer-back", "agent", "The second"),
        ("ask-back", "reviewer", "Whose?"),
    ]
    assert story[3][0] == "decision"


def test_who_may_answer_asks_back_and_who_asked_answers(client: Client) -> None:
    id = asked(client)
    for person, expected in (("other", "not-assignee"), ("agent", "not-assignee")):
        with pytest.raises(NotAllowed) as refused:
            inbox(client, person).ask_back(id, "Why?")
        assert code_of(refused) == expected
    with pytest.raises(NotAllowed) as refused:
        inbox(client, "agent", "ask").ask_back(id, "Why?")
    assert code_of(refused) == "permission-missing"
    with pytest.raises(Conflict) as early:
        inbox(client, "agent").answer_back(id, "So")
    assert code_of(early) == "not-asked-back"
    inbox(client, "lead").ask_back(id, "Why?")
    with pytest.raises(NotAllowed) as other:
        inbox(client, "lead").answer_back(id, "Because")
    assert code_of(other) == "not-asker"


def test_what_is_said_has_the_limits_of_a_comment(client: Client) -> None:
    id, lead = asked(client), inbox(client, "lead")
    with pytest.raises(BadAnswer):
        lead.ask_back(id, "  ")
    with pytest.raises(TooLarge):
        lead.ask_back(id, "x" * (MAX_COMMENT_BYTES + 1))
    hostile = '<b>\x1b[31m"; DROP TABLE; $(x)'
    assert lead.ask_back(id, hostile).text == hostile


def test_a_decided_request_is_not_asked_back_nor_answered(client: Client) -> None:
    id, lead = asked(client), inbox(client, "lead")
    lead.ask_back(id, "Why?")
    lead.decide(id, YES)
    for call in (lead.ask_back, inbox(client, "agent").answer_back):
        with pytest.raises(Conflict) as refused:
            call(id, "Why?")
        assert code_of(refused) == "already-decided"
    assert inbox(client, "agent", "ask").asked(id).asked_back is None


def test_of_two_at_once_one_is_told_that_the_other_was_first(hitl: Hitl) -> None:
    with hitl.client() as client:
        id = asked(client)

    def ask(person: str) -> str:
        with hitl.client() as own:
            try:
                return inbox(own, person).ask_back(id, f"I, {person}?").text
            except Conflict:
                return ""

    def answer(text: str) -> str:
        with hitl.client() as own:
            try:
                return inbox(own, "agent", "ask").answer_back(id, text).text
            except Conflict:
                return ""

    with ThreadPoolExecutor(4) as pool:
        texts = [*pool.map(ask, ["lead", "reviewer"] * 2)]
        assert len({text for text in texts if text}) == 1
        with hitl.client() as client, pytest.raises(Conflict) as refused:
            inbox(client, "lead").ask_back(id, "And?")
        assert refused.value.code == "already-asked-back"
        answers = [*pool.map(answer, ["a", "b", "c", "d"])]
        assert len({text for text in answers if text}) == 1
    with hitl.client() as client:
        thread = inbox(client, "lead").show(id).thread
        assert [one.number for one in thread] == [1, 2]
        assert thread[0].text in texts
        assert thread[1].text in answers


def test_who_is_asked_back_finds_it_among_their_own(hitl: Hitl) -> None:
    with hitl.client() as client, hitl.client() as own:
        id, lead = asked(client), inbox(client, "lead")
        known = OpenRequests(own)
        for _ in known.load():
            pass
        kept = Inbox(own, lead.actor, known)
        assert [ids(at, "agent") for at in (lead, kept)] == [[], []]
        lead.ask_back(id, "Which account?")
        assert known.refresh()
        assert [ids(at, person) for at in (lead, kept) for person in ("agent", "lead")] == [[id]] * 4
        for at in (lead, kept):
            [item] = at.list()[0]
            document = request_summary_document(item, item.now)
            assert document.asked_back is not None
            assert document.asked_back.text == "Which account?"
        inbox(client, "agent").answer_back(id, "The second")
        assert known.refresh()
        assert [ids(at, "agent") for at in (lead, kept)] == [[], []]
        [item] = kept.list()[0]
        assert request_summary_document(item, item.now).asked_back is None


def test_an_answer_whose_author_died_before_all_was_written_is_an_answer(hitl: Hitl) -> None:
    with hitl.client() as client:
        id = asked(client)
        inbox(client, "lead").ask_back(id, "Which account?")
        real, sent = client.call_many, []

        def die_after_the_first(requests: list[ProtocolRequest]) -> object:
            if requests[0].kind == "promise.create":
                sent.extend(requests[1:])
                return real(requests[:1])
            return real(requests)

        client.call_many = die_after_the_first
        inbox(client, "agent").answer_back(id, "The second")
        client.call_many = real
        assert [one.data["id"] for one in sent] == [entry_id(id, 2), entry_id(id, 1)]
        assert open_questions(client) == {}


def test_each_entry_is_a_change_for_assignees_and_for_the_asker(hitl: Hitl) -> None:
    with hitl.client() as client:
        id = asked(client)
        watch = watch_inbox(client)
        watch.start()
        inbox(client, "lead").ask_back(id, "Which account?")
        [change] = watch.look() or []
        assert (change.kind, change.thread, change.by, change.id) == ("changed", "ask-back", "lead", id)
        concerned = [
            person
            for person in ("agent", "reviewer", "other")
            if change.concerns(Actor(person=person, via="test"))
        ]
        assert concerned == ["agent", "reviewer"]
        inbox(client, "agent").answer_back(id, "The second")
        inbox(client, "lead").comment(id, "thanks")
        [change] = watch.look() or []
        assert change.thread == "answer-back"


def test_who_waits_hears_it(hitl: Hitl) -> None:
    with hitl.client() as client:
        id, agent, heard = asked(client), inbox(client, "agent", "ask"), []
        inbox(client, "lead").ask_back(id, "Which account?")
        agent.answer_back(id, "The second")
        inbox(client, "lead").ask_back(id, "Whose?")
        agent.wait(agent.asked(id), timeout_s=0.01, heard=lambda entry: heard.append(entry.text))
        assert heard == ["Which account?", "The second", "Whose?"]


def test_a_request_that_nobody_is_known_to_have_asked_can_be_answered_by_anyone(hitl: Hitl) -> None:
    with hitl.client() as client:
        request(client, "q", to=["lead"])
        inbox(client, "lead").ask_back("q", "Why?")
        assert inbox(client, "ops").answer_back("q", "So").by == "ops"
