"""What a program keeps beside its requests: only its asker reads it, and it decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import ProtocolRequest, search
from hitl_cli.errors import BadInput, NotAllowed, NotFound, TooLarge
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.deferrals import Deferral
from hitl_cli.inbox.kept_states import PREFIX, STATE_TAG
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question
from tests.acting import approval, decide
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

HOUR_MS = 3_600_000
SAID = Deferral(session="s-1", cwd="/srv/app", host="here", pid=1)


def agent(client: Client, person: str = "agent", may: tuple[str, ...] = ("ask",)) -> Inbox:
    """Return the inbox of a program that may only ask."""
    return Inbox(client, Actor(person=person, via="test", may=frozenset(may)))  # type: ignore[arg-type]


def asked(client: Client, id: str, person: str = "agent") -> str:
    return agent(client, person).ask(Question(prompt="?"), id=id, deadline_ms=HOUR_MS).id


def open_states(client: Client) -> int:
    return len([one for one in search(client, state="pending") if one.id.startswith(PREFIX)])


def test_the_newest_state_of_a_run_is_kept_for_its_asker_alone(client: Client) -> None:
    own = agent(client)
    assert own.kept_state("run") is None
    for number in range(3):
        own.keep_state("run", f"state {number}")
    own.keep_state("other run", "other")
    assert agent(client, "Agent").kept_state("run") == "state 2"
    assert open_states(client) == 2
    for other in (agent(client, "other"), Inbox(client, Actor(person="reader", via="test"))):
        assert other.kept_state("run") is None
        other.forget_state("run")
    own.forget_state("run")
    assert (own.kept_state("run"), own.kept_state("other run")) == (None, "other")
    own.keep_state("run", "begun again")
    assert own.kept_state("run") == "begun again"


def test_of_two_states_that_a_crash_has_left_the_newer_counts(client: Client) -> None:
    own = agent(client)
    own.keep_state("run", "old")
    [old] = [one for one in search(client, state="pending") if STATE_TAG in one.tags]
    own.keep_state("run", "new")
    again = {"id": f"{PREFIX}zz", "timeoutAt": old.timeout_at, "param": old.param, "tags": old.tags}
    client.call_many([ProtocolRequest("promise.create", again)])
    assert own.kept_state("run") == "new"
    own.keep_state("run", "newest")
    assert (own.kept_state("run"), open_states(client)) == ("newest", 1)


def test_a_state_that_is_too_large_or_has_no_name_is_refused_and_the_earlier_one_stays(
    client: Client,
) -> None:
    own = agent(client)
    own.keep_state("run", "x" * 1_000_000)
    with pytest.raises(TooLarge):
        own.keep_state("run", "y" * 4_000_000)
    assert own.kept_state("run") == "x" * 1_000_000
    for name in ("", ".", "..", "n" * 1_001):
        with pytest.raises(BadInput):
            own.keep_state(name, "")
    with pytest.raises(NotAllowed):
        agent(client, may=("decide",)).keep_state("run", "")


def test_a_deferral_is_of_the_asker_of_its_request_and_decides_nothing(client: Client) -> None:
    id, own = asked(client, "ask-a"), agent(client)
    own.defer(id, SAID)
    own.defer(id, SAID)
    [waits] = own.deferred("here")
    assert (waits.request, waits.session, waits.outcome, promise_of(client, id).state) == (
        id, "s-1", None, "pending",
    )  # fmt: skip
    assert own.deferred("elsewhere") == []
    others = (agent(client, "other"), agent(client, "reader", ("read", "ask", "decide")))
    for other, error in zip(others, (NotFound, NotAllowed), strict=True):
        assert other.deferred("here") == []
        with pytest.raises(error):
            other.defer(id, SAID)
        with pytest.raises(NotFound):
            other.take_deferred(id, "mine")
    decide(client, id, approval(by="lead", via="test"))
    [decided] = own.deferred("here")
    assert (decided.outcome, decided.by) == ("approved", "lead")
    taken = [own.take_deferred(id, key) for key in ("one", "two", "one")]
    assert (taken, own.deferred("here")) == ([True, False, True], [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"session": "--help"},
        {"session": "../x"},
        {"cwd": ""},
        {"cwd": "/" * 5_000},
        {"pid": 0},
        {"pid": 2**31},
    ],
)
def test_a_session_that_cannot_be_resumed_is_not_recorded(client: Client, wrong: dict[str, object]) -> None:
    id = asked(client, "ask-a")
    said = Deferral(**{"session": "s", "cwd": "/", "host": "here", "pid": 1} | wrong)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        agent(client).defer(id, said)
    with pytest.raises(NotFound):
        agent(client).defer("ask-none", SAID)
    assert agent(client).deferred("here") == []
