"""The deliveries of a request's notifications: to whom, when and how, or why not.

Read from their promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import creation_order, search_each
from hitl_cli.client.tags import NOTICE_TAG, ORIGIN_TAG
from hitl_cli.client.wire import child_id, decode, decode_as
from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.inspected import inspected
from hitl_cli.requests.notification import Notification, Occasion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.contacts import Directory


class DeliveryAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of an attempt to notify a recipient, at an instant (ms since the epoch).

    Outcomes: `over` if the notification was no longer needed, `gathered` if it is in a digest, `missed` if it
    was too late for one. `for_good` marks a permanent failure; `after_ms` is how long the receiver wants no
    further attempts; `more` says that there is another channel. `shown` are the requests in the message,
    `digest` says that it was a digest, and `receipt` is the receiver's response.
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
    """The status of one notification to one recipient. Instants are ms since the epoch.

    `tries` are all attempts, oldest first; `next_at` is the next attempt or check, None if there is none.
    `who` is None if no worker has determined the recipients yet.
    """

    who: str | None
    occasion: Occasion
    since: int
    tries: tuple[DeliveryAttempt, ...] = ()
    next_at: int | None = None
    given_up: bool = False

    @property
    def last(self) -> DeliveryAttempt | None:
        """The last attempt."""
        return self.tries[-1] if self.tries else None

    @property
    def standing(self) -> Literal["told", "to be told", "not told yet", "not told"]:
        """The status, as in JSON."""
        last = self.last
        if last is not None and last.outcome == "sent":
            return "told"
        if self.given_up:
            return "not told"
        return "not told yet" if last is not None and last.outcome == "failed" else "to be told"

    @property
    def shown(self) -> str:
        """The status, for people."""
        return _SHOWN[self.standing]


_SHOWN = {"told": "notified", "to be told": "queued", "not told yet": "retrying", "not told": "not notified"}


def said_of(told: NotificationStatus, now: int) -> str:
    """Return when and how a recipient was notified; or why not, and when the next attempt is."""
    last = told.last
    said = []
    if last is not None and last.outcome == "sent":
        together = " in a digest" if last.digest else ""
        said.append(f"by {last.channel}{together}, {format_age(max(now - last.at, 0))} ago")
        if last.receipt:
            said.append(last.receipt)
        failed = (t for t in told.tries if t.outcome == "failed" and t.channel is not None)
        said += dict.fromkeys(f"not by {tried.channel}: {_phrase(tried.why)}" for tried in failed)
    failing = last is not None and last.outcome == "failed"
    if last is not None and failing:
        why = _phrase(last.why)
        said.append(f"{last.channel}: {why}" if last.channel else why)
    if told.next_at is not None:
        said.append(f"{'next attempt ' if failing else ''}in {format_duration(max(told.next_at - now, 0))}")
    if told.who is None and not told.given_up:
        said.append("waiting for a worker with notification settings")
    return "; ".join(said)


def _phrase(why: str | None) -> str:
    """Return a reason as part of a sentence."""
    return str(why).removesuffix(".")


def without_old_reminders(told: Sequence[NotificationStatus]) -> tuple[NotificationStatus, ...]:
    """Return statuses with only the last reminder of each recipient: there may be thousands."""
    last = {one.who: one for one in told if one.occasion == "reminder"}
    return tuple(one for one in told if one.occasion != "reminder" or one is last[one.who])


def notifications_of(request: str, promises: Iterable[Promise]) -> tuple[NotificationStatus, ...]:
    """Return the statuses of a request's notifications; `promises` are all promises of its run.

    Notifications that were no longer needed, because the request was decided earlier, are left out.
    """
    every = list(promises)
    notices = [p for p in every if p.tags.get(NOTICE_TAG) == request and p.id.startswith(request)]
    notices.sort(key=creation_order)
    return tuple(told for notice in notices for told in _told_by(notice, every))


def _told_by(promise: Promise, every: Sequence[Promise]) -> Iterable[NotificationStatus]:
    """Yield the status of a notification for each recipient."""
    notice = notice_in(promise)
    if notice is None or notice.id != promise.id:
        return
    at_once = _said_in(promise)
    if isinstance(at_once, tuple):
        for tried in at_once:
            if tried.outcome != "over":
                yield NotificationStatus(
                    who=tried.who,
                    occasion=notice.occasion,
                    since=promise.created_at,
                    tries=(tried,),
                    given_up=tried.outcome != "sent",
                )
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
        tries = tuple(_tries_in(sorted(steps, key=creation_order) or filter(None, [own])))
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


def notice_in(promise: Promise) -> Notification | None:
    """Return the notification in a promise; None if it is not a valid one."""
    call = promise.call
    args = call.args if call is not None and isinstance(call.args, list) else []
    try:
        return msgspec.convert(args[0], inspected(Notification)) if args else None
    except msgspec.ValidationError:
        return None


def _tries_in(promises: Iterable[Promise]) -> Iterable[DeliveryAttempt]:
    """Return the attempts in the results of notifications and steps; other steps have other results."""
    for promise in promises:
        said = _said_in(promise)
        yield from said if isinstance(said, tuple) else filter(None, [said])


def _said_in(promise: Promise) -> DeliveryAttempt | tuple[DeliveryAttempt, ...] | None:
    """Return the result of a step that sends, or of a notification that needed no step."""
    if promise.state != "resolved":
        return None
    said = decode(promise.value)
    try:
        if isinstance(said, list):
            return msgspec.convert(said, inspected(tuple[DeliveryAttempt, ...]))
        return msgspec.convert(said, inspected(DeliveryAttempt))
    except msgspec.ValidationError:
        return None


class Placed(Protocol):
    """A request, by its id and that of its run."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def origin(self) -> str:
        """The id of its run, or its own."""


def heard_by_others(
    client: Client, requests: Sequence[Placed], decided_by: Iterable[str | None], directory: Directory
) -> list[bool]:
    """Return by request whether somebody else than who decided it was notified of it."""
    same = directory.members.same
    return [
        any(not same(who, by) for who in heard)
        for by, heard in zip(decided_by, heard_before(client, requests), strict=True)
    ]


def heard_before(client: Client, requests: Sequence[Placed]) -> list[frozenset[str]]:
    """Return by request who was notified of it so far, other than as its asker."""
    prefixes = [child_id(request.id, "t-") for request in requests]
    can = client.capabilities.prefix
    found = search_each(
        client,
        [
            {"idPrefix": prefix} if can else {"tags": {ORIGIN_TAG: request.origin}}
            for prefix, request in zip(prefixes, requests, strict=True)
        ],
    )
    return [
        frozenset(
            tried.who
            for tried in _tries_in(
                step
                for step in steps
                if step.id.startswith(prefix) and not step.id.startswith(f"{prefix}asked-back")
            )
            if tried.outcome == "sent"
        )
        for prefix, steps in zip(prefixes, found, strict=True)
    ]
