"""From a notice, or what was gathered, to the message that is sent: what is asked, and where to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from hitl_cli.client.wire import audit_of, error_message
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.pending import RequestSummary, summaries
from hitl_cli.notify.messages import Message, MessageItem
from hitl_cli.notify.phrases import plain
from hitl_cli.requests.question import GROUP, OUTCOMES, PLAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.contacts import NotificationSettings
    from hitl_cli.requests.notification import Notification, Occasion

LINK_ID_CHARS = 18
"""So much of a message's hash is the id of the link in it: the same, however often it is sent."""

ITEMS = 50
"""The most requests that one message names. The page has all."""

ASKING: tuple[Occasion, ...] = ("asked", "reminder", "escalated")
"""What nobody needs to hear any more once the request is decided."""

SUBJECTS: dict[Occasion, str] = {
    "asked": "{title}",
    "reminder": "Reminder: {title}",
    "escalated": "Now for you too: {title}",
    "approved": "Approved{by}: {title}",
    "rejected": "Rejected{by}: {title}",
    "expired": "Expired: {title}",
    "canceled": "Canceled{by}: {title}",
}


def look_up(client: Client, ids: Sequence[str]) -> dict[str, RequestSummary]:
    """Return requests as they are now; those that are gone, or cannot be read, are left out."""
    return {id: item for id, item in summaries(client, ids).items() if item.question is not None}


def compose(client: Client, notice: Notification, who: str, reach: NotificationSettings) -> Message | str:
    """Return what is said to somebody now; a text, if there is nothing to say any more, is why."""
    case = look_up(client, [notice.request]).get(notice.request)
    if case is None:
        return "there is no such request any more"
    if notice.occasion in ASKING and not case.waits:
        return "it was decided before"
    now = client.now()
    id = f"{notice.id}/{who}/{case.promise.created_at}"  # an id that was pruned may be given again
    item = _item_of(case, who, id, reach, now)
    by = f" by {item.by}" if item.by else ""
    subject = SUBJECTS[notice.occasion].format(title=plain(item.title), by=by)
    return Message(
        id=id,
        occasion=notice.occasion,
        to=who.removeprefix(GROUP),
        subject=subject,
        thread=notice.request,
        items=(item,),
        inbox=f"{reach.now.gateway}/",
        at=now,
    )


def compose_digest(
    client: Client, id: str, who: str, notices: Sequence[Notification], reach: NotificationSettings
) -> Message | str:
    """Return one message of all that is still worth saying of what was gathered for somebody.

    That is what waits; and what came of those of which they heard before. Else a text says why there is none.
    """
    gathered: dict[str, list[Notification]] = {}
    for notice in notices:
        gathered.setdefault(notice.request, []).append(notice)
    now = client.now()
    cases = look_up(client, list(gathered))
    worth = [
        case
        for request, case in cases.items()
        if case.waits or not any(notice.occasion in ASKING for notice in gathered[request])
    ]
    if not worth:
        return "all of it was decided before"
    worth.sort(key=lambda case: (not case.waits, case.promise.created_at))
    items = tuple(_item_of(case, who, f"{id}/{case.promise.id}", reach, now) for case in worth[:ITEMS])
    return Message(
        id=id,
        occasion="digest",
        to=who.removeprefix(GROUP),
        subject=_digest_subject(worth),
        thread=id,
        items=items,
        inbox=f"{reach.now.gateway}/",
        at=now,
    )


def _digest_subject(cases: Sequence[RequestSummary]) -> str:
    """Return how much there is of what."""
    waiting = sum(case.waits for case in cases)
    decided = len(cases) - waiting
    parts = []
    if waiting:
        parts.append(f"{waiting:,} {'requests wait' if waiting > 1 else 'request waits'} for you")
    if decided:
        parts.append(f"{decided:,} {'were' if decided > 1 else 'was'} decided")
    return ", ".join(parts)


def _item_of(
    case: RequestSummary, who: str, message: str, reach: NotificationSettings, now: int
) -> MessageItem:
    """Return a request as a message shows it to somebody."""
    promise, question = case.promise, case.asked
    settled = audit_of(promise)
    outcome = OUTCOMES.get(promise.state)
    return MessageItem(
        request=promise.id,
        workflow=promise.origin,
        title=printable(question.title) if question is not PLAIN else promise.id,
        question=question,
        asker=case.asker,
        asked_at=promise.created_at,
        deadline=promise.timeout_at,
        url=_url_for(case, who, message, reach, now),
        outcome=outcome,
        by=settled.by if outcome is not None else None,
        reason=_reason_of(case),
        choice=settled.choice if outcome is not None else None,
    )


def _reason_of(case: RequestSummary) -> str | None:
    """Return why it came as it did, where somebody said so, or the deadline means something."""
    if case.promise.state in ("rejected", "rejected_canceled"):
        return error_message(case.promise.value)
    if case.promise.state != "rejected_timedout" or case.asked.on_deadline == "expire":
        return None
    meaning = "rejected" if case.asked.on_deadline == "reject" else "approved"
    return f"it counts as {meaning}"


def _url_for(case: RequestSummary, who: str, message: str, reach: NotificationSettings, now: int) -> str:
    """Return where somebody answers a request: a link of their own, while it waits for a person.

    For a group, and once it is decided, it is the page where one signs in.
    """
    gateway = reach.now.gateway
    if reach.keys is None or not case.waits or who.startswith(GROUP):
        return f"{gateway}/r/{quote(case.promise.id, safe=':')}"
    from hitl_cli.auth.links import link_for, url_of
    from hitl_cli.auth.signing_keys import load_keys

    link = link_for(case.promise, who, now=now, id=stable_id(message, LINK_ID_CHARS))
    return url_of(gateway, link, load_keys(reach.keys, now))
