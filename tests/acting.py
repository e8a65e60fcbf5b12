"""Decisions and comments, as front ends make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hitl_cli.client.protocol import search
from hitl_cli.client.tags import COMMENT_TAG
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.comments import comments_in
from hitl_cli.inbox.decide import filled
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.comments import Comment
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.idempotency import IdempotencyMark


class Answer(NamedTuple):
    """A decision and its author."""

    actor: Actor
    said: DecisionInput
    fields: tuple[tuple[str, str], ...] = ()


def approval(
    *, by: str, via: str, text: str | None = None, fields: Sequence[tuple[str, str]] = (), **said: Any
) -> Answer:
    """Return an approval; `text` is an answer in one word, `fields` are those of the form."""
    given = DecisionInput(verdict="approve", answer=text, **said)
    return Answer(Actor(person=by, via=via), given, tuple(fields))


def rejection(*, by: str, via: str, **said: Any) -> Answer:
    """Return a rejection."""
    return Answer(Actor(person=by, via=via), DecisionInput(verdict="reject", **said))


def decide(
    client: Client,
    name: str,
    answer: Answer,
    groups: Groups = NO_GROUPS,
    mark: IdempotencyMark | None = None,
) -> DecisionResult:
    """Decide the request that a name means."""
    actor = msgspec.structs.replace(answer.actor, groups=groups)

    def fill(item: RequestSummary) -> DecisionInput:
        return msgspec.structs.replace(answer.said, data=filled(item.asked, answer.fields))

    return Inbox(client, actor).decide(name, fill if answer.fields else answer.said, mark=mark)


def comment(client: Client, name: str, text: str, *, by: str, via: str) -> Promise:
    """Comment on the request that a name means."""
    return Inbox(client, Actor(person=by, via=via)).comment(name, text)


def details(client: Client, promise: Promise, groups: Groups = NO_GROUPS) -> RequestDetails:
    """Return everything that is stored about a request."""
    return Inbox(client, Actor(person="anybody", via="test", groups=groups)).show(promise.id)


def comments_of(client: Client, id: str) -> list[Comment]:
    """Return the comments on a request, the oldest first."""
    return comments_in(search(client, tags={COMMENT_TAG: id}))
