"""Decisions that are held for a few seconds, during which the person can undo them.

A held decision is a promise of its own on the server; its request is not changed yet. When it is due, the
gateway that took it makes it. If that gateway has died, the housekeeping of a worker or another gateway does.
It is made with an `IdempotencyMark`, so that it is recorded only once.

Undoing it cancels that promise. By the server's clock, a promise that is canceled before `DUE_MS` is seen as
canceled by every process that would make the decision. So a decision is either undone or made, never both.

The rules of that moment apply: it is not made if the person's token, link or sign-in was ended meanwhile. It
is also dropped if no process made it within `LOST_MS`: after a backup is restored, it is not known whether it
was undone.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from itertools import batched
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.client.protocol import get_promises, search, send
from hitl_cli.client.records import alone, settle
from hitl_cli.client.wire import Audit, audit_in, check_size, decode_as, encode, fresh_id, headers_of
from hitl_cli.errors import Conflict, HitlError, NotFound, Unreachable
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.inbox.decide import rehearse
from hitl_cli.inbox.inbox import Inbox
from hitl_cli.inbox.review_queue import HOLD_MS
from hitl_cli.inbox.together import WantedDecision, decide_together
from hitl_cli.people.actor import Actor, Credential
from hitl_cli.people.idempotency import mark_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.outcome import yes_or_no_given

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
"""When a held decision is made: a little after the last undo, which takes a while to arrive."""

LEFT_MS = 2 * DUE_MS
"""After this time, the process that took a decision must have died, and other processes make it."""

LOST_MS = UNITS_MS["h"]
"""After this time, it is dropped: it comes from a restored backup, or the server was away all the time."""

LONGEST_TITLE = 200
"""Characters of a request's title that are kept with a decision."""

TOGETHER = 100
"""How many decisions on many requests are made at a time."""

FAILURES = 50
"""How many failures of a decision on many requests are stored with their reasons."""

type Standing = Literal["held", "undone", "made", "failed"]

type Ended = Callable[[Client, Held, Groups], str | None]
"""Says why a held decision must not be made any more (hitl_cli/auth/held_decisions.py); None if it may."""


class Failed(Struct, frozen=True):
    """A request that a decision on many could not decide, and why."""

    request: str
    problem: str


def failed_with(request: str, error: HitlError) -> Failed:
    """Return one of many decisions that failed with an error."""
    return Failed(request, str(error).removesuffix(" Nothing was changed."))


class Held(Struct, frozen=True, kw_only=True):
    """A held decision. `since` is in ms since the epoch; `problem` is why it could not be made.

    `title` is that of the request; `answer` is the choice, or the yes or no, of an approval. `many` are the
    ids if it is on many requests at once. `failures` counts the requests that could not be decided, `failed`
    has the first FAILURES of them, and `skipped` of them are not in `many`. `groups` are the person's groups
    by sign-in, which only the gateway that took the decision knows. `credential` is the token, link or
    sign-in with which they acted.
    """

    id: str
    request: str
    title: str
    by: str
    via: str
    since: int
    said: DecisionInput
    answer: str | None = None
    many: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    credential: Credential | None = None
    standing: Standing = "held"
    problem: str | None = None
    failed: tuple[Failed, ...] = ()
    failures: int = 0
    skipped: int = 0

    @property
    def decided(self) -> int:
        """The number of requests that it decides, without those that failed."""
        return len(self.many) + self.skipped - self.failures

    @property
    def until(self) -> int:
        """Until when it can be undone, in ms since the epoch."""
        return self.since + HOLD_MS


class _Stored(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of its promise."""

    request: str
    title: str
    said: DecisionInput
    answer: str | None = None
    many: tuple[str, ...] = ()
    failed: tuple[Failed, ...] = ()
    skipped: int = 0
    groups: tuple[str, ...] = ()
    credential: Credential | None = None


class _Failure(Struct, frozen=True):
    """The value of the promise of a decision that could not be made."""

    problem: str


class _Made(Struct, frozen=True, omit_defaults=True):
    """The value of the promise of a decision on many requests: those that could not be decided."""

    failed: tuple[Failed, ...] = ()
    failures: int = 0


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
    if not can_be_held(item, client.now()) or given.for_ is not msgspec.UNSET:
        return None
    return _created(client, actor, given, (item,))


def can_be_held(item: RequestSummary, now: int) -> bool:
    """Whether a decision on a request can wait: it needs no signature, and the deadline is not near."""
    return item.promise.state == "pending" and item.deadline - now > LEFT_MS and not item.asked.proof


def hold_many(
    client: Client,
    actor: Actor,
    items: Sequence[RequestSummary],
    said: DecisionInput,
    failed: Sequence[Failed] = (),
) -> Held:
    """Hold one decision on many requests, for which `can_be_held` is true. See Inbox.hold_many."""
    return _created(client, actor, said, items, tuple(item.id for item in items), failed)


def _created(
    client: Client,
    actor: Actor,
    said: DecisionInput,
    items: Sequence[RequestSummary],
    many: tuple[str, ...] = (),
    failed: Sequence[Failed] = (),
) -> Held:
    """Create the promise of a held decision, and return it. Raises TooLarge."""
    first, now = items[0], client.now()
    stored = _Stored(
        request=first.id,
        title=(first.asked.title or first.id)[:LONGEST_TITLE],
        said=said,
        answer=said.choice
        or (
            None
            if many
            else yes_or_no_given(first.asked.form, said.data, editable=first.asked.editable is not None)
        ),
        many=many,
        failed=tuple(failed[:FAILURES]),
        skipped=len(failed),
        groups=actor.groups.joined_by(actor.person),
        credential=actor.credential,
    )
    create = alone(
        f"{PREFIX}{fresh_id()}",
        msgspec.to_builtins(stored),
        Audit(by=actor.person, via=actor.via, at=now).headers(),
        until=now + defaults.DEADLINE_MS,
        tags={HELD_TAG: "1"},
    )
    check_size(first.id, create.data["param"])
    made = _held_in(send(client, create))
    assert made is not None
    return made


def held(client: Client, actor: Actor, ids: Iterable[str]) -> list[Held]:
    """Return the held decisions with these ids that are the actor's, in this order."""
    asked = [id for id in dict.fromkeys(ids) if _ID.fullmatch(id)]
    found = get_promises(client, asked) if asked else {}
    every = (_held_in(found[id]) for id in asked if id in found)
    return [one for one in every if one is not None and actor.groups.same(one.by, actor.person)]


def undo(client: Client, actor: Actor, id: str, ended: Ended) -> Held:
    """Undo a held decision, and return it. Raises NotFound, and Conflict if it is too late."""
    own = held(client, actor, [id])
    if not own:
        raise NotFound("you have no such decision to undo.")
    [one] = own
    actor.require("decide", request=one.request)
    if one.standing == "held" and client.now() < one.since + DUE_MS:
        one = _ended(client, one, "rejected_canceled", None)
        if one.standing == "held":  # once its promise is settled, no other process would find it
            one = make(client, one, actor.groups, ended)
    if one.standing == "undone":
        return one
    if not one.many:
        one = make(client, one, actor.groups, ended)  # too late
    if one.standing == "failed":
        raise Conflict(f"this decision did not count: {one.problem}", code="already-decided")
    raise Conflict("it is too late to undo this decision: it is recorded.", code="already-decided")


def make(client: Client, one: Held, groups: Groups, ended: Ended) -> Held:
    """Make a held decision that is due, unless it is made or undone, and return it. Raises Unreachable."""
    [now] = held(client, Actor(person=one.by, via=one.via, groups=groups), [one.id]) or [one]
    if now.standing in ("made", "undone", "failed"):
        return now
    problem = ended(client, one, groups)
    if client.now() - one.since > LOST_MS:
        problem = "it was not recorded within an hour, so it may have been undone. Decide again."
    if problem is not None:
        logger.warning("the decision of %s on %s was not recorded: %s", one.by, one.request, problem)
        return _ended(client, one, "rejected", _Failure(problem))
    actor = Actor(person=one.by, via=one.via, groups=groups.with_joined(one.by, one.groups))
    if one.many:
        failed = _made_together(client, actor, one)
        told = _Made((*one.failed, *failed)[:FAILURES], one.skipped + len(failed))
        return _ended(client, one, "resolved", told)
    try:
        _make_one(client, actor, one, one.request)
    except Unreachable:
        raise
    except HitlError as error:
        return _ended(client, one, "rejected", _Failure(str(error)))
    return _ended(client, one, "resolved", None)


def _make_one(client: Client, actor: Actor, one: Held, request: str) -> None:
    """Make a held decision on one request; several processes record it once."""
    mark = mark_of(one.id, one.by, request, msgspec.json.encode(one.said))
    Inbox(client, actor).decide(request, one.said, whole=True, mark=mark)


def _made_together(client: Client, actor: Actor, one: Held) -> tuple[Failed, ...]:
    """Make a held decision on many requests, and return the requests that could not be decided.

    If another process has made some of them and died, they are repeated, which is not an error.
    """
    failed: list[Failed] = []
    for some in batched(one.many, TOGETHER):
        wanted = [WantedDecision(actor, id, one.said) for id in some]
        for id, result in zip(some, decide_together(client, wanted), strict=True):
            try:
                if isinstance(result, Exception):
                    raise result
                if result is None:  # for example a vote
                    _make_one(client, actor, one, id)
            except Unreachable:
                raise
            except HitlError as error:
                failed.append(failed_with(id, error))
    return tuple(failed)


def make_left(client: Client, groups: Groups, ended: Ended) -> float:
    """Make the held decisions that are overdue because a process died.

    Return in how many seconds another one may be overdue. Raises Unreachable.
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
            make(client, one, groups, ended)
        except Unreachable:
            raise
        except Exception:  # one failure must not block the others
            logger.exception(
                "decision %s on %s could not be recorded after its time to undo", one.id, one.request
            )
    return next_s


def _ended(client: Client, one: Held, state: PromiseState, value: _Failure | _Made | None) -> Held:
    """Settle the promise of a held decision, and return the decision as it is afterwards."""
    said = encode(None if value is None else msgspec.to_builtins(value))
    return _held_in(settle(client, one.id, state, said)) or one


def _held_in(promise: Promise) -> Held | None:
    """Return the held decision in a promise; None if it is not a valid one."""
    try:
        said = decode_as(promise.param, _Stored)
    except HitlError:  # not a valid decision
        return None
    audit = audit_in(headers_of(promise.param))
    if said is None or audit.by is None or not promise.id.startswith(PREFIX):
        return None
    failed = decode_as(promise.value, _Failure) if promise.state == "rejected" else None
    made = decode_as(promise.value, _Made) if promise.state == "resolved" and said.many else None
    return Held(
        id=promise.id,
        request=said.request,
        title=said.title,
        by=audit.by,
        via=audit.via or "web",
        since=promise.created_at,
        said=said.said,
        answer=said.answer,
        many=said.many,
        groups=said.groups,
        credential=said.credential,
        standing=_standing_of(promise),
        problem=None if failed is None else failed.problem,
        failed=said.failed if made is None else made.failed,
        failures=said.skipped if made is None else made.failures,
        skipped=said.skipped,
    )


def _standing_of(promise: Promise) -> Standing:
    if promise.state == "rejected_canceled":
        in_time = (promise.settled_at or 0) < promise.created_at + DUE_MS
        return "undone" if in_time else "held"
    return {"pending": "held", "resolved": "made"}.get(promise.state, "failed")  # type: ignore[return-value]
