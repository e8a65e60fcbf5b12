"""Decisions that are held for a few seconds, in which the person can undo them.

A held decision is a promise on the server, and nothing on its request. When it is due, the gateway that took
it makes it. If that has died, the housekeeping of any worker or gateway does. It is made with an
`IdempotencyMark`, so that it is recorded once, whoever makes it.

To undo it is to cancel that promise. The server's clock says whether that was in time: what is canceled
before `DUE_MS` is seen by everyone who would make it. So a decision is either undone or made, never both.
"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.client.protocol import get_promises, search, send
from hitl_cli.client.records import alone, settle
from hitl_cli.client.wire import Audit, audit_in, check_size, decode_as, encode, fresh_id, headers_of
from hitl_cli.errors import Conflict, HitlError, NotFound, Unreachable
from hitl_cli.inbox.decide import rehearse
from hitl_cli.inbox.inbox import Inbox
from hitl_cli.inbox.review_queue import HOLD_MS
from hitl_cli.people.actor import Actor
from hitl_cli.people.idempotency import mark_of
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.engine.records import PromiseState
    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups

logger = logging.getLogger(__name__)

HELD_TAG = "hitl:held"

PREFIX = "hitl-held-"

_ID = re.compile(f"{PREFIX}[0-9a-f]{{1,64}}")

DUE_MS = HOLD_MS + 1_000
"""When a held decision is made: an undo that is sent in the last moment takes a while to arrive."""

LEFT_MS = 2 * DUE_MS
"""After this time the process that took a decision has died, and others make it."""

LONGEST_TITLE = 200
"""Characters of a request's title that are kept with a decision."""

type Standing = Literal["held", "undone", "made", "failed"]


class Held(Struct, frozen=True, kw_only=True):
    """A held decision. `since` is in ms since the epoch; `problem` is why it could not be made.

    `title` is that of the request. `groups` are those of the person by their sign-in, which only the gateway
    knows that took the decision.
    """

    id: str
    request: str
    title: str
    by: str
    via: str
    since: int
    said: DecisionInput
    groups: tuple[str, ...] = ()
    standing: Standing = "held"
    problem: str | None = None

    @property
    def until(self) -> int:
        """Until when it can be undone, in ms since the epoch."""
        return self.since + HOLD_MS


class _Stored(Struct, frozen=True, kw_only=True):
    """The data of its promise."""

    request: str
    title: str
    said: DecisionInput
    groups: tuple[str, ...] = ()


class _Failure(Struct, frozen=True):
    """The value of the promise of a decision that could not be made."""

    problem: str


def hold(
    client: Client,
    actor: Actor,
    item: RequestSummary,
    said: Said,
    expect: Callable[[RequestSummary], None] | None = None,
) -> Held | None:
    """Hold a decision, and return it; None if it must be made at once. See Inbox.hold."""
    if expect is not None:
        expect(item)
    given = rehearse(item, actor, said)
    now = client.now()
    short = item.deadline - now <= LEFT_MS
    if item.promise.state != "pending" or short or item.asked.proof or given.for_ is not msgspec.UNSET:
        return None
    stored = _Stored(
        request=item.id,
        title=(item.asked.title or item.id)[:LONGEST_TITLE],
        said=given,
        groups=actor.groups.joined_by(actor.person),
    )
    create = alone(
        f"{PREFIX}{fresh_id()}",
        msgspec.to_builtins(stored),
        Audit(by=actor.person, via=actor.via, at=now).headers(),
        until=now + defaults.DEADLINE_MS,
        tags={HELD_TAG: "1"},
    )
    check_size(item.id, create.data["param"])
    return _held_in(send(client, create))


def held(client: Client, actor: Actor, ids: Iterable[str]) -> list[Held]:
    """Return those of some held decisions that are the actor's, in this order."""
    asked = [id for id in dict.fromkeys(ids) if _ID.fullmatch(id)]
    found = get_promises(client, asked) if asked else {}
    every = (_held_in(found[id]) for id in asked if id in found)
    return [one for one in every if one is not None and actor.groups.same(one.by, actor.person)]


def undo(client: Client, actor: Actor, id: str) -> Held:
    """Undo a held decision, and return it. Raises NotFound, and Conflict if it is too late."""
    own = held(client, actor, [id])
    if not own:
        raise NotFound("there is no such decision of yours to undo.")
    [one] = own
    actor.require("decide", request=one.request)
    if one.standing == "held" and client.now() < one.since + DUE_MS:
        one = _ended(client, one, "rejected_canceled", None)
    if one.standing == "undone":
        return one
    one = make(client, one, actor.groups)  # too late
    if one.standing == "failed":
        raise Conflict(f"this decision did not count: {one.problem}", code="already-decided")
    raise Conflict("it is too late to undo this decision: it is recorded.", code="already-decided")


def make(client: Client, one: Held, groups: Groups) -> Held:
    """Make a held decision that is due, unless it is made or undone, and return it. Raises Unreachable."""
    [now] = held(client, Actor(person=one.by, via=one.via, groups=groups), [one.id]) or [one]
    if now.standing in ("made", "undone", "failed"):
        return now
    actor = Actor(person=one.by, via=one.via, groups=groups.with_joined(one.by, one.groups))
    body = msgspec.json.encode(one.said)
    mark = mark_of(one.id, one.by, one.request, body)
    try:
        Inbox(client, actor).decide(one.request, one.said, whole=True, mark=mark)
    except Unreachable:
        raise
    except HitlError as error:
        return _ended(client, one, "rejected", _Failure(str(error)))
    return _ended(client, one, "resolved", None)


def make_left(client: Client, groups: Groups) -> float:
    """Make the held decisions that a process left when it died.

    Return in how many seconds another may be left. Raises Unreachable.
    """
    next_s = math.inf
    for promise in search(client, state="pending", tags={HELD_TAG: "1"}):
        if (one := _held_in(promise)) is None:
            continue
        left_ms = one.since + LEFT_MS - client.now()
        if left_ms > 0:
            next_s = min(next_s, left_ms / 1_000)
            continue
        try:
            make(client, one, groups)
        except Unreachable:
            raise
        except Exception:  # one that cannot be made must not keep the others from it
            logger.exception("the held decision %s on %s was not made", one.id, one.request)
    return next_s


def drop(client: Client, person: str, groups: Groups) -> None:
    """End the held decisions of a person who is removed, so that none is made."""
    for promise in search(client, state="pending", tags={HELD_TAG: "1"}):
        one = _held_in(promise)
        if one is not None and groups.same(one.by, person):
            _ended(client, one, "rejected", _Failure(f"{one.by} was removed."))


def _ended(client: Client, one: Held, state: PromiseState, value: _Failure | None) -> Held:
    """Settle the promise of a held decision, and return the decision as it is then."""
    said = encode(None if value is None else msgspec.to_builtins(value))
    return _held_in(settle(client, one.id, state, said)) or one


def _held_in(promise: Promise) -> Held | None:
    """Return the held decision in a promise; None if it is not a valid one."""
    try:
        said = decode_as(promise.param, _Stored)
    except HitlError:  # a decision that nobody can give
        return None
    audit = audit_in(headers_of(promise.param))
    if said is None or audit.by is None or not promise.id.startswith(PREFIX):
        return None
    failed = decode_as(promise.value, _Failure) if promise.state == "rejected" else None
    return Held(
        id=promise.id,
        request=said.request,
        title=said.title,
        by=audit.by,
        via=audit.via or "web",
        since=promise.created_at,
        said=said.said,
        groups=said.groups,
        standing=_standing_of(promise),
        problem=None if failed is None else failed.problem,
    )


def _standing_of(promise: Promise) -> Standing:
    if promise.state == "rejected_canceled":
        in_time = (promise.settled_at or 0) < promise.created_at + DUE_MS
        return "undone" if in_time else "held"
    return {"pending": "held", "resolved": "made"}.get(promise.state, "failed")  # type: ignore[return-value]
