"""Asking back: an assignee asks, and the asker answers, before a request is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promise, send
from hitl_cli.client.records import closing_id, under
from hitl_cli.client.tags import ASKED_BACK_TAG, TARGET_TAG, THREAD_TAG
from hitl_cli.client.wire import Audit, audit_in, fresh_id, headers_of
from hitl_cli.errors import Conflict, NotAllowed
from hitl_cli.format.shell import command
from hitl_cli.inbox.decision_result import already
from hitl_cli.inbox.permission import check_may_answer, is_asker
from hitl_cli.inbox.thread import ThreadEntry, entry_id, entry_in, kind_of, thread_of
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.outcome import closed

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor


def ask_back(client: Client, actor: Actor, item: RequestSummary, text: str) -> ThreadEntry:
    """Ask the asker of a request. See Inbox.ask_back."""
    check_may_answer(item, actor.person, actor.groups)
    last = _last(client, item)
    if last is not None and last.kind == "ask-back":
        return _same(last, actor, text)
    return _say(client, actor, item, text, last, (item.asker,) if item.asker else ())


def answer_back(client: Client, actor: Actor, item: RequestSummary, text: str) -> ThreadEntry:
    """Answer the question that was asked back. See Inbox.answer_back."""
    if not is_asker(item, actor):
        raise NotAllowed(
            f"only {item.asker}, who asked {item.id}, can answer this question. To say something else, add a"
            " comment. Nothing was changed.",
            code="not-asker",
        )
    last = _last(client, item)
    if last is None or last.kind == "answer-back":
        if last is not None and _is_same(last, actor, text):
            return last
        raise Conflict(
            f"no question about {item.id} is waiting for an answer. Nothing was changed.",
            code="not-asked-back",
        )
    return _say(client, actor, item, text, last, item.to)


def _last(client: Client, item: RequestSummary) -> ThreadEntry | None:
    """Return the last entry of an open request. Raises Conflict, TimedOut if it is decided."""
    if item.promise.state != "pending":
        raise already(item.promise, client.now())
    return max(thread_of(client, item.id), key=lambda entry: entry.number, default=None)


def _say(
    client: Client,
    actor: Actor,
    item: RequestSummary,
    text: str,
    last: ThreadEntry | None,
    names: tuple[str, ...],
) -> ThreadEntry:
    """Store the next entry, and return it. Raises Conflict if another one was first."""
    number = 1 if last is None else last.number + 1
    kind = kind_of(number)
    own = fresh_id()
    audit = Audit(id=own, by=actor.person, via=actor.via, at=client.now())
    more = {ASKED_BACK_TAG: "1"} if kind == "ask-back" else {}
    create = under(item.promise, entry_id(item.id, number), THREAD_TAG, {kind: text}, audit, more)
    ended = [entry_id(item.id, at) for at in (number, number - 1)] if kind == "answer-back" else []
    kept = send(client, create, *map(closing_id, ended))
    entry = entry_in(kept)
    if entry is None:  # another tool has taken the id
        raise _asked_before(item.id, last)
    if audit_in(headers_of(kept.param)).id != own:
        return _same(entry, actor, text)
    _notify(client, item, entry, names)
    return entry


def _notify(client: Client, item: RequestSummary, entry: ThreadEntry, names: tuple[str, ...]) -> None:
    """Queue the notification of an entry, for the workers that notified about the request.

    If there are none, a worker that can reach anyone queues it later (hitl_cli/notify/reconcile.py).
    """
    asked = get_promise(client, Notification(request=item.id, occasion="asked").id)
    target = None if asked is None else asked.tags.get(TARGET_TAG)
    if target is not None and names:
        notice = notification_of(entry, names)
        send(client, notice.create(target, item.promise.timeout_at, item.promise.origin))


def notification_of(entry: ThreadEntry, names: tuple[str, ...]) -> Notification:
    """Return the notification of an entry: to the asker, or to the assignees."""
    return Notification(
        request=entry.request,
        occasion="asked-back" if entry.kind == "ask-back" else "answered-back",
        names=names,
        number=entry.number,
        text=entry.text,
        by=entry.by,
    )


def _same(entry: ThreadEntry, actor: Actor, text: str) -> ThreadEntry:
    """Return the entry if it has the same text and author. Raises Conflict otherwise."""
    if not _is_same(entry, actor, text):
        raise _asked_before(entry.request, entry)
    return entry


def _is_same(entry: ThreadEntry, actor: Actor, text: str) -> bool:
    return entry.text == text and actor.groups.same(entry.by, actor.person)


def _asked_before(request: str, entry: ThreadEntry | None) -> Conflict:
    """Return the error if another entry was first."""
    by = (entry and entry.by) or "another tool"
    if entry is not None and entry.kind == "answer-back":
        said = f"{by} has already answered the question about {request}: {entry.text}"
    else:
        comment = command("comment", [request, "TEXT"])
        asked = f"{by} asked{f': {entry.text}' if entry else ' a question'}"
        said = (
            closed(f"{request} is already waiting for an answer: {asked}")
            + f" To add something, run `{comment}`"
        )
    return Conflict(f"{closed(said)} Nothing was changed.", code="already-asked-back")
