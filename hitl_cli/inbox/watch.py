"""Changes in the inbox since the last check: new requests, comments, votes and decisions.

With a server that can sort, the cost of a check depends on the number of changes, not of open requests. With
other servers, all open requests are read and compared with the ones before.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.protocol import ProtocolRequest, as_page, get_promises
from hitl_cli.client.tags import (
    AMENDS_TAG,
    ASKED_BACK_TAG,
    COMMENT_TAG,
    SAID_TAG,
    THREAD_TAG,
    USED_TAG,
    VOTE_TAG,
)
from hitl_cli.client.wire import EXTERNAL, Promise, headers_of
from hitl_cli.inbox.history import decision_of, settled_at
from hitl_cli.inbox.pending import blocking_pages
from hitl_cli.inbox.permission import is_excluded, is_mine
from hitl_cli.inbox.thread import ThreadKind
from hitl_cli.inbox.votes import votes_of_many
from hitl_cli.people.away import deputized, with_deputies
from hitl_cli.people.deputies import represented
from hitl_cli.people.groups import NO_GROUPS, Absence
from hitl_cli.requests.amendments import (
    Amendment,
    amendments_of_many,
    asked_from_now_on,
    claims,
    ever_asked,
    replaced,
)
from hitl_cli.requests.editable import Change as ArgumentChange
from hitl_cli.requests.private import without_private
from hitl_cli.requests.question import (
    AMENDABLE_TAG,
    PLAIN,
    QUORUM_TAG,
    Outcome,
    Question,
    asker_of,
    prompt_of,
    question_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.client.protocol import Client, Page
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.sight import Sight
    from hitl_cli.people.visibility import Visibility

MOST = 500
"""Changes of a kind to report one by one. With more, readers should load the list."""

RINGING_S = 1.0
"""Maximum delay in reporting a passed deadline, because nothing is committed when it passes."""

POLL_S = 2.0
"""Polling interval for a server that cannot say whether anything has changed."""


OVERLAP_MS = 2_000
"""How far back a check reads again, unless the server is `serial` or tells of each change.

A commit may be seen after a later one."""

LATELY_S = 10.0
"""How long after a commit the server may send the id without it being reported as a new change."""

OVERLAP = 4
"""The same at the start, in promises."""

type _State = tuple[str, bool]
"""A promise, and whether it is pending."""

type ChangeKind = Literal["asked", "changed", "decided"]


class Change(Struct, frozen=True, kw_only=True):
    """A change of one request: it was created, amended, got a comment or vote, or was decided.

    `promise`, `run` and `amendments` are of the request. `to` are all former and present assignees, and those
    of escalations; empty means anyone. `by` is who made the change. `changes` are the changes of the
    arguments by a decision. `thread` says whether an assignee asked back, or the asker answered. `away` are
    all absences: the change concerns their deputies, too. `left` are assignees whom an assignment has
    replaced; empty means anyone.
    """

    kind: ChangeKind
    promise: Promise
    run: Promise | None
    id: str
    workflow: str
    title: str | None
    question: Question
    amendments: tuple[Amendment, ...] = ()
    to: tuple[str, ...] = ()
    by: str | None = None
    outcome: Outcome | None = None
    changes: tuple[ArgumentChange, ...] = ()
    thread: ThreadKind | None = None
    away: tuple[Absence, ...] = ()
    left: tuple[str, ...] | None = None

    def concerns(self, actor: Actor) -> bool:
        """Whether the actor may answer the request (`permission.is_mine`), now, before or once escalated.

        An escalation is not a change, so its assignees see the request from the start. An assignment also
        concerns the former assignees, and a question asked back also the asker.
        """
        if self.thread is not None and actor.groups.same(actor.person, asker_of(self.promise, self.run)):
            return True
        return is_mine(self.question, self.to, self._starter, actor.person, actor.groups) or (
            bool(self.away) and self._is_for_deputy(actor)
        )

    def seen_by(self, sight: Sight) -> bool:
        """Whether the request may be seen."""
        if sight.all or sight.request(self.promise, self.run, self.question, self.amendments):
            return True
        return bool(self.away) and sight.actor.reads and self._is_for_deputy(sight.actor)

    def ends_for(self, actor: Actor) -> bool:
        """Whether the actor was an assignee before this change and is not afterwards."""
        if self.left is None or not actor.reads:
            return False
        return is_mine(self.question, self.left, self._starter, actor.person, actor.groups)

    def told(self, visibility: Visibility) -> Change:
        """Return the change without private parts, to send to everyone."""
        asked = visibility.asked(self.question, self.promise, self.run)
        if not self.changes or asked is self.question:
            return self
        return replace(self, changes=decision_of(without_private(self.promise, asked), None).changes)

    @property
    def _starter(self) -> str | None:
        return None if self.run is None else asker_of(self.run, None)

    def _is_for_deputy(self, actor: Actor) -> bool:
        """Whether the actor is the deputy of a present or later assignee."""
        names = asked_from_now_on(self.question, self.promise.created_at, self.amendments)
        groups = deputized(actor.groups, self.away)
        return bool(names) and (
            not is_excluded(self.question, self._starter, actor.person, groups)
            and bool(represented(self.question, names, self._starter, actor.person, groups))
        )


class InboxWatch(ABC):
    """Watches for changes on a server. Calls block."""

    every_s: float
    """How often to check even if no change was signaled."""

    @abstractmethod
    def start(self) -> None:
        """Mark the current state as known. Raises Unreachable."""

    @abstractmethod
    def look(self) -> list[Change] | None:
        """Return the changes since the last call; None if there are too many. Raises Unreachable."""


def watch_inbox(client: Client, sight: Sight | None = None) -> InboxWatch:
    """Return a watcher of the changes on a client's server that may be seen."""
    can = client.capabilities
    watch = IndexedWatch(client) if can.sort and can.open and can.order else _PolledWatch(client)
    return watch if sight is None else _Seeing(watch, sight)


class _Seeing(InboxWatch):
    """Passes on the changes that may be seen."""

    def __init__(self, inner: InboxWatch, sight: Sight) -> None:
        self._inner = inner
        self._sight = sight
        self.every_s = inner.every_s

    def start(self) -> None:
        """Mark the current state as known. Raises Unreachable."""
        self._inner.start()

    def look(self) -> list[Change] | None:
        """Return the changes since the last call; None if there are too many. Raises Unreachable."""
        found = self._inner.look()
        if found is None:
            return None
        visibility = self._sight.actor.groups.visibility
        return [one.told(visibility) for one in found if one.seen_by(self._sight)]


class Seen(NamedTuple):
    """An event of a request; `by` is who voted or commented, `thread` whether they asked or answered.

    `amends` says whether it was amended.
    """

    kind: ChangeKind
    promise: Promise
    by: str | None = None
    thread: ThreadKind | None = None
    amends: bool = False


def _changes(client: Client, seen: Iterable[Seen]) -> list[Change]:
    """Return events as changes, with the runs and the amendments of the requests."""
    found = [(one, question_of(one.promise) or PLAIN) for one in seen]
    asking = {one.promise.origin for one, _ in found if one.promise.origin != one.promise.id}
    runs = get_promises(client, sorted(asking))
    amendable = {one.promise.id for one, question in found if question.can_be_amended}
    amended = amendments_of_many(client, sorted(amendable))
    away = with_deputies(client, NO_GROUPS).away if found else ()
    changes = [
        _change(one, question, runs.get(one.promise.origin), amended.get(one.promise.id, ()))
        for one, question in found
    ]
    return [replace(change, away=away) for change in changes] if away else changes


def _change(seen: Seen, question: Question, run: Promise | None, amendments: Sequence[Amendment]) -> Change:
    """Return an event of a request as a change."""
    kind, promise, by, thread, amends = seen
    outcome: Outcome | None = None
    changes: tuple[ArgumentChange, ...] = ()
    if kind == "asked":
        by = asker_of(promise, None)
    elif kind == "decided":
        entry = decision_of(without_private(promise, question), None)
        by, outcome, changes = entry.by, entry.outcome, entry.changes
    return Change(
        kind=kind,
        promise=promise,
        run=run,
        id=promise.id,
        workflow=promise.origin,
        title=prompt_of(promise),
        question=question,
        amendments=tuple(amendments),
        to=ever_asked(question, amendments),
        by=by,
        outcome=outcome,
        changes=changes,
        thread=thread,
        left=replaced(question, promise.created_at, amendments) if amends else None,
    )


# Servers that can sort


class _Newest:
    """The newest promises of a kind, as a search cursor.

    A search returns a cursor only if there is an older promise of the kind too. Known promises after the
    cursor are kept by id. The cursor stays `overlap_s` behind.
    """

    def __init__(self, most: int, overlap_s: float, **query: Any) -> None:
        self._query = query
        self._most = most
        self._overlap_s = overlap_s
        self._cursor: str | None = None
        self._known: set[str] = set()
        self._next: tuple[float, str] | None = None

    def requests(self) -> list[ProtocolRequest]:
        """Return the searches for new promises and for the place of the last one."""
        at = {"cursor": self._cursor} if self._cursor else {}
        return [
            ProtocolRequest("promise.search", {**self._query, **at, "limit": self._most}),
            self.place(1),
        ]

    def place(self, back: int) -> ProtocolRequest:
        """Return the search whose cursor is the place of the last promise but `back` - 1."""
        return ProtocolRequest("promise.search", {**self._query, "sort": "-created", "limit": back})

    def begin(self, last: Page) -> None:
        """Begin with the promises after a place."""
        self._cursor = last.cursor

    def take(self, found: Page, last: Page) -> list[Promise] | None:
        """Return new promises from the responses to `requests`; None if there are too many."""
        new = [promise for promise in found.promises if promise.id not in self._known]
        self._known = {promise.id for promise in found.promises}
        if found.cursor is not None:
            self._cursor, self._known, self._next = last.cursor, set(), None
            return None
        self._move(last)
        return new

    def _move(self, last: Page) -> None:
        """Move the cursor to the last promise, or to the one that was the last `overlap_s` ago."""
        if last.cursor is None:
            return
        if not self._overlap_s:
            self._cursor, self._known = last.cursor, set()
            return
        now = time.monotonic()
        since, cursor = self._next or (now, last.cursor)
        if now - since >= self._overlap_s:
            self._cursor = cursor
            since, cursor = now, last.cursor
        self._next = since, cursor


class IndexedWatch(InboxWatch):
    """Watches for changes with the server's indexes of open and settled promises and of tags.

    With more than `most` changes of a kind, `look` and `seen` return None.
    """

    def __init__(self, client: Client, most: int = MOST) -> None:
        can = client.capabilities
        self.every_s = RINGING_S if can.ring else POLL_S
        self._client = client
        self._most = most
        self._overlap_ms = 0 if can.serial or can.tells else OVERLAP_MS
        overlap_s = self._overlap_ms / 1_000
        self._asked = _Newest(most, overlap_s, state="pending", tags=EXTERNAL)
        self._said = _Newest(most, overlap_s, tags={SAID_TAG: "1"})
        self._since = 0
        self._settled: set[str] = set()
        self._lately: dict[_State, float] = {}
        """When the searches have found each promise: the server may send its id later."""

    def start(self) -> None:
        """Mark the current state as known. Raises Unreachable."""
        self._client.told()
        back = OVERLAP if self._overlap_ms else 1
        settled, waiting, said = self._ask(
            [self._settled_request(1), self._asked.place(back), self._said.place(back)]
        )
        self._asked.begin(waiting)
        self._said.begin(said)
        self._since = max(max(map(settled_at, settled.promises), default=0) - self._overlap_ms, 0)
        self.seen()

    def look(self) -> list[Change] | None:
        """Return the changes since the last call; None if there are too many. Raises Unreachable."""
        seen = self.seen()
        return None if seen is None else _changes(self._client, seen)

    def seen(self) -> list[Seen] | None:
        """Return what `look` does, without the runs of the requests. Raises Unreachable.

        A change that was committed much later than its time is not in the searches; the server sends its id.
        """
        told = self._client.told()
        settled, *rest = self._ask(
            [self._settled_request(self._most), *self._asked.requests(), *self._said.requests()]
        )
        ended = self._newly_settled(settled)
        new = self._asked.take(*rest[:2])
        said = self._said.take(*rest[2:])
        if told is None or ended is None or new is None or said is None:
            return None
        known = self._noted([promise for page in (settled, rest[0], rest[2]) for promise in page.promises])
        for promise in self._told(told, known):
            kind = said if SAID_TAG in promise.tags else new if promise.state == "pending" else ended
            kind.append(promise)
        over = {promise.id for promise in ended}
        return [
            *(Seen("asked", promise) for promise in new if promise.is_blocking),
            *self._talked_about(said, over),
            *(Seen("decided", promise) for promise in ended if promise.is_blocking),
        ]

    def _noted(self, listed: Sequence[Promise]) -> dict[_State, float]:
        """Record the promises that the searches have found, and return those that they found lately."""
        now = time.monotonic()
        known = self._lately
        while known and now - known[first := next(iter(known))] > LATELY_S:
            del known[first]
        for promise in listed:
            known.pop(_state(promise), None)
            known[_state(promise)] = now
        return known

    def _told(self, ids: Sequence[str], known: dict[_State, float]) -> Iterator[Promise]:
        """Yield the promises with these ids that no search has found in their current state."""
        for promise in get_promises(self._client, [id for id in ids if (id, False) not in known]).values():
            if _state(promise) not in known:
                known[_state(promise)] = time.monotonic()
                yield promise

    def _ask(self, requests: Sequence[ProtocolRequest]) -> list[Page]:
        return [as_page(answer) for answer in self._client.call_many(requests)]

    def _settled_request(self, limit: int) -> ProtocolRequest:
        query = {"sort": "-settled", "tags": EXTERNAL, "settledSince": self._since, "limit": limit}
        return ProtocolRequest("promise.search", query)

    def _newly_settled(self, found: Page) -> list[Promise] | None:
        """Return newly settled promises, oldest first; None if there are too many.

        A search first settles expired promises, so nothing new is older than the newest known; on a server
        that is not `serial`, not much older.
        """
        new = [promise for promise in reversed(found.promises) if promise.id not in self._settled]
        newest = max(map(settled_at, found.promises), default=self._since)
        if found.cursor is not None:
            self._since, self._settled = newest + 1, set()
            return None
        self._since = max(newest - self._overlap_ms, self._since)
        self._settled = {promise.id for promise in found.promises if settled_at(promise) >= self._since}
        return new

    def _talked_about(self, said: Iterable[Promise], over: set[str]) -> list[Seen]:
        """Return the requests with new comments or votes, except votes on requests that are decided now."""
        about: dict[str, Promise] = {}
        for one in said:
            id = _subject_of(one, over)
            if id and (id not in about or THREAD_TAG not in about[id].tags):
                about[id] = one
        found = get_promises(self._client, list(about))
        return [
            Seen(
                "changed",
                promise,
                headers_of(about[id].param).get("hitl:by"),
                _thread_kind(about[id]),
                AMENDS_TAG in about[id].tags,
            )
            for id, promise in found.items()
            if promise.is_blocking
        ]


def _state(promise: Promise) -> _State:
    return promise.id, promise.state == "pending"


def _subject_of(said: Promise, over: set[str]) -> str | None:
    """Return the id of the request of a vote, a comment or another record, if it must be reported."""
    vote = said.tags.get(VOTE_TAG)
    tags = (COMMENT_TAG, AMENDS_TAG, USED_TAG, THREAD_TAG)
    remark = next((id for tag in tags if (id := said.tags.get(tag))), None)
    id = remark if vote is None or vote in over else vote
    return id if id and said.id.startswith(id) else None


def _thread_kind(said: Promise) -> ThreadKind | None:
    """Return what a record adds to the thread of its request, if it does."""
    if THREAD_TAG not in said.tags:
        return None
    return "ask-back" if ASKED_BACK_TAG in said.tags else "answer-back"


# Other servers


class _PolledWatch(InboxWatch):
    """Watches for changes on a server that cannot sort. It does not report comments."""

    every_s = POLL_S

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waiting: dict[str, int] = {}

    def start(self) -> None:
        """Mark the current state as known. Raises Unreachable."""
        self._waiting = self._votes(self._read())

    def look(self) -> list[Change] | None:
        """Return the changes since the last call; None if there are too many. Raises Unreachable."""
        waiting = self._read()
        votes, before = self._votes(waiting), self._waiting
        self._waiting = votes
        new = [promise for id, promise in waiting.items() if id not in before]
        gone = [id for id in before if id not in waiting]
        if max(len(new), len(gone)) > MOST:
            return None
        moved = [waiting[id] for id, count in votes.items() if count != before.get(id, count)]
        ended = get_promises(self._client, gone).values()
        seen = [
            *(Seen("asked", promise) for promise in new),
            *(Seen("changed", promise) for promise in moved),
            *(Seen("decided", promise) for promise in ended if promise.state != "pending"),
        ]
        return _changes(self._client, seen)

    def _read(self) -> dict[str, Promise]:
        pages = blocking_pages(self._client)
        return {promise.id: promise for page in pages for promise in page}

    def _votes(self, waiting: dict[str, Promise]) -> dict[str, int]:
        """Return the number of votes on each request, and of its amendments."""
        several = [id for id, promise in waiting.items() if QUORUM_TAG in promise.tags]
        ballots = votes_of_many(self._client, several)
        amendable = [id for id, promise in waiting.items() if AMENDABLE_TAG in promise.tags]
        amended = amendments_of_many(self._client, amendable)
        claimed = claims(self._client)
        return {id: len(ballots.get(id, ())) + len(amended.get(id, ())) + (id in claimed) for id in waiting}
