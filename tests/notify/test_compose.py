"""Messages that are composed after a request was assigned to others, or for who may not see all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.wire import encode
from hitl_cli.inbox import Inbox
from hitl_cli.notify.channels.webhook import document
from hitl_cli.notify.compose import compose, compose_digest, look_up
from hitl_cli.notify.deliver import Outlook, _outlooks
from hitl_cli.notify.messages import Message
from hitl_cli.notify.phrases import outcome_of
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory, NotificationSettings
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.inbox.requests import request

if TYPE_CHECKING:
    from tests.conftest import Hitl

REACH = NotificationSettings(directory=Directory(people={"lead": Contact(), "boss": Contact()}))
ASKED = Notification(request="q", occasion="asked", names=("lead",))


def test_who_is_not_asked_any_more_is_sent_nothing_that_was_kept_for_them(hitl: Hitl) -> None:
    with hitl.client() as client:
        request(client, "q", to=["lead"], reassign="assignees")
        for who in ("lead", "deputy"):
            assert isinstance(compose(look_up(client, ["q"])["q"], ASKED, who, REACH), Message)
        assert isinstance(compose_digest(client, "d", "lead", [ASKED], REACH), Message)
        lead = Inbox(client, Actor(person="lead", via="test"))
        lead.assign("q", ["boss"], REACH.directory, "default")
        case = look_up(client, ["q"])["q"]
        for who in ("lead", "deputy"):
            assert not isinstance(compose(case, ASKED, who, REACH), Message)
        assert not isinstance(compose_digest(client, "d", "lead", [ASKED], REACH), Message)
        assigned = Notification(request="q", occasion="assigned", names=("boss",), number=1)
        assert isinstance(compose(case, assigned, "boss", REACH), Message)


def test_who_started_the_run_is_not_sent_the_parts_for_assignees_alone(hitl: Hitl) -> None:
    details = {"iban": "DE-310297001", "name": "A"}
    with hitl.client() as client:
        asked = request(client, "q", to=["lead"], details=details, private=["details.iban"])
        run = msgspec.structs.replace(asked, id="run", param=encode(None, {"hitl:by": "boss"}))
        case = msgspec.structs.replace(look_up(client, ["q"])["q"], run=run)
    for who, sees in (("boss", False), ("lead", True)):
        notice = Notification(request="q", occasion="asked-back", names=(who,), number=1, text="Why?")
        sent = compose(case, notice, who, REACH)
        assert isinstance(sent, Message)
        body = msgspec.json.encode(document(sent))
        assert (b"DE-310297001" in body) == sees
        assert b'"name":"A"' in body


def test_a_deputy_is_told_of_the_outcome_without_private_parts_once_the_absence_is_over(hitl: Hitl) -> None:
    arguments, private = {"amount": 310_297_001, "to": "A"}, ["arguments.amount"]
    approved = Notification(request="q", occasion="approved", names=("lead",))
    found = []
    with hitl.client() as client:
        request(client, "q", to=["lead"], arguments=arguments, editable=True, private=private)
        lead = Inbox(client, Actor(person="lead", via="test"))
        lead.go_away(until=client.now() + 3_600_000, to="boss")
        found.append(compose(look_up(client, ["q"])["q"], ASKED, "boss", REACH))
        data = {"amount": 310_297_003, "to": "B"}
        lead.decide("q", DecisionInput(verdict="approve", data=data))
        found += [compose(look_up(client, ["q"])["q"], approved, who, REACH) for who in ("lead", "boss")]
        lead.come_back()
        found.append(compose(look_up(client, ["q"])["q"], approved, "boss", REACH))
    texts = [str(msgspec.json.encode(document(one))) for one in found if isinstance(one, Message)]
    assert [("310297001" in text, "310297003" in text) for text in texts] == [
        (True, False),
        (True, True),
        (True, True),
        (False, False),
    ]
    assert '"B"' in texts[-1]


def test_who_has_claimed_it_is_reminded_only_while_they_may_answer(hitl: Hitl) -> None:
    people = {name: Contact(webhook=f"http://{name}.example.org") for name in ("ada", "bob", "dan")}
    reach = NotificationSettings(directory=Directory(people=people))
    reminder = Notification(request="q", occasion="reminder", names=("ada", "bob"), number=1)

    def reminded() -> set[str]:
        [found] = _outlooks(client, [reminder], reach)
        assert isinstance(found, Outlook)
        return set(found.people)

    with hitl.client() as client:
        ada, dan = (Inbox(client, Actor(person=name, via="test")) for name in ("ada", "dan"))
        ada.ask(Question(prompt="Pay?", to=("ada", "bob")), id="q", deadline_ms=3_600_000)
        ada.go_away(until=client.now() + 3_600_000, to="dan")
        assert reminded() == {"ada", "bob", "dan"}
        dan.claim("q")
        assert reminded() == {"dan"}
        ada.come_back()
        assert reminded() == {"ada", "bob"}


def test_a_no_to_a_form_that_asks_for_one_is_not_called_an_approval(hitl: Hitl) -> None:
    """Nor in a command, in the history, or to who decides late."""
    form = {"type": "object", "properties": {"go": {"type": "boolean"}}, "required": ["go"]}
    put(hitl, "no", Question(prompt="Ship?", form=form))
    put(hitl, "yes", Question(prompt="Ship?", form={"type": "boolean"}))
    put(hitl, "secret", Question(prompt="Ship?", form=form, to=("lead",), private=("form.go",)))
    for id, answer, data in (
        ("no", "No", '{"go": false}'),
        ("yes", "Yes", "true"),
        ("secret", "No", '{"go": false}'),
    ):
        decided = hitl.ok("approve", id, "--data", data, "--as", "lead")
        assert (repr(answer) in decided, "approved" in decided) == (True, False)
        notice = Notification(request=id, occasion="canceled", names=("boss",))
        with hitl.client() as client:
            sent = compose(look_up(client, [id])[id], notice, "boss", REACH)
        assert isinstance(sent, Message)
        assert outcome_of(sent.items[0]) == f"lead answered: {answer}" or id == "secret"
        assert sent.items[0].answer == (None if id == "secret" else answer)
    late = hitl.fails(4, "approve", "no", "--data", '{"go": true}', code="already-decided")
    assert ("'No'" in late, "approved" in late) == (True, False)
    lines = hitl.ok("history").splitlines()[1:]
    assert ["answered" in line for line in lines] == [False, True, True]  # the newest is told nobody else
    assert [one["outcome"] for one in hitl.json("history")] == ["approved"] * 3
