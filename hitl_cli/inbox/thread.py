"""The thread of a request: questions that assignees ask back before they decide, and the asker's answers.

Each entry is a record under the request, with a number in its id. Questions have odd numbers and answers even
ones. The entry that is created first under the next number is the next one, on every server and without a
clock. A question is pending until it is answered, so one search finds the open questions of all requests.

While a question is open, the request waits for its asker: assignees are not reminded, but can still decide.
The deadline stays. A decision ends the thread.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.protocol import get_promises, search
from hitl_cli.client.tags import ASKED_BACK_TAG, THREAD_TAG
from hitl_cli.client.wire import audit_in, child_id, decode, headers_of, said_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

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


def thread_of(client: Client, id: str) -> list[ThreadEntry]:
    """Return the thread of a request, in order."""
    return thread_in(search(client, tags={THREAD_TAG: id}), id)


def thread_in(promises: Iterable[Promise], id: str) -> list[ThreadEntry]:
    """Return the entries of a request's thread in promises, in order."""
    found = (entry for promise in promises if (entry := entry_in(promise)) is not None)
    return sorted((entry for entry in found if entry.request == id), key=lambda entry: entry.number)


def open_question(thread: Iterable[ThreadEntry]) -> ThreadEntry | None:
    """Return the open question of a thread, if any."""
    last = max(thread, key=lambda entry: entry.number, default=None)
    return last if last is not None and last.kind == "ask-back" else None


def open_questions(client: Client) -> Mapping[str, ThreadEntry]:
    """Return the open questions, by request. One search, and a look-up if there are any."""
    return open_questions_in(client, search(client, state="pending", tags={ASKED_BACK_TAG: "1"}))


def open_questions_in(client: Client, promises: Iterable[Promise]) -> Mapping[str, ThreadEntry]:
    """Return the open questions among promises, by request. A look-up if there are any."""
    asked = [entry for promise in promises if (entry := entry_in(promise)) is not None]
    answers = [entry_id(entry.request, entry.number + 1) for entry in asked]
    answered = get_promises(client, answers) if answers else {}  # their author may have died since
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
    kind = kind_of(int(number))
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


def kind_of(number: int) -> ThreadKind:
    """Return the kind of the entry with this number."""
    return "ask-back" if number % 2 else "answer-back"
