"""Open requests."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.paging import ordered, page_of
from hitl_cli.client.protocol import PAGE, get_promises, pages, search_each, search_page
from hitl_cli.client.records import promises_and_records
from hitl_cli.client.tags import AMENDS_TAG, EXTEND_TAG, RESERVED_TAGS, VOTE_TAG
from hitl_cli.client.wire import EXTERNAL, GLOBAL
from hitl_cli.errors import BadInput, BadName, BadUsage
from hitl_cli.inbox.amendments import amended, claimed, with_amendments
from hitl_cli.inbox.beside import Beside
from hitl_cli.inbox.permission import is_mine, waits_for
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inbox.votes import complete, count, votes_in, votes_of_many
from hitl_cli.people.deputies import absences_among
from hitl_cli.people.groups import NO_GROUPS, in_one_form, spelled
from hitl_cli.requests.amendments import amendments_in, amendments_of_many, deadline_of
from hitl_cli.requests.demand import raised
from hitl_cli.requests.private import question_without_private, without_private
from hitl_cli.requests.question import (
    PLAIN,
    PRIORITIES,
    QUORUM_TAG,
    Priority,
    asker_of,
    question_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Page, Reader
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.votes import RecordedVote, Tally
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight
    from hitl_cli.requests.amendments import Amendment

type Sort = Literal["age", "due", "priority"]

SOON_MS = 86_400_000
"""A deadline is near if less time than this is left."""

FEW = 50
"""Promises to read at a time at least, if a filter may drop some."""

NO_RUNS: Mapping[str, Promise] = MappingProxyType({})

AFTER = "after:"
"""Prefix of a cursor that names the last request of the page before."""


class RequestFilter(Struct, frozen=True, kw_only=True):
    """Which requests to list. `workflow` is a glob for the run's id or its workflow; durations are ms.

    `person` may answer now, or has asked and was asked back: this is the meaning of `--mine`, `for=me` and
    the inbox page (permission.waits_for). One of `to` must be an assignee; a group is named with or without
    `group:`. Each word of `text` must be in the listed texts of a request. `asker` asked, or started the run
    that asks; `put_by` asked without a run.
    """

    workflow: str | None = None
    to: tuple[str, ...] = ()
    person: str | None = None
    text: str = ""
    asker: str | None = None
    put_by: str | None = None
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
    sight: Sight | None = None,
) -> tuple[list[RequestSummary], bool]:
    """Return open requests, and whether there are more than `limit`.

    The order is by age (oldest first), deadline (nearest first) or priority (highest first); equal ones
    oldest first. Changes nothing: if the process of the last voter died, `settle_complete` settles the
    request.
    """
    found: list[RequestSummary] = []
    seen = sight is None or sight.all
    beside = Beside(client)
    all_are_wanted = seen and msgspec.structs.replace(wanted, tags={}) == EVERYTHING  # the server does that
    size = PAGE if limit is None else limit + 1 if all_are_wanted else max(limit + 1, FEW)
    runs: dict[str, Promise] = {}
    for page in pages(_in_order(client, wanted, sort, runs, sight, beside), size):
        for item in _fitting(client, wanted, groups, runs, sight, beside, page):
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
    sight: Sight | None = None,
) -> tuple[list[RequestSummary], str | None]:
    """Return a page of open requests, as `paging.page_of` does."""
    runs: dict[str, Promise] = {}
    beside = Beside(client)
    keep = partial(_fitting, client, wanted, groups, runs, sight, beside)
    read = _in_order(client, wanted, sort, runs, sight, beside)
    hides = sight is not None and not sight.all
    return page_of(read, keep, order=order_of(sort), limit=limit, after=after, hides=hides)


def shown(sight: Sight, item: RequestSummary) -> RequestSummary:
    """Return a request with only the parts that may be seen."""
    if item.question is None:
        return item
    question = sight.actor.groups.visibility.asked(item.question, item.promise, item.run)
    if sight.sees_private(item.promise, question, item.amendments):
        return (
            item if question is item.question else msgspec.structs.replace(item, question=question, memo=None)
        )
    promise, run = without_private(item.promise, question), item.run
    return msgspec.structs.replace(
        item,
        promise=promise,
        question=question_without_private(question),
        run=promise if run is not None and run.id == promise.id else run,  # it has no run
        memo=None,
        hidden=True,
    )


def order_of(sort: Sort) -> str:
    """Return the name of an order in cursors."""
    return f"pending by {sort}"


def settle_complete(client: Client, groups: Groups) -> None:
    """Settle pending requests whose votes decide them, because the last voter's process died."""
    for page in blocking_pages(client, RequestFilter(tags={QUORUM_TAG: "1"})):
        found, cast = _with_records(client, page, {})
        items = [demanded(item, groups) for item in found]
        for item, tallied in zip(items, _tallies(client, items, groups, cast), strict=True):
            if tallied is not None and tallied.deciding is not None:
                complete(client, item.promise, tallied)


def read_tags(texts: Iterable[str], given_as: str) -> dict[str, str]:
    """Return tags to filter by from texts such as NAME=VALUE. `given_as` names them in errors."""
    tags: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadUsage(f"{given_as} {text!r} is not NAME=VALUE.")
        if name.startswith(RESERVED_TAGS):
            raise BadName(f"{given_as} {text!r} has a reserved name: use another.")
        if tags.setdefault(name, value) != value:
            raise BadUsage(f"{given_as} {name!r} has two values, but a request has only one.")
    return tags


def _fitting(
    client: Client,
    wanted: RequestFilter,
    groups: Groups,
    runs: Mapping[str, Promise],
    sight: Sight | None,
    beside: Beside,
    promises: Sequence[Promise],
) -> list[RequestSummary]:
    """Return the promises that match a filter and may be seen, as requests. `runs` are already read."""
    person = wanted.person
    asked = [
        promise
        for promise in promises
        if promise.is_blocking
        and (person is None or promise.id in beside.back or _asks(promise, person, groups))
    ]
    return [
        item
        for item in described(client, asked, groups, beside, runs)
        if fits(item, wanted, groups) and (sight is None or sees(sight, item))
    ]


def sees(sight: Sight, item: RequestSummary) -> bool:
    """Whether a request may be seen."""
    return sight.all or sight.request(item.promise, item.run, item.question, item.amendments)


def fits(item: RequestSummary, wanted: RequestFilter, groups: Groups = NO_GROUPS) -> bool:
    """Whether a request is open, and matches a filter."""
    return (
        item.waits
        and (wanted.person is None or waits_for(item, wanted.person, groups))
        and _says(item, wanted.text)
        and _fits_facts(item, wanted, groups)
    )


def _asks(promise: Promise, person: str, groups: Groups) -> bool:
    """Whether a person may be an assignee, now or later. Reads only the promise, so it is cheap."""
    question = question_of(promise) or PLAIN
    return question.can_be_amended or is_mine(question, question.everyone, None, person, groups)


def _says(item: RequestSummary, text: str) -> bool:
    """Whether the listed texts of a request contain each word of a text, ignoring case."""
    words = text.casefold().split()
    if not words:
        return True
    told = (item.id, item.prompt, item.function, item.asker, item.key, *item.to, *item.tags.values())
    listed = "\n".join(filter(None, told)).casefold()
    return all(word in listed for word in words)


def _fits_facts(item: RequestSummary, wanted: RequestFilter, groups: Groups) -> bool:
    """Whether a request matches the filters other than person and text."""
    return (
        (wanted.workflow is None or _is_of(item, wanted.workflow))
        and (not wanted.to or _is_for(item, wanted.to, groups))
        and (wanted.asker is None or groups.same(wanted.asker, item.asker))
        and (wanted.put_by is None or groups.same(wanted.put_by, asker_of(item.promise, None)))
        and (not wanted.tags or wanted.tags.items() <= item.tags.items())
        and (wanted.due_in_ms is None or item.deadline <= item.now + wanted.due_in_ms)
        and (not wanted.older_than_ms or item.created_at <= item.now - wanted.older_than_ms)
        and wanted.priority in (None, item.asked.priority)
    )


def _is_for(item: RequestSummary, names: Iterable[str], groups: Groups) -> bool:
    """Whether one of the names is an assignee now."""
    wanted = {in_one_form(name, groups) for name in names}
    return any(in_one_form(name, groups) in wanted for name in item.to)


def _is_of(item: RequestSummary, glob: str) -> bool:
    """Whether the run's id or its workflow matches a glob."""
    return fnmatchcase(item.workflow, glob) or fnmatchcase(item.function or "", glob)


def _in_order(
    client: Client,
    wanted: RequestFilter,
    sort: Sort,
    runs: dict[str, Promise],
    sight: Sight | None,
    beside: Beside,
) -> Reader:
    """Return a reader of the promises that may match, in an order. Runs that it finds are added to `runs`.

    Cursors of a list that is sorted here contain ids, so it has only requests that may be seen.
    """
    oldest_first = _oldest_first(client, wanted, runs, sight, beside)
    if sort == "age":
        return oldest_first
    every = [promise for page in pages(oldest_first) for promise in page if promise.is_blocking]
    every = every if sight is None else sight.among(client, every)
    if sort == "priority":
        return ordered(every, place_by_priority)
    moved = amendments_of_many(client, [one.id for one in every if EXTEND_TAG in one.tags])
    return ordered(every, lambda one: place_by_deadline(one, moved.get(one.id, ())))


def blocking_pages(client: Client, wanted: RequestFilter = EVERYTHING) -> Iterator[list[Promise]]:
    """Yield blocking promises, oldest first."""
    for page in pages(_oldest_first(client, wanted, {})):
        yield [promise for promise in page if promise.is_blocking]


def _oldest_first(
    client: Client,
    wanted: RequestFilter,
    runs: dict[str, Promise],
    sight: Sight | None = None,
    beside: Beside | None = None,
) -> Reader:
    """Return a reader of the open promises that may match (and others), oldest first.

    With a server that supports this order, only as many as needed are read. With other servers, the runs that
    are found are added to `runs`. There is no search by assignee, because a tag has one spelling of a name,
    and other tools and earlier versions may have used another.
    """
    can = client.capabilities
    if can.open and can.order:
        return partial(_after, client, EXTERNAL | wanted.tags, sight, beside)
    if beside is not None:
        found = beside.pending()
    else:
        bases = [EXTERNAL] if can.open else [EXTERNAL, GLOBAL]
        searches = search_each(client, [{"state": "pending", "tags": base | wanted.tags} for base in bases])
        found = list({promise.id: promise for some in searches for promise in some}.values())
    runs |= {promise.id: promise for promise in found if promise.is_run}
    tags = wanted.tags.items()
    found = [promise for promise in found if promise.is_blocking and tags <= promise.tags.items()]
    return ordered(found if sight is None else sight.among(client, found), _place_by_age)


def _after(
    client: Client,
    tags: dict[str, str],
    sight: Sight | None,
    beside: Beside | None,
    size: int,
    cursor: str | None,
) -> Page:
    """Return a page of open promises, oldest first, from a cursor of the server or after a request."""
    query: dict[str, Any] = {"state": "pending", "tags": tags}
    if cursor is not None and cursor.startswith(AFTER):
        after = cursor.removeprefix(AFTER)
        if sight is not None and not sight.all:
            found = get_promises(client, [after])
            if not sight.among(client, list(found.values())):
                raise BadInput("invalid cursor.", code="bad-cursor")
        query["after"], cursor = after, None
    if beside is not None:
        return beside.page(size, cursor, **query)
    return search_page(client, size, cursor, **query)


def _place_by_age(promise: Promise) -> Place:
    """Return a promise's place by age."""
    return 0, promise.created_at, promise.id


def place_by_deadline(promise: Promise, amendments: Sequence[Amendment] = ()) -> Place:
    """Return a promise's place by deadline."""
    return deadline_of(promise, amendments), promise.created_at, promise.id


def place_by_priority(promise: Promise) -> Place:
    """Return a promise's place by priority."""
    pressing = PRIORITIES.index((question_of(promise) or PLAIN).priority)
    return pressing, promise.created_at, promise.id


def described(
    client: Client,
    promises: Sequence[Promise],
    groups: Groups,
    beside: Beside,
    runs: Mapping[str, Promise] = NO_RUNS,
) -> list[RequestSummary]:
    """Return the promises as requests, with their runs, approvals, claims and open questions to the asker."""
    found, cast = _with_records(client, promises, runs)
    items = []
    for each in found:
        item = spelled_by(groups, claimed(each, beside.claims.get(each.id)))
        if item.id in beside.back:
            item = msgspec.structs.replace(item, asked_back=beside.back[item.id])
        items.append(with_absences(item, groups))
    return [
        item if tallied is None else with_votes(item, tallied.leading_by)
        for item, tallied in zip(items, _tallies(client, items, groups, cast), strict=True)
    ]


def _with_records(
    client: Client, promises: Sequence[Promise], known: Mapping[str, Promise]
) -> tuple[list[RequestSummary], dict[str, list[RecordedVote]]]:
    """Return the promises as requests with their runs and amendments, and their votes, in one round trip.

    Known runs are not read again.
    """
    asked = {promise.id: question_of(promise) for promise in promises}
    tagged = {
        AMENDS_TAG: [id for id, question in asked.items() if question and question.can_be_amended],
        VOTE_TAG: [id for id, question in asked.items() if question and question.several],
    }
    origins = sorted({promise.origin for promise in promises} - known.keys())
    found, records = promises_and_records(client, origins, tagged)
    runs, now = {**known, **found}, client.now()
    items = []
    for promise in promises:
        run = runs.get(promise.origin)
        item = RequestSummary(promise=promise, question=asked[promise.id], run=run, now=now)
        if (changes := records.get((AMENDS_TAG, item.id))) is not None:
            item = amended(item, amendments_in(item.id, changes))
        items.append(item)
    return items, {id: votes_in(id, records[VOTE_TAG, id]) for id in tagged[VOTE_TAG]}


def _tallies(
    client: Client,
    items: Sequence[RequestSummary],
    groups: Groups,
    cast: Mapping[str, Sequence[RecordedVote]],
) -> list[Tally | None]:
    """Return the tally of each request that needs several approvals; None for the others.

    `cast` are the votes that are already read: not those of requests for which only the policy requires
    several approvals.
    """
    several = {item.id for item in items if item.asked.several}
    ballots = {**cast, **votes_of_many(client, sorted(several - cast.keys()))}
    return [count(item, ballots[item.id], groups) if item.id in several else None for item in items]


def with_votes(item: RequestSummary, taken: Mapping[str, int]) -> RequestSummary:
    """Return a request with its approvals so far, by the groups of its quorum."""
    by = {name: taken.get(name, 0) for name in item.asked.approvals_by}
    return msgspec.structs.replace(item, votes=sum(taken.values()), votes_by=by)


def spelled_by(groups: Groups, item: RequestSummary) -> RequestSummary:
    """Return a request with its assignees spelled as in the settings, and with the demands of the policy."""
    asked = None if item.question is None else spelled(item.question, groups)
    if item.amendments or asked is not item.question:
        amendments = tuple(
            msgspec.structs.replace(one, to=tuple(map(groups.spelling, one.to))) for one in item.amendments
        )
        item = msgspec.structs.replace(item, question=asked, amendments=amendments)
    return demanded(item, groups)


def with_absences(item: RequestSummary, groups: Groups) -> RequestSummary:
    """Return a request with those of its assignees who are away."""
    absent = absences_among(item.asked, item.to, groups) if item.waits else ()
    return msgspec.structs.replace(item, away=absent) if absent else item


def demanded(item: RequestSummary, groups: Groups) -> RequestSummary:
    """Return a request with the demands of the settings' policy on its decision."""
    if not groups.policy or item.question is None:
        return item
    asked = raised(item.question, groups.policy, item.names)
    return item if asked is item.question else msgspec.structs.replace(item, question=asked)


def summaries(client: Client, ids: Sequence[str]) -> dict[str, RequestSummary]:
    """Return the requests that exist, by id, with their runs.

    It takes one look-up if the ids contain the run's id, as in the Python and TypeScript SDKs; otherwise two.
    """
    asked = list(dict.fromkeys([*ids, *(id.split(":", 1)[0] or id for id in ids)]))
    found = get_promises(client, asked)
    others = {found[id].origin for id in ids if id in found}.difference(asked)
    found |= get_promises(client, sorted(others)) if others else {}
    items = [_as_asked(client, found[id], found.get(found[id].origin)) for id in ids if id in found]
    return {item.id: item for item in with_amendments(client, items)}


def summary_of(client: Client, promise: Promise, run: Promise | None) -> RequestSummary:
    """Return a promise as a request of a run."""
    return with_amendments(client, [_as_asked(client, promise, run)])[0]


def _as_asked(client: Client, promise: Promise, run: Promise | None) -> RequestSummary:
    """Return a promise as a request of a run, without its amendments."""
    return RequestSummary(promise=promise, question=question_of(promise), run=run, now=client.now())
