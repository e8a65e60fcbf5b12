"""What assignees ask back before they decide, and what the asker answers: the thread of a request.

Each entry is a record under the request, with a number in its id. Questions have odd numbers and answers even
ones, so whoever creates the next number first is the next to speak, on every server and without a clock. A
question is pending until it is answered: so the open questions of all requests are found with one search.

While a question is open, the request waits for its asker: assignees are not reminded, but can still decide.
The deadline stays. A decision ends the thread.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.protocol import get_promise, get_promises, search, send
from hitl_cli.client.records import closing_id, under
from hitl_cli.client.tags import ASKED_BACK_TAG, TARGET_TAG, THREAD_TAG
from hitl_cli.client.wire import Audit, audit_in, child_id, decode, fresh_id, headers_of, said_at
from hitl_cli.errors import Conflict, NotAllowed
from hitl_cli.format.shell import command
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.outcome import closed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor

type ThreadKind = Literal["ask-back", "answer-back"]


NO_THREADS: Mapping[str, ThreadEntry] = MappingProxyType({})


class ThreadEntry(Struct, frozen=True, kw_only=True):
    """A question of an assignee to the asker, or its answer. `at` is ms since the epoch."""

    request: str
    number: int
    kind: ThreadKind
    by: str | None
    via: str | None
    at: int
    text: str


def ask_back(client: Client, actor: Actor, item: RequestSummary, text: str) -> ThreadEntry:
    """Ask the asker of a request. See Inbox.ask_back."""
    from hitl_cli.inbox.permission import check_may_answer

    check_may_answer(item, actor.person, actor.groups)
    last = _last(client, item)
    if last is not None and last.kind == "ask-back":
        return _same(last, actor, text)
    return _say(client, actor, item, text, last, (item.asker,) if item.asker else ())


def answer_back(client: Client, actor: Actor, item: RequestSummary, text: str) -> ThreadEntry:
    """Answer what was asked back. See Inbox.answer_back."""
    from hitl_cli.inbox.permission import is_asker

    if not is_asker(item, actor):
        raise NotAllowed(
            f"only {item.asker}, who asked {item.id}, can answer back. To say something, add a comment."
            " Nothing was changed.",
            code="not-asker",
        )
    last = _last(client, item)
    if last is None or last.kind == "answer-back":
        if last is not None and _is_same(last, actor, text):
            return last
        raise Conflict(f"nobody has asked back about {item.id}. Nothing was changed.", code="not-asked-back")
    return _say(client, actor, item, text, last, item.to)


def _last(client: Client, item: RequestSummary) -> ThreadEntry | None:
    """Return the last entry of an open request. Raises Conflict, TimedOut if it is decided."""
    from hitl_cli.inbox.decide import already

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
    kind = _kind(number)
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
    """Queue the notification of an entry, for the workers that were told of the request.

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
    """Return an entry that says the same. Raises Conflict for another one."""
    if not _is_same(entry, actor, text):
        raise _asked_before(entry.request, entry)
    return entry


def _is_same(entry: ThreadEntry, actor: Actor, text: str) -> bool:
    return entry.text == text and actor.groups.same(entry.by, actor.person)


def _asked_before(request: str, entry: ThreadEntry | None) -> Conflict:
    """Return the error for an entry that another one was before."""
    by = (entry and entry.by) or "another tool"
    if entry is not None and entry.kind == "answer-back":
        said = f"{by} has already answered what was asked back about {request}: {entry.text}"
    else:
        comment = command("comment", [request, "TEXT"])
        asked = f"{by} has asked back{f': {entry.text}' if entry else ''}"
        said = (
            closed(f"{request} already waits for its asker: {asked}") + f" To add something, run `{comment}`"
        )
    return Conflict(f"{closed(said)} Nothing was changed.", code="already-asked-back")


# Reading


def thread_of(client: Client, id: str) -> list[ThreadEntry]:
    """Return the thread of a request, in order."""
    return thread_in(search(client, tags={THREAD_TAG: id}), id)


def thread_in(promises: Iterable[Promise], id: str) -> list[ThreadEntry]:
    """Return the entries of a request's thread in promises, in order."""
    found = (entry for promise in promises if (entry := entry_in(promise)) is not None)
    return sorted((entry for entry in found if entry.request == id), key=lambda entry: entry.number)


def open_question(thread: Iterable[ThreadEntry]) -> ThreadEntry | None:
    """Return the question of a thread that is not answered."""
    last = max(thread, key=lambda entry: entry.number, default=None)
    return last if last is not None and last.kind == "ask-back" else None


def open_questions(client: Client) -> Mapping[str, ThreadEntry]:
    """Return the questions that are not answered, by request. One search, and a look-up if there are any."""
    return open_questions_in(client, search(client, state="pending", tags={ASKED_BACK_TAG: "1"}))


def open_questions_in(client: Client, promises: Iterable[Promise]) -> Mapping[str, ThreadEntry]:
    """Return the questions among promises that are not answered, by request. A look-up if there are any."""
    asked = [entry for promise in promises if (entry := entry_in(promise)) is not None]
    answers = [entry_id(entry.request, entry.number + 1) for entry in asked]
    answered = get_promises(client, answers) if answers else {}  # whoever answered may have died since
    return {
        entry.request: entry
        for entry, answer in sorted(zip(asked, answers, strict=True), key=lambda one: one[0].number)
        if answer not in answered
    }


def entry_in(promise: Promise) -> ThreadEntry | None:
    """Return the entry in a promise; None if it is not a valid one."""
    request, said = promise.tags.get(THREAD_TAG), decode(promise.param)
    number = promise.id.rpartition("b")[2]
    if request is None or not (number.isascii() and number.isdecimal()):
        return None
    kind = _kind(int(number))
    text = said.get(kind) if isinstance(said, dict) else None
    if promise.id != entry_id(request, int(number)) or not isinstance(text, str):
        return None
    audit = audit_in(headers_of(promise.param))
    return ThreadEntry(
        request=request,
        number=int(number),
        kind=kind,
        by=audit.by,
        via=audit.via,
        at=said_at(promise, audit),
        text=text,
    )


def entry_id(request: str, number: int) -> str:
    """Return the id of an entry."""
    return child_id(request, f"b{number}")


def _kind(number: int) -> ThreadKind:
    return "ask-back" if number % 2 else "answer-back"
