"""Requests that are assigned to others while they are open, within what their author allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import HitlError, NotAllowed
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import EVERYTHING
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS, groups_of
from tests.acting import approval, decide
from tests.inbox.requests import request
from tests.server.conftest import serve, served  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups

OPS = groups_of({"ops": ["ada", "bob"]}, {"ada": None, "bob": None, "cy": None, "eve": None})


def inbox_of(client: Client, person: str, groups: Groups = NO_GROUPS, **more: Any) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=groups, **more))


def assign(
    client: Client, person: str, *names: str, groups: Groups = NO_GROUPS, **more: Any
) -> RequestSummary:
    return inbox_of(client, person, groups).assign("q", names, Directory(), "default", **more).item


def refused(client: Client, person: str, *names: str, **more: Any) -> str:
    with pytest.raises(HitlError) as error:
        assign(client, person, *names, **more)
    return error.value.code


def mine(client: Client, person: str, groups: Groups = NO_GROUPS) -> list[str]:
    return [item.id for item in inbox_of(client, person, groups).list(RequestFilter(person=person))[0]]


def test_who_is_asked_now_answers_and_who_is_not_does_not(client: Client) -> None:
    request(client, "q", to=["ada"], reassign="assignees", by="agent")
    assert assign(client, "ada", "bob").to == ("bob",)
    assert (mine(client, "ada"), mine(client, "bob")) == ([], ["q"])
    with pytest.raises(NotAllowed):
        decide(client, "q", approval(by="ada", via="test"))
    assert assign(client, "bob", "cy", add=True).to == ("bob", "cy")
    assert decide(client, "q", approval(by="cy", via="test")).settled
    story = inbox_of(client, "ada").story("q", EVERYTHING)
    assert [(one.kind, one.by, one.to) for one in story] == [
        ("assign", "ada", ("bob",)),
        ("assign", "bob", ("bob", "cy")),
        ("decision", "cy", ()),
    ]
    assert refused(client, "cy", "eve") == "already-decided"


@pytest.mark.parametrize(
    ("reassign", "may"), [("nobody", ""), ("assignees", "ada agent"), ("anyone", "ada agent eve")]
)
def test_the_author_says_who_may_assign(client: Client, reassign: str, may: str) -> None:
    for person in ("ada", "agent", "eve"):
        request(client, person, to=["ada"], reassign=reassign, by="agent")
        inbox = inbox_of(client, person)
        if person in may.split():
            assert inbox.assign(person, ["bob"], Directory(), "default").item.to == ("bob",)
        else:
            with pytest.raises(NotAllowed) as error:
                inbox.assign(person, ["bob"], Directory(), "default")
            assert error.value.code == ("not-reassignable" if reassign == "nobody" else "not-assignee")
