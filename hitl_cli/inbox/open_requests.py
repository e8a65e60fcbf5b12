"""`OpenRequests`: the open requests of a server in memory, so that a list costs only what it shows.

It only makes lists faster: `Inbox.list` and `Inbox.page` return the same with it and without it. A gateway
has one, because many people request lists from it. Commands have none.

It stores the parts of each open request that lists show and filter by, as a `RequestSummary`: the prompt's
first line, assignees, times, tags, votes. Forms, details and decided requests stay on the server. Of a
request that needs more than `LARGEST` bytes it stores the id, and the request is read from the server when it
is listed.

`load` reads all open requests in pages. `refresh` then applies what `IndexedWatch` has seen since: new
requests, votes, decisions. A list waits for a refresh that begins after the list was requested, so it
reflects every decision that any process confirmed before. With a `serial` server, a refresh without changes
takes one query, for the number of commits. Under load, lists share refreshes. Bells are not used, so a lost
one changes nothing.

The table is loaded again after a gap (too many changes at once, or an error of the server), and every
`RELOAD_S`, because deleted records are not reported as changes. Until it is loaded, lists are read from the
server. Decisions never use the table: `Inbox.decide` reads the request from the server.

Not thread-safe: the thread that owns the client also owns the table.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from itertools import batched
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.paging import Place, cursor_in, cursor_of
from hitl_cli.client.protocol import get_promises, search_pages
from hitl_cli.client.tags import DEADLINE_TAG, EXTERNAL_TAG, ORIGIN_TAG, REQUEST_TAG, SCOPE_TAG
from hitl_cli.client.wire import EXTERNAL, Promise
from hitl_cli.engine.records import Value
from hitl_cli.format.json import to_json
from hitl_cli.inbox.amendments import amended, claimed
from hitl_cli.inbox.beside import Beside
from hitl_cli.inbox.open_figures import OpenRow, open_figures, open_row
from hitl_cli.inbox.pending import (
    AFTER,
    described,
    fits,
    order_of,
    place_by_deadline,
    place_by_priority,
    sees,
    spelled_by,
    with_absences,
    with_votes,
)
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.thread import NO_THREADS, open_questions
from hitl_cli.inbox.votes import RecordedVote, count, votes_of_many
from hitl_cli.inbox.watch import IndexedWatch
from hitl_cli.people.away import read_aways
from hitl_cli.people.groups import NO_GROUPS, Groups, is_among
from hitl_cli.requests.amendments import amendments_of_many, claims
from hitl_cli.requests.editable import kind_of_approval
from hitl_cli.requests.question import KEY_TAG, PLAIN, WORKFLOW_TAG, own_tags, question_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Vote
    from hitl_cli.inbox.open_figures import OpenFigures
    from hitl_cli.inbox.pending import RequestFilter, Sort
    from hitl_cli.inbox.thread import ThreadEntry
    from hitl_cli.inbox.watch import Seen
    from hitl_cli.people.sight import Sight
    from hitl_cli.requests.amendments import Amendment
    from hitl_cli.requests.question import Question

LARGEST = 4_096
"""Most bytes, as JSON, of the stored parts of a request."""

AT_ONCE = 100
"""Requests to add at once: a few milliseconds of this thread."""

MOST = 5_000
"""Changes of a kind in one refresh; with more, the table is loaded again."""

RELOAD_S = 600.0
"""How often the table is loaded again."""

KEPT_TAGS = (REQUEST_TAG, KEY_TAG, ORIGIN_TAG, EXTERNAL_TAG, SCOPE_TAG, DEADLINE_TAG)
"""Of the reserved tags, those that a summary reads."""


class _Row(Struct, gc=False):
    """An open request, and its place in each order. `item` is None if it is too large to be kept.

    `names` are all its former, present and later assignees, as stored; empty means anyone. `spelled` is the
    item with its counted votes, and names spelled as in `groups`. `counted` is its row in the figures.
    """

    id: str
    age: Place
    due: Place
    priority: Place
    item: RequestSummary | None
    names: tuple[str, ...]
    counted: OpenRow
    amendable: bool
    ballots: Sequence[RecordedVote] = ()
    spelled: RequestSummary | None = None
    groups: Groups | None = None


class OpenRequests:
    """The open requests of a client's server. Calls block and raise Unreachable."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watch = IndexedWatch(client, MOST)
        self._rows: dict[str, _Row] = {}
        self._orders: dict[Sort, list[Place]] = {"age": []}
        self._added = 0
        self._version: int | None = None
        self._claims: dict[str, Amendment] = {}
        self._known: dict[str, bool] = {}
        self._known_for: tuple[str, Groups] | None = None
        self._loaded_at = time.monotonic()
        self._back: Mapping[str, ThreadEntry] = NO_THREADS

    @staticmethod
    def suits(client: Client) -> bool:
        """Whether a client's server reports changes, and can continue a list after any request."""
        can = client.capabilities
        return can.sort and can.open and can.order and can.after

    def __len__(self) -> int:
        return len(self._rows)

    def load(self) -> Iterator[None]:
        """Read all open requests, up to AT_ONCE each time it is resumed."""
        self._version = self._exact_version()
        self._watch.start()
        self._back = open_questions(self._client)
        read_aways(self._client)
        for page in search_pages(self._client, state="pending", tags=EXTERNAL):
            for some in batched(page, AT_ONCE):
                self._add([promise for promise in some if promise.is_blocking])
                yield
        self._claims = claims(self._client)

    def refresh(self) -> bool:
        """Apply what has changed; return False if the table must be loaded again."""
        if time.monotonic() - self._loaded_at > RELOAD_S:
            return False
        version = self._exact_version()
        if version is not None and version == self._version:
            return True
        seen = self._watch.seen()
        if seen is None:
            return False
        self._version = version
        self._apply(seen)
        return True

    def _exact_version(self) -> int | None:
        """Return a number that changes with each commit of another process; None if the server has none."""
        return self._client.version() if self._client.capabilities.serial else None

    def figures(self) -> OpenFigures:
        """Return the numbers of open requests, by kind."""
        return open_figures((row.counted for row in self._rows.values()), self._client.now(), kept=True)

    # Lists

    def listed(
        self, wanted: RequestFilter, sort: Sort, limit: int | None, sight: Sight
    ) -> tuple[list[RequestSummary], bool]:
        """Return what `pending` does."""
        found = self._found(wanted, sort, None, None if limit is None else limit + 1, sight)
        return found[:limit], limit is not None and len(found) > limit

    def page(
        self, wanted: RequestFilter, sort: Sort, limit: int, after: str | None, sight: Sight
    ) -> tuple[list[RequestSummary], str | None] | None:
        """Return what `page_of_pending` does; None if only the server knows where `after` is."""
        begin = None
        if after is not None:
            begin = self._place(cursor_in(after, order_of(sort)), sort, sight)
            if begin is None:
                return None
        found = self._found(wanted, sort, begin, limit + 1, sight)
        if len(found) <= limit:
            return found, None
        last = found[limit - 1].id
        cursor = f"{AFTER}{last}" if sort == "age" else to_json(_place_in(self._rows[last], sort))
        return found[:limit], cursor_of(cursor, order_of(sort))

    def _place(self, cursor: str, sort: Sort, sight: Sight) -> Place | None:
        """Return the place that a cursor names; None if its request is not in memory, or may not be seen."""
        if sort == "age":
            row = self._rows.get(cursor.removeprefix(AFTER)) if cursor.startswith(AFTER) else None
            item = None if row is None else self._item(row, sight.actor.groups, self._client.now())
            return None if row is None or item is None or not sees(sight, item) else _place_in(row, sort)
        try:
            return msgspec.json.decode(cursor, type=tuple[int, int, str])
        except (ValueError, RecursionError):
            return None  # the server's list will refuse it

    def _found(
        self,
        wanted: RequestFilter,
        sort: Sort,
        after: Place | None,
        most: int | None,
        sight: Sight,
    ) -> list[RequestSummary]:
        """Return up to `most` requests that match a filter, in an order, from a place on."""
        now, groups = self._client.now(), sight.actor.groups
        order = self._in_order(sort)
        found: list[RequestSummary] = []
        for at in range(0 if after is None else bisect_right(order, after), len(order)):
            row = self._rows[order[at][2]]
            if row.due[0] <= now or (
                wanted.person is not None
                and row.id not in self._back
                and not self._asks(row, wanted.person, groups)
            ):
                continue
            if row.item is not None and not sight.may_see(row.names, row.item.asker):
                continue
            item = self._item(row, groups, now)
            if item is not None and fits(item, wanted, groups) and sees(sight, item):
                found.append(item)
                if len(found) == most:
                    break
        return found

    def _in_order(self, sort: Sort) -> list[Place]:
        """Return the places of all requests in an order, which is kept up to date after its first use."""
        if sort not in self._orders:
            self._orders[sort] = sorted(_place_in(row, sort) for row in self._rows.values())
        return self._orders[sort]

    def _asks(self, row: _Row, person: str, groups: Groups) -> bool:
        """Whether a person may be an assignee of a request, now or later. Cached for each name."""
        if not row.names:
            return True
        stands_in = groups.stands_in
        if stands_in and any(
            is_among(one.person, row.names, groups) for one in stands_in.get(groups.key(person), ())
        ):
            return True
        if self._known_for is None or self._known_for[0] != person or self._known_for[1] is not groups:
            self._known, self._known_for = {}, (person, groups)
        known = self._known
        for name in row.names:
            among = known.get(name)
            if among is None:
                among = known[name] = is_among(person, [name], groups)
            if among:
                return True
        return False

    def _item(self, row: _Row, groups: Groups, now: int) -> RequestSummary | None:
        """Return a request as it is listed now."""
        if row.item is not None and (row.spelled is None or row.groups is not groups):
            item = spelled_by(groups, row.item)
            if item.asked.several and (item.asked.proof or item.asked.policy):
                row.item = None  # the stored parts are not enough to check votes, or to count them
            else:
                if item.asked.several:
                    item = with_votes(item, count(item, row.ballots, groups).leading_by)
                row.spelled, row.groups = msgspec.structs.replace(item, memo={}), groups
        if row.item is None or row.spelled is None:
            found = get_promises(self._client, [row.id]).values()
            opened = [promise for promise in found if promise.state == "pending"]
            beside = Beside(self._client, self._back, self._claims)
            return next(iter(described(self._client, opened, groups, beside)), None)
        item = claimed(row.spelled, self._claims.get(row.id))
        item = msgspec.structs.replace(item, now=max(now, item.now), asked_back=self._back.get(row.id))
        return with_absences(item, groups)

    # Changes

    def _apply(self, seen: Sequence[Seen]) -> None:
        """Apply what was seen, in the order of time."""
        self._add([one.promise for one in seen if one.kind == "asked"])
        if any(one.kind == "changed" for one in seen):
            self._claims = claims(self._client)
        changed = dict.fromkeys(one.promise.id for one in seen if one.kind == "changed")
        self._read_records([row for id in changed if (row := self._rows.get(id)) is not None])
        if any(one.thread for one in seen):
            self._back = open_questions(self._client)
        for one in seen:
            if one.kind == "decided":
                self._remove(one.promise.id)

    def _add(self, promises: Sequence[Promise]) -> None:
        """Add requests that are not known yet."""
        new = [promise for promise in promises if promise.id not in self._rows]
        runs = get_promises(self._client, sorted({promise.origin for promise in new}))
        for promise in new:
            row = self._row_of(promise, runs.get(promise.origin))
            self._rows[row.id] = row
            for sort, order in self._orders.items():
                insort(order, _place_in(row, sort))
        self._read_records([self._rows[promise.id] for promise in new])

    def _row_of(self, promise: Promise, run: Promise | None) -> _Row:
        """Return an open request as a row of the table."""
        question = question_of(promise)
        item = _slim(RequestSummary(promise=promise, question=question, run=run, now=0))
        self._added += 1
        kept = len(msgspec.json.encode(item)) <= LARGEST
        return _Row(
            id=promise.id,
            age=(promise.created_at, self._added, promise.id),
            due=place_by_deadline(promise),
            priority=place_by_priority(promise),
            item=item if kept else None,
            names=item.ever_asked if kept else (),
            counted=open_row(item),
            amendable=item.asked.can_be_amended,
        )

    def _read_records(self, rows: Sequence[_Row]) -> None:
        """Read the amendments of the requests that may have any, and the votes of those that need several."""
        open_to = [(row, row.item) for row in rows if row.item is not None and row.item.asked.can_be_amended]
        found = amendments_of_many(self._client, [row.id for row, _ in open_to])
        for row, item in open_to:
            row.item = now = amended(item, found[row.id])
            row.names, row.counted, row.spelled = now.ever_asked, open_row(now), None
            self._move(row, place_by_deadline(now.promise, now.amendments))
        large = {row.id: row for row in rows if row.item is None and row.amendable}
        promises = list(get_promises(self._client, list(large)).values()) if large else ()
        for now in described(self._client, promises, NO_GROUPS, Beside(self._client)):
            large[now.id].counted = open_row(now)
            self._move(large[now.id], place_by_deadline(now.promise, now.amendments))
        several = [(row, row.item) for row in rows if row.item is not None and row.item.asked.several]
        ballots = votes_of_many(self._client, [row.id for row, _ in several])
        for row, item in several:
            row.ballots = tuple(
                msgspec.structs.replace(one, vote=_counted(item.asked, one.vote)) for one in ballots[row.id]
            )
            row.spelled = None

    def _move(self, row: _Row, due: Place) -> None:
        """Update the place of a request by deadline, which may have been moved."""
        order = self._orders.get("due")
        if order is not None and due != row.due:
            del order[bisect_left(order, row.due)]
            insort(order, due)
        row.due = due

    def _remove(self, id: str) -> None:
        """Remove a request that is decided."""
        row = self._rows.pop(id, None)
        if row is not None:
            for sort, order in self._orders.items():
                del order[bisect_left(order, _place_in(row, sort))]


def _counted(question: Question, vote: Vote) -> Vote:
    """Return a vote with only what counting needs: for editable arguments, a hash of them."""
    _, arguments = kind_of_approval(question, vote)
    return msgspec.structs.replace(vote, data=arguments, comment=None)


def _place_in(row: _Row, sort: Sort) -> Place:
    """Return the place of a request in an order."""
    place: Place = getattr(row, sort)
    return place


def _slim(item: RequestSummary) -> RequestSummary:
    """Return a request with only what lists show."""
    promise, run = item.promise, item.run
    tags = own_tags(promise.tags) | {tag: promise.tags[tag] for tag in KEPT_TAGS if tag in promise.tags}
    if item.function is not None:
        tags[WORKFLOW_TAG] = item.function
    return RequestSummary(
        promise=_without_data(promise, tags),
        question=_shown(item.question),
        run=None if run is None else _without_data(run, {}),
        now=item.now,
    )


def _without_data(promise: Promise, tags: dict[str, str]) -> Promise:
    """Return a promise with these tags, no data, and only the header that says who asked."""
    by = (promise.param.headers if promise.param else None or {}) or {}
    return msgspec.structs.replace(
        promise,
        param=Value(headers={"hitl:by": by["hitl:by"]}) if "hitl:by" in by else None,
        value=None,
        tags=tags,
    )


def _shown(question: Question | None) -> Question | None:
    """Return a question with only what lists show; of a form, only whether there is one."""
    if question is None or question is PLAIN:
        return question
    several = question.several  # the arguments in votes are compared
    return msgspec.structs.replace(
        question,
        prompt=f"# {question.title}",
        details=None,
        arguments=question.arguments if several and question.editable is not None else None,
        editable=None if question.editable is None else True,
        form=None if question.form is None else True,
        link=None,
        digest=None,
        code=None,
    )
