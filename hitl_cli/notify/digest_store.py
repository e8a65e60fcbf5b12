"""Digests: a run that sends one message, and a promise under it for each notification in the message.

The run's id is derived from the person and the window, so all workers use the same run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promise, search, send
from hitl_cli.client.records import store, under
from hitl_cli.client.tags import DIGEST
from hitl_cli.client.wire import Audit, child_id, decode_as
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.stable_ids import short_stable_id
from hitl_cli.notify.compose import ASKING, ITEMS, look_up
from hitl_cli.notify.status import DeliveryAttempt
from hitl_cli.requests.notification import Notification
from hitl_cli.runs.run import RunSpec, create_request

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

GATHERED_TAG = "hitl:gathered"
"""The id of the digest that a notification is in."""

LIFE_MS = 3 * 86_400_000
"""A digest ends at most this long after its window: sent or given up."""


class DigestEntry(Struct, frozen=True, kw_only=True):
    """A digest, and the time until its window ends (ms)."""

    digest: str
    left_ms: int


class DigestEnd(Struct, frozen=True, kw_only=True):
    """The result of a digest: the ids of its notifications, and the last attempt to send it."""

    notices: tuple[str, ...] = ()
    last: DeliveryAttempt | None = None


def gather(client: Client, notice: Notification, who: str, window: str, target: str) -> DigestEntry | None:
    """Add a notification to the recipient's digest; None if it is too urgent for that."""
    case = look_up(client, [notice.request]).get(notice.request)
    if case is None or case.asked.priority == "urgent":
        return None
    now, window_ms = client.now(), parse_duration(window)
    ends_at = (now // window_ms + 1) * window_ms
    id = f"hitl-digest-{short_stable_id(who)}-{ends_at}"  # works for any name
    spec = RunSpec(id=id, workflow=DIGEST, args=[who, ends_at])
    digest = send(client, create_request(spec, target, ends_at + LIFE_MS, id))
    entry_id = child_id(id, f"e{short_stable_id(notice.id)}")
    entry = under(digest, entry_id, GATHERED_TAG, msgspec.to_builtins(notice), Audit())
    store(client, entry)
    return DigestEntry(digest=id, left_ms=ends_at - now)


def gathered_in(client: Client, digest: str) -> tuple[Notification, ...]:
    """Return the notifications in a digest."""
    kept = (decode_as(promise.param, Notification) for promise in search(client, tags={GATHERED_TAG: digest}))
    return tuple(notice for notice in kept if notice is not None)


def end_of_digest(client: Client, digest: str, notice: Notification, who: str) -> DeliveryAttempt:
    """Return the result for a notification: `gathered` while the digest is open, `missed` if it was late."""
    promise = get_promise(client, digest)
    now = client.now()
    if promise is not None and promise.state == "pending":
        return DeliveryAttempt(who=who, at=now, outcome="gathered")
    ended = decode_as(promise.value, DigestEnd) if promise and promise.state == "resolved" else None
    if ended is None:
        return DeliveryAttempt(who=who, at=now, outcome="failed", why="the digest was given up")
    if notice.id not in ended.notices:
        return DeliveryAttempt(who=who, at=now, outcome="missed")
    last = ended.last
    if last is None or (
        last.outcome == "sent"
        and notice.request not in last.shown
        and (len(last.shown) < ITEMS or _is_over(client, notice))
    ):
        why = "the request was already decided, or assigned to others"
        return DeliveryAttempt(who=who, at=now, outcome="over", why=why)
    return msgspec.structs.replace(last, shown=(notice.request,), digest=True)


def _is_over(client: Client, notice: Notification) -> bool:
    case = look_up(client, [notice.request]).get(notice.request)
    return case is None or (notice.occasion in ASKING and not case.waits)
