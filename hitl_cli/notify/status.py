"""Who was told of a request, when and through what, or why not: read from the promises of its notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import search
from hitl_cli.client.tags import NOTICE_TAG, ORIGIN_TAG
from hitl_cli.client.wire import child_id, decode_as
from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.requests.notification import Notification, Occasion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise


class DeliveryAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of trying to tell somebody, at an instant (ms since the epoch).

    `over` says that there was nothing to say any more, `gathered` that it is kept for a digest, `missed`
    that it came too late for that. `for_good` tells whether the channel would not take it later either,
    `after_ms` when it might, `more` whether there is another channel; `shown` are the requests in the
    message, and `digest` whether it was with others. `receipt` is what the receiver said when it took it.
    """

    who: str
    at: int
    outcome: Literal["sent", "failed", "over", "gathered", "missed"]
    channel: str | None = None
    why: str | None = None
    for_good: bool = False
    after_ms: int | None = None
    more: bool = False
    shown: tuple[str, ...] = ()
    receipt: str | None = None
    digest: bool = False


class NotificationStatus(Struct, frozen=True, kw_only=True):
    """How it stands with telling somebody of one occasion. Instants are ms since the epoch.

    `tries` are all, the oldest first; `next_at` is when it is tried again, or looked after; None where it
    is not. `who` is None where no worker has looked yet who is to be told.
    """

    who: str | None
    occasion: Occasion
    since: int
    tries: tuple[DeliveryAttempt, ...] = ()
    next_at: int | None = None
    given_up: bool = False

    @property
    def last(self) -> DeliveryAttempt | None:
        """The last try."""
        return self.tries[-1] if self.tries else None

    @property
    def standing(self) -> Literal["told", "to be told", "not told yet", "not told"]:
        """How it stands, in words."""
        last = self.last
        if last is not None and last.outcome == "sent":
            return "told"
        if self.given_up:
            return "not told"
        return "not told yet" if last is not None and last.outcome == "failed" else "to be told"


def said_of(told: NotificationStatus, now: int) -> str:
    """Return through what and when somebody was told; or why not, and when it is tried again."""
    last = told.last
    said = []
    if last is not None and last.outcome == "sent":
        together = " with others" if last.digest else ""
        said.append(f"by {last.channel}{together}, {format_age(max(now - last.at, 0))} ago")
        if last.receipt:
            said.append(last.receipt)
        failed = (t for t in told.tries if t.outcome == "failed" and t.channel is not None)
        said += dict.fromkeys(f"not by {tried.channel}: {tried.why}" for tried in failed)
    failing = last is not None and last.outcome == "failed"
    if last is not None and failing:
        said.append(f"{last.channel}: {last.why}" if last.channel else str(last.why))
    if told.next_at is not None:
        said.append(f"{'again ' if failing else ''}in {format_duration(max(told.next_at - now, 0))}")
    if told.who is None and not told.given_up:
        said.append("a worker that can reach people will look to it")
    return "; ".join(said)


def without_old_reminders(told: Sequence[NotificationStatus]) -> tuple[NotificationStatus, ...]:
    """Leave out all reminders of somebody but the last: of those there may be thousands."""
    last = {one.who: one for one in told if one.occasion == "reminder"}
    return tuple(one for one in told if one.occasion != "reminder" or one is last[one.who])


def notifications_of(request: str, promises: Iterable[Promise]) -> tuple[NotificationStatus, ...]:
    """Return how it stands with telling people of a request; `promises` are all of its run.

    Those who need not be told, because the request was decided before, are left out.
    """
    every = list(promises)
    notices = [p for p in every if p.tags.get(NOTICE_TAG) == request and p.id.startswith(request)]
    notices.sort(key=_made)
    return tuple(told for notice in notices for told in _told_by(notice, every))


def _told_by(promise: Promise, every: Sequence[Promise]) -> Iterable[NotificationStatus]:
    """Yield how it stands with everyone whom a notice concerns."""
    notice = notice_in(promise)
    if notice is None or notice.id != promise.id:
        return
    below = {p.id: p for p in every if p.id.startswith(child_id(promise.id, ""))}
    looked = below.get(child_id(promise.id, "1"))
    people = decode_as(looked.value, tuple[str, ...]) if looked and looked.state == "resolved" else None
    if people is None:
        given_up = promise.state != "pending"
        yield NotificationStatus(
            who=None, occasion=notice.occasion, since=promise.created_at, given_up=given_up
        )
        return
    for number, who in enumerate(people, start=2):
        id = child_id(promise.id, str(number))
        steps = [p for p in below.values() if p.id.startswith(child_id(id, ""))]
        own = below.get(id)
        pending = promise.state == "pending" and (own is None or own.state == "pending")
        timers = [p.timeout_at for p in steps if p.state == "pending" and p.is_timer]
        tries = tuple(_tries_in(sorted(steps, key=_made)))
        if tries and tries[-1].outcome == "over":
            continue
        yield NotificationStatus(
            who=who,
            occasion=notice.occasion,
            since=promise.created_at,
            tries=tries,
            next_at=min(timers, default=None) if pending else None,
            given_up=not pending and not (tries and tries[-1].outcome == "sent"),
        )


def _made(promise: Promise) -> tuple[int, int, str]:
    """Return what puts promises in the order in which they were made; an SDK numbers those of one instant."""
    return promise.created_at, len(promise.id), promise.id


def notice_in(promise: Promise) -> Notification | None:
    """Return the notice that a promise is; None where it only looks like one."""
    call = promise.call
    args = call.args if call is not None and isinstance(call.args, list) else []
    try:
        return msgspec.convert(args[0], Notification) if args else None
    except msgspec.ValidationError:
        return None


def _tries_in(steps: Iterable[Promise]) -> Iterable[DeliveryAttempt]:
    """Return what steps say came of telling somebody; other steps say other things."""
    said = (decode_as(step.value, DeliveryAttempt) for step in steps if step.state == "resolved")
    return filter(None, said)


def heard_before(client: Client, request: Promise) -> frozenset[str]:
    """Return who was told of a request so far."""
    prefix, run = child_id(request.id, "t-"), {"tags": {ORIGIN_TAG: request.origin}}
    found = search(client, **({"idPrefix": prefix} if client.capabilities.prefix else run))
    steps = [step for step in found if step.id.startswith(prefix)]
    return frozenset(tried.who for tried in _tries_in(steps) if tried.outcome == "sent")
