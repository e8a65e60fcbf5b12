"""What waits for a person."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.paging import ordered, page_of
from hitl_cli.client.protocol import PAGE, get_promises, pages, search, search_page
from hitl_cli.client.wire import EXTERNAL, GLOBAL, Promise
from hitl_cli.inbox.votes import complete, electorate, tally, votes_of_many
from hitl_cli.people.groups import NO_GROUPS, is_among
from hitl_cli.requests.question import (
    ASSIGNEE_TAG,
    KEY_TAG,
    PLAIN,
    PRIORITIES,
    QUORUM_TAG,
    UNREADABLE,
    WORKFLOW_TAG,
    Priority,
    Question,
    asker_of,
    own_tags,
    question_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Reader
    from hitl_cli.inbox.votes import RecordedVote
    from hitl_cli.people.groups import Groups

type Sort = Literal["age", "due", "priority"]

SOON_MS = 86_400_000
"""Time left below which a deadline is near."""

FEW = 50
"""How many promises are looked at together at least, where only some may be wanted."""


class RequestSummary(Struct, frozen=True, kw_only=True):
    """A promise that waits for a person. Instants are ms since the epoch.

    `question` is None where it cannot be read; `asker` is who asks, or who started the run; `votes` are
    those who approve so far, where several must.
    """

    promise: Promise
    question: Question | None
    function: str | None
    starter: str | None
    asker: str | None
    now: int
    votes: int = 0

    @property
    def id(self) -> str:
        """The promise's id."""
        return self.promise.id

    @property
    def workflow(self) -> str:
        """The id of the run that asks."""
        return self.promise.origin

    @property
    def prompt(self) -> str | None:
        """What is asked, on one line; None where the promise does not say."""
        if self.question is None:
            return UNREADABLE
        return None if self.question is PLAIN else self.question.title

    @property
    def created_at(self) -> int:
        """When it was asked."""
        return self.promise.created_at

    @property
    def deadline(self) -> int:
        """Until when it can be answered."""
        return self.promise.timeout_at

    @property
    def asked(self) -> Question:
        """What it asks, as far as that can be read."""
        return self.question or PLAIN

    @property
    def to(self) -> tuple[str, ...]:
        """Who may answer now; nobody named means anybody."""
        return self.asked.asked_at(self.now - self.created_at)

    @property
    def key(self) -> str | None:
        """A name of its own by which it can be answered."""
        return self.promise.tags.get(KEY_TAG)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that its author gave it."""
        return own_tags(self.promise.tags)


class RequestFilter(Struct, frozen=True, kw_only=True):
    """What of it to list: `workflow` is a glob for the run's id or its function, durations are ms.

    Of `to`, one name must be asked; an empty `to` means all. `person` is somebody who may answer it: that is
    also what asks nobody in particular. Each word of `text` must be somewhere in what is listed of it.
    """

    workflow: str | None = None
    to: tuple[str, ...] = ()
    person: str | None = None
    text: str = ""
    asker: str | None = None
    tags: dict[str, str] = {}
    due_in_ms: int | None = None
    older_than_ms: int = 0
    priority: Priority | None = None


EVERYTHING = RequestFilter()


def pending(
    client: Client,
    wanted: RequestFilter = EVERYTHING,
    *,
    groups: Groups = NO_GROUPS,
    sort: Sort = "age",
    limit: int | None = None,
) -> tuple[list[RequestSummary], bool]:
    """Return what waits for a person, and whether there is more than `limit`.

    By age the oldest come first, by deadline the nearest, by priority the most pressing; those that are
    alike, the oldest first. A request that has all its votes, and was not settled because a process died
    in between, is settled here.
    """
    found: list[RequestSummary] = []
    all_are_wanted = msgspec.structs.replace(wanted, tags={}) == EVERYTHING  # the server knows tags
    size = PAGE if limit is None else limit + 1 if all_are_wanted else max(limit + 1, FEW)
    for page in pages(_in_order(client, wanted, sort), size):
        for item in _fitting(client, wanted, groups, page):
            if len(found) == limit:
                return found, True
            found.append(item)
    return found, False


def page_of_pending(
    client: Client,
    wanted: RequestFilter = EVERYTHING,
    *,
    groups: Groups = NO_GROUPS,
    sort: Sort = "age",
    limit: int,
    after: str | None = None,
) -> tuple[list[RequestSummary], str | None]:
    """Return a page of the same, as `paging.page_of` does."""
    keep = partial(_fitting, client, wanted, groups)
    return page_of(
        _in_order(client, wanted, sort), keep, order=f"pending by {sort}", limit=limit, after=after
    )


def settle_complete(client: Client, groups: Groups) -> None:
    """Settle every request that has all its votes and still waits: whoever gave the last one died."""
    for page in blocking_pages(client, RequestFilter(tags={QUORUM_TAG: "1"})):
        _described(client, page, groups)


def _fitting(
    client: Client, wanted: RequestFilter, groups: Groups, promises: Sequence[Promise]
) -> list[RequestSummary]:
    """Return what is wanted of promises, as items of the list."""
    asked = [
        promise
        for promise in promises
        if promise.is_blocking and (wanted.person is None or _asks(promise, wanted.person, groups))
    ]
    return [item for item in _described(client, asked, groups) if _fits(item, wanted, groups)]


def _fits(item: RequestSummary, wanted: RequestFilter, groups: Groups = NO_GROUPS) -> bool:
    """Whether an item is wanted."""
    return (
        (wanted.person is None or _may_answer(item, wanted.person, groups))
        and _says(item, wanted.text)
        and _fits_facts(item, wanted)
    )


def _asks(promise: Promise, person: str, groups: Groups) -> bool:
    """Whether a promise asks a person, now or later, as far as it alone tells: to know more costs more."""
    everyone = (question_of(promise) or PLAIN).everyone
    return not everyone or is_among(person, everyone, groups)


def _may_answer(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether it is for a person to answer."""
    asked = not item.to or is_among(person, item.to, groups)
    return asked and (item.asked.allow_self or person != item.starter)


def _says(item: RequestSummary, text: str) -> bool:
    """Whether each word of a text is somewhere in what is listed of an item, in capitals or not."""
    words = text.casefold().split()
    if not words:
        return True
    told = (item.id, item.prompt, item.function, item.asker, item.key, *item.to, *item.tags.values())
    listed = "\n".join(filter(None, told)).casefold()
    return all(word in listed for word in words)


def _fits_facts(item: RequestSummary, wanted: RequestFilter) -> bool:
    """Whether an item is of the run, for the person, of the age and so on that is wanted."""
    return (
        (wanted.workflow is None or _is_of(item, wanted.workflow))
        and (not wanted.to or not set(wanted.to).isdisjoint(item.to))
        and wanted.asker in (None, item.asker)
        and (not wanted.tags or wanted.tags.items() <= item.tags.items())
        and (wanted.due_in_ms is None or item.deadline <= item.now + wanted.due_in_ms)
        and item.created_at <= item.now - wanted.older_than_ms
        and wanted.priority in (None, item.asked.priority)
    )


def _is_of(item: RequestSummary, glob: str) -> bool:
    """Whether the run's id or its function's name matches a glob."""
    return fnmatchcase(item.workflow, glob) or fnmatchcase(item.function or "", glob)


def _in_order(client: Client, wanted: RequestFilter, sort: Sort) -> Reader:
    """Return what reads, in an order, the promises that may be wanted."""
    if sort == "age":
        return _oldest_first(client, wanted)
    every = (promise for page in blocking_pages(client, wanted) for promise in page)
    return ordered(every, _place_by_deadline if sort == "due" else _place_by_priority)


def blocking_pages(client: Client, wanted: RequestFilter = EVERYTHING) -> Iterator[list[Promise]]:
    """Yield the promises that only the outside can settle, the oldest first."""
    for page in pages(_oldest_first(client, wanted)):
        yield [promise for promise in page if promise.is_blocking]


def _oldest_first(client: Client, wanted: RequestFilter) -> Reader:
    """Return what reads the open promises that may be wanted, the oldest first, and maybe others.

    A server that finds all of them in that order reads no more than are asked for, unless somebody is named.
    """
    can = client.capabilities
    if can.open and can.order and not wanted.to:
        return partial(search_page, client, state="pending", tags=EXTERNAL | wanted.tags)
    every: dict[str, Promise] = {}
    for tags in _searched(wanted, [EXTERNAL] if can.open else [EXTERNAL, GLOBAL]):
        every |= {p.id: p for p in search(client, state="pending", tags=tags) if p.is_blocking}
    return ordered(every.values(), _place_by_age)


def _place_by_age(promise: Promise) -> Place:
    """Return where a promise stands among those that wait, the oldest first."""
    return 0, promise.created_at, promise.id


def _place_by_deadline(promise: Promise) -> Place:
    """Return where it stands with the nearest deadline first."""
    return promise.timeout_at, promise.created_at, promise.id


def _place_by_priority(promise: Promise) -> Place:
    """Return where it stands with the most pressing first."""
    pressing = PRIORITIES.index((question_of(promise) or PLAIN).priority)
    return pressing, promise.created_at, promise.id


def _searched(wanted: RequestFilter, bases: Iterable[dict[str, str]]) -> Iterator[Mapping[str, str]]:
    """Yield the tags that find, together, all that may be wanted: with each of the `bases`."""
    for base in bases:
        if not wanted.to:
            yield base | wanted.tags
        for name in wanted.to:
            yield base | wanted.tags | {f"{ASSIGNEE_TAG}{name}": "1"}


def _described(client: Client, promises: Sequence[Promise], groups: Groups) -> list[RequestSummary]:
    """Return the promises with what is known of their runs, and of their votes."""
    runs = get_promises(client, sorted({promise.origin for promise in promises}))
    items = [summary_of(client, promise, runs.get(promise.origin)) for promise in promises]
    ballots = votes_of_many(client, [item.id for item in items if item.asked.approvals > 1])
    return [item for bare in items if (item := _counted(client, bare, ballots, groups)) is not None]


def summary_of(client: Client, promise: Promise, run: Promise | None) -> RequestSummary:
    """Return a promise that waits, and what is known of the run it belongs to."""
    call = run.call if run is not None and run.is_run else None
    return RequestSummary(
        promise=promise,
        question=question_of(promise),
        function=call.func if call else promise.tags.get(WORKFLOW_TAG),
        starter=asker_of(run, None) if run is not None else None,
        asker=asker_of(promise, run),
        now=client.now(),
    )


def _counted(
    client: Client, item: RequestSummary, ballots: Mapping[str, Sequence[RecordedVote]], groups: Groups
) -> RequestSummary | None:
    """Return an item with the number of its votes; None if it has all of them, and so was settled."""
    if item.id not in ballots:
        return item
    people = electorate(item.asked, item.starter, groups)
    tallied = tally(item.asked, people, ballots[item.id])
    if tallied.deciding is not None:
        complete(client, item.promise, tallied)
        return None
    return msgspec.structs.replace(item, votes=tallied.leading)
