"""What waits for a person."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.paging import ordered, page_of
from hitl_cli.client.protocol import PAGE, get_promises, pages, search, search_page
from hitl_cli.client.tags import RESERVED_TAGS
from hitl_cli.client.wire import EXTERNAL, GLOBAL, Promise
from hitl_cli.errors import BadName, BadUsage
from hitl_cli.inbox.permission import is_mine, may_answer
from hitl_cli.inbox.votes import complete, count, votes_of_many
from hitl_cli.people.groups import NO_GROUPS, in_one_form, spelled
from hitl_cli.requests.question import (
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
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Reader
    from hitl_cli.inbox.votes import Tally
    from hitl_cli.people.groups import Groups

type Sort = Literal["age", "due", "priority"]

SOON_MS = 86_400_000
"""Time left below which a deadline is near."""

FEW = 50
"""How many promises are looked at together at least, where only some may be wanted."""


class RequestSummary(Struct, frozen=True, kw_only=True):
    """A request, with its run. Instants are ms since the epoch.

    `question` is None where it cannot be read, `run` where there is none; `votes` are those who approve so
    far, where several must.
    """

    promise: Promise
    question: Question | None
    run: Promise | None
    now: int
    votes: int = 0

    @property
    def id(self) -> str:
        """The promise's id."""
        return self.promise.id

    @property
    def waits(self) -> bool:
        """Whether it can still be answered."""
        return self.promise.state == "pending"

    @property
    def workflow(self) -> str:
        """The id of the run that asks."""
        return self.promise.origin

    @property
    def function(self) -> str | None:
        """The name of the workflow that asks; where its run is gone, as the request says."""
        call = self.run.call if self.run is not None and self.run.is_run else None
        return call.func if call else self.promise.tags.get(WORKFLOW_TAG)

    @property
    def starter(self) -> str | None:
        """Who started the run; None if that is not recorded."""
        return None if self.run is None else asker_of(self.run, None)

    @property
    def asker(self) -> str | None:
        """Who asks, or who started the run; None if neither is recorded."""
        return asker_of(self.promise, self.run)

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
    """Which requests to list: `workflow` is a glob for the run's id or its function, durations are ms.

    `person` is somebody whose they are to answer now: `--mine`, `for=me` and the inbox page mean this
    (permission.is_mine). Of `to`, one must be an assignee, and a group is named with or without `group:`.
    Each word of `text` must be somewhere in what is listed of a request.
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
    alike, the oldest first. Nothing is changed: a request that has all its votes is settled by
    `settle_complete`, if whoever cast the last one died before.
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
    """Settle each request that has all its votes and is pending: the process that cast the last one died."""
    for page in blocking_pages(client, RequestFilter(tags={QUORUM_TAG: "1"})):
        items = _with_runs(client, page)
        for item, tallied in zip(items, _tallies(client, items, groups), strict=True):
            if tallied is not None and tallied.deciding is not None:
                complete(client, item.promise, tallied)


def read_tags(texts: Iterable[str], given_as: str) -> dict[str, str]:
    """Return the tags of texts such as NAME=VALUE, to filter by; errors name what they are `given_as`."""
    tags: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadUsage(f"{given_as} {text!r} is not NAME=VALUE.")
        if name.startswith(RESERVED_TAGS):
            raise BadName(f"{given_as} {text!r}: no author of a request can give a tag of that name.")
        if tags.setdefault(name, value) != value:
            raise BadUsage(f"{given_as} {name!r} is given twice, with two values: nothing can have both.")
    return tags


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
        (wanted.person is None or may_answer(item, wanted.person, groups))
        and _says(item, wanted.text)
        and _fits_facts(item, wanted, groups)
    )


def _asks(promise: Promise, person: str, groups: Groups) -> bool:
    """Whether a promise asks a person, now or later, as far as it alone tells: to know more costs more."""
    question = question_of(promise) or PLAIN
    return is_mine(question, question.everyone, None, person, groups)


def _says(item: RequestSummary, text: str) -> bool:
    """Whether each word of a text is somewhere in what is listed of an item, in capitals or not."""
    words = text.casefold().split()
    if not words:
        return True
    told = (item.id, item.prompt, item.function, item.asker, item.key, *item.to, *item.tags.values())
    listed = "\n".join(filter(None, told)).casefold()
    return all(word in listed for word in words)


def _fits_facts(item: RequestSummary, wanted: RequestFilter, groups: Groups) -> bool:
    """Whether an item is of the run, for the person, of the age and so on that is wanted."""
    return (
        (wanted.workflow is None or _is_of(item, wanted.workflow))
        and (not wanted.to or _is_for(item, wanted.to, groups))
        and (wanted.asker is None or groups.same(wanted.asker, item.asker))
        and (not wanted.tags or wanted.tags.items() <= item.tags.items())
        and (wanted.due_in_ms is None or item.deadline <= item.now + wanted.due_in_ms)
        and item.created_at <= item.now - wanted.older_than_ms
        and wanted.priority in (None, item.asked.priority)
    )


def _is_for(item: RequestSummary, names: Iterable[str], groups: Groups) -> bool:
    """Whether one of the names is an assignee now."""
    wanted = {in_one_form(name, groups) for name in names}
    return any(in_one_form(name, groups) in wanted for name in item.to)


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

    A server that finds all of them in that order reads no more than are asked for. Nobody is searched for by
    name: a tag has one spelling of it, and other tools and the version before may have written another.
    """
    can = client.capabilities
    if can.open and can.order:
        return partial(search_page, client, state="pending", tags=EXTERNAL | wanted.tags)
    every: dict[str, Promise] = {}
    for base in [EXTERNAL] if can.open else [EXTERNAL, GLOBAL]:
        found = search(client, state="pending", tags=base | wanted.tags)
        every |= {promise.id: promise for promise in found if promise.is_blocking}
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


def _described(client: Client, promises: Sequence[Promise], groups: Groups) -> list[RequestSummary]:
    """Return the promises with what is known of their runs, and of their votes."""
    items = [spelled_by(groups, item) for item in _with_runs(client, promises)]
    return [
        item if tallied is None else msgspec.structs.replace(item, votes=tallied.leading)
        for item, tallied in zip(items, _tallies(client, items, groups), strict=True)
    ]


def _with_runs(client: Client, promises: Sequence[Promise]) -> list[RequestSummary]:
    """Return the promises with their runs."""
    runs = get_promises(client, sorted({promise.origin for promise in promises}))
    return [summary_of(client, promise, runs.get(promise.origin)) for promise in promises]


def _tallies(client: Client, items: Sequence[RequestSummary], groups: Groups) -> list[Tally | None]:
    """Return how each request stands where several must approve; None where one is enough."""
    ballots = votes_of_many(client, [item.id for item in items if item.asked.approvals > 1])
    return [count(item, ballots[item.id], groups) if item.id in ballots else None for item in items]


def spelled_by(groups: Groups, item: RequestSummary) -> RequestSummary:
    """Return a request with the names that it asks as the settings spell them."""
    asked = None if item.question is None else spelled(item.question, groups)
    return item if asked is item.question else msgspec.structs.replace(item, question=asked)


def summaries(client: Client, ids: Sequence[str]) -> dict[str, RequestSummary]:
    """Return those of the promises that exist, by id, with their runs.

    That is one look-up where the ids tell the runs, as those of the Python and TypeScript SDKs do, else two.
    """
    asked = list(dict.fromkeys([*ids, *(id.split(":", 1)[0] or id for id in ids)]))
    found = get_promises(client, asked)
    others = {found[id].origin for id in ids if id in found}.difference(asked)
    found |= get_promises(client, sorted(others)) if others else {}
    return {id: summary_of(client, found[id], found.get(found[id].origin)) for id in ids if id in found}


def summary_of(client: Client, promise: Promise, run: Promise | None) -> RequestSummary:
    """Return a promise as a request of a run."""
    return RequestSummary(promise=promise, question=question_of(promise), run=run, now=client.now())
