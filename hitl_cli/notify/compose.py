"""Makes the message for a notification, or for a digest of several."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec.structs import replace

from hitl_cli.client.wire import audit_of, decode, error_message
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.pending import demanded, shown, summaries
from hitl_cli.notify.messages import AskedBack, Message, MessageItem
from hitl_cli.notify.phrases import plain
from hitl_cli.notify.status import heard_before
from hitl_cli.people.actor import Actor
from hitl_cli.people.away import deputized, with_deputies
from hitl_cli.people.contacts import assignees
from hitl_cli.people.deputies import absences_among
from hitl_cli.people.groups import NO_GROUPS, is_among
from hitl_cli.people.sight import Sight
from hitl_cli.requests.editable import changed
from hitl_cli.requests.outcome import answer_given
from hitl_cli.requests.question import GROUP, OUTCOMES, PLAIN, means_at_deadline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.contacts import Directory, NotificationSettings
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.notification import Notification, Occasion

LINK_ID_CHARS = 18
"""A link's id is the beginning of the message's hash, so it is the same each time the message is sent."""

ITEMS = 50
"""Requests that a message has at most. The page shows all."""

ASKING: tuple[Occasion, ...] = (
    "asked",
    "reminder",
    "escalated",
    "assigned",
    "deputy",
    "asked-back",
    "answered-back",
)
"""Notifications that are not needed once the request is decided."""

SUBJECTS: dict[Occasion, str] = {
    "asked": "{title}",
    "reminder": "Reminder: {title}",
    "assigned": "Assigned to you: {title}",
    "deputy": "For you as a deputy: {title}",
    "escalated": "Escalated to you: {title}",
    "asked-back": "Question about your request: {title}",
    "answered-back": "Answered: {title}",
    "approved": "Approved{by}: {title}",
    "rejected": "Rejected{by}: {title}",
    "expired": "Expired: {title}",
    "canceled": "Canceled{by}: {title}",
}


def look_up(client: Client, ids: Sequence[str], groups: Groups = NO_GROUPS) -> dict[str, RequestSummary]:
    """Return the current requests, without deleted and invalid ones."""
    now = with_deputies(client, groups)
    return {
        id: replace(item, away=absences_among(item.asked, item.to, now)) if now.away else item
        for id, item in summaries(client, ids).items()
        if item.question is not None
    }


def compose(
    case: RequestSummary | None, notice: Notification, who: str, reach: NotificationSettings
) -> Message | str:
    """Return the message to a person for a notification of a request that was just read.

    If there is none, return a text that says why.
    """
    if case is None:
        return "the request no longer exists"
    if notice.occasion in ASKING and not case.waits:
        return "the request was already decided"
    if not _is_for(notice, case, who, reach):
        return "the request was assigned to others"
    now = case.now
    id = f"{notice.id}/{who}/{case.promise.created_at}"  # an id may be used again after `hitl prune`
    item = _item_of(case, who, id, reach, now, [notice])
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
    """Return one message for several notifications; or a text that says why there is none.

    It has the open requests, and the outcomes of requests that the person was notified of before.
    """
    gathered: dict[str, list[Notification]] = {}
    now = client.now()
    ids = list(dict.fromkeys(notice.request for notice in notices))
    cases = look_up(client, ids, reach.now.members)
    late = [notice.request for notice in notices if notice.occasion == "deputy" and notice.request in cases]
    told = dict(zip(late, heard_before(client, [cases[id].promise for id in late]), strict=True))
    for notice in notices:
        if notice.occasion == "deputy" and who in told.get(notice.request, ()):
            continue  # by a notification that was queued at the same time
        if notice.request in cases and _is_for(notice, cases[notice.request], who, reach):
            gathered.setdefault(notice.request, []).append(notice)
    worth = [
        case
        for request, case in cases.items()
        if request in gathered
        and (case.waits or not any(notice.occasion in ASKING for notice in gathered[request]))
    ]
    if not worth:
        return "all requests were already decided, or assigned to others"
    worth.sort(key=lambda case: (not case.waits, case.promise.created_at))
    items = tuple(
        _item_of(case, who, f"{id}/{case.promise.id}", reach, now, gathered[case.promise.id])
        for case in worth[:ITEMS]
    )
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


def _is_for(notice: Notification, case: RequestSummary, who: str, reach: NotificationSettings) -> bool:
    """Whether a notification is still for its recipient: the request may have been assigned to others since.

    A recipient that it does not name is the deputy of an assignee that it names.
    """
    names = case.to_from_now_on
    if notice.occasion == "deputy":
        return bool(_deputy_for(case, who, reach))
    if notice.occasion not in ASKING or notice.occasion == "asked-back" or not names:
        return True
    if not notice.names:  # the request was for anyone
        return _is_named(who, names, reach.now)
    if _is_named(who, notice.names, reach.now):
        return _is_named(who, names, reach.now)
    return any(is_among(name, names, reach.now.members) for name in notice.names)


def _deputy_for(case: RequestSummary, who: str, reach: NotificationSettings) -> tuple[str, ...]:
    """Return the absent assignees for whom a person answers a request, at the time of reading."""
    groups = reach.now.members
    if not (case.away and case.waits) or is_among(who, case.to, groups):
        return ()
    return tuple(one.person for one in case.away if any(groups.same(who, name) for name in one.deputies))


def _is_named(who: str, names: Sequence[str], directory: Directory) -> bool:
    """Whether some names include a person, or a group with a contact of its own."""
    return who in assignees(names, directory) or is_among(who, names, directory.members)


def _digest_subject(cases: Sequence[RequestSummary]) -> str:
    """Return the subject of a digest: how many requests are open and how many were decided."""
    waiting = sum(case.waits for case in cases)
    decided = len(cases) - waiting
    parts = []
    if waiting:
        parts.append(f"{waiting:,} {'requests are' if waiting > 1 else 'request is'} waiting for you")
    if decided:
        parts.append(f"{decided:,} {'were' if decided > 1 else 'was'} decided")
    return ", ".join(parts)


def _item_of(
    case: RequestSummary,
    who: str,
    message: str,
    reach: NotificationSettings,
    now: int,
    notices: Sequence[Notification],
) -> MessageItem:
    """Return a request as an item of a message to a person, with the parts that they may see."""
    groups = reach.now.members
    case = demanded(case, groups)
    if not _is_named(who, case.to_from_now_on, reach.now):  # the asker, or a person who is no longer a deputy
        now_away = deputized(groups, case.away)
        case = shown(Sight(Actor(person=who, via="notify", groups=now_away)), case)
    promise, question = case.promise, case.asked
    settled = audit_of(promise)
    url, answer_url = _urls_for(case, who, message, reach, now)
    back = _asked_back(notices)
    if back is not None and back.to_asker:
        url, answer_url = _page_of(case, reach), None
    outcome = "expired" if promise.expired_at is not None else OUTCOMES.get(promise.state)
    return MessageItem(
        request=promise.id,
        workflow=promise.origin,
        title=printable(question.title) if question is not PLAIN else promise.id,
        question=question,
        asker=case.asker,
        asked_at=promise.created_at,
        deadline=case.deadline,
        url=url,
        answer_url=answer_url,
        outcome=outcome,
        by=settled.by if outcome is not None else None,
        reason=_reason_of(case),
        choice=settled.choice if outcome is not None else None,
        answer=answer_given(question, settled.choice, decode(promise.value))
        if outcome == "approved"
        else None,
        changes=changed(question, decode(promise.value)) if outcome == "approved" else (),
        asked_back=back,
        deputy_for=_deputy_for(case, who, reach),
    )


def _reason_of(case: RequestSummary) -> str | None:
    """Return the reason of an outcome: the person's, or the effect of the deadline. None if there is none."""
    if case.promise.expired_at is None:
        by_hand = case.promise.state in ("rejected", "rejected_canceled")
        return error_message(case.promise.value) if by_hand else None
    if case.asked.on_deadline == "expire":
        return None
    return f"it counts as {means_at_deadline(case.asked)}"


def _asked_back(notices: Sequence[Notification]) -> AskedBack | None:
    """Return the last question asked back, or its answer."""
    said = [notice for notice in notices if notice.text is not None]
    last = max(said, key=lambda notice: notice.number or 0, default=None)
    if last is None or last.text is None:
        return None
    return AskedBack(by=last.by, text=last.text, to_asker=last.occasion == "asked-back")


def _page_of(case: RequestSummary, reach: NotificationSettings) -> str:
    """Return the URL of a request's page, which requires signing in."""
    return f"{reach.now.gateway}/r/{quote(case.promise.id, safe=':')}"


def _urls_for(
    case: RequestSummary, who: str, message: str, reach: NotificationSettings, now: int
) -> tuple[str, str | None]:
    """Return the URLs where a person, and a program of theirs, answers a request: links while it is open.

    For a group, and after the decision, there is only the page that requires signing in. The asker gets no
    answer URL, because the asker may be a program that must not answer its own request; for a request without
    a run, the asker gets no link either. A request that needs a signature has no answer URL, because an
    answer by URL cannot be signed.
    """
    gateway = reach.now.gateway
    own = reach.now.members.same(who, case.asker)
    alone = case.promise.id == case.promise.origin
    if reach.keys is None or not case.waits or who.startswith(GROUP) or (own and alone):
        return _page_of(case, reach), None
    from hitl_cli.auth.links import PROGRAM, link_for, url_of
    from hitl_cli.auth.signing_keys import load_keys

    link = link_for(case.promise, who, now=now, id=stable_id(message, LINK_ID_CHARS))
    keys = load_keys(reach.keys, now)
    no_url = own or case.asked.proof is not None
    return url_of(gateway, link, keys), None if no_url else url_of(gateway, link, keys, PROGRAM)
