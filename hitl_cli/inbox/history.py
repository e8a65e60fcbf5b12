"""The history: who decided what, when, where and why."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.paging import ordered, page_of
from hitl_cli.client.protocol import PAGE, get_promise, get_promises, pages, search, search_many, search_page
from hitl_cli.client.tags import AMENDS_TAG, COMMENT_TAG, ORIGIN_TAG, THREAD_TAG, USED_TAG, VOTE_TAG
from hitl_cli.client.wire import (
    EXTERNAL,
    GLOBAL,
    Json,
    Vote,
    audit_of,
    decode,
    error_message,
    tagged,
)
from hitl_cli.errors import NotFound
from hitl_cli.inbox.comments import comment_in
from hitl_cli.inbox.thread import ThreadKind, thread_in
from hitl_cli.inbox.votes import votes_in
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.amendments import AmendmentKind, amendments_in
from hitl_cli.requests.decision import decision_by_deadline
from hitl_cli.requests.editable import Change, approved_arguments, changed
from hitl_cli.requests.question import (
    KEY_TAG,
    PLAIN,
    WORKFLOW_TAG,
    Outcome,
    asker_of,
    outcome_of,
    prompt_of,
    question_of,
    replaced_by,
    replaces,
)
from hitl_cli.requests.use import use_recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Reader
    from hitl_cli.client.wire import Promise
    from hitl_cli.engine.records import PromiseState
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.sight import Sight

type Kind = Literal["comment", "vote", "decision", "use"] | AmendmentKind | ThreadKind

SETTLED: tuple[PromiseState, ...] = ("resolved", "rejected", "rejected_canceled", "rejected_timedout")
STATES: dict[Outcome | None, tuple[PromiseState, ...]] = {
    None: SETTLED,
    "approved": ("resolved", "rejected_timedout"),
    "rejected": ("rejected", "rejected_timedout"),
    "expired": ("rejected_timedout", "rejected"),
    "canceled": ("rejected_canceled",),
}
"""The possible states of a promise by outcome. A deadline may count as approved or rejected."""


class HistoryEntry(Struct, frozen=True, kw_only=True):
    """One entry of the history: a decision, a vote, a comment, an amendment, or a question asked back.

    Instants are ms since the epoch. `workflow` is the run's id, `function` its workflow, `asked` the title of
    the prompt (None if there is none). `deadline` says whether the deadline decided. The outcome of a vote is
    that of its author; a comment has none. `by` and `via` are None if another tool decided without recording
    them. `replaces` and `replaced_by` are requests with a different question, because the workflow changed.
    `waited_ms` is the time from `asked_at` until the server settled it, or for a vote or comment until `at`.
    `votes` are those that counted for a decision.
    """

    kind: Kind
    id: str
    workflow: str
    function: str | None
    asked: str | None
    asked_at: int
    outcome: Outcome | None
    at: int
    waited_ms: int
    deadline: bool = False
    choice: str | None = None
    data: Json = None
    reason: str | None = None
    by: str | None = None
    via: str | None = None
    comment: str | None = None
    votes: tuple[Vote, ...] = ()
    deputy_for: tuple[str, ...] = ()
    """The assignees for whom `by` decided or voted, as their deputy."""
    rule: str | None = None
    """The id of the standing rule that decided, made by `by`."""
    form: Json = None
    """The form of `data`, whose titles are shown."""
    editable: bool = False
    """Whether `data` is the approved arguments; `changes` are their changes."""
    changes: tuple[Change, ...] = ()
    to: tuple[str, ...] = ()
    """The assignees after an `assign`."""
    until: int | None = None
    """The end of a `claim`, or the deadline after an `extend`."""
    of: str | None = None
    """The person whose claim was ended by another person's `release`."""
    replaces: str | None = None
    replaced_by: str | None = None


class HistoryFilter(Struct, frozen=True, kw_only=True):
    """Which decisions to list. `since` is an instant; `workflow` a glob for the run's id or its workflow.

    `by` is a person who decided, voted or commented; `put_by` asked without a run.
    """

    by: str | None = None
    since: int | None = None
    workflow: str | None = None
    outcome: Outcome | None = None
    put_by: str | None = None


EVERYTHING = HistoryFilter()


def history(
    client: Client,
    wanted: HistoryFilter = EVERYTHING,
    *,
    limit: int | None = None,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> tuple[list[HistoryEntry], bool]:
    """Return decisions, newest first, and whether there are more than `limit`."""
    every = decisions(client, wanted, limit, groups, sight)
    found = list(islice(every, None if limit is None else limit + 1))
    return found[:limit], limit is not None and len(found) > limit


def page_of_history(
    client: Client,
    wanted: HistoryFilter = EVERYTHING,
    *,
    limit: int,
    after: str | None = None,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> tuple[list[HistoryEntry], str | None]:
    """Return a page of decisions, as `paging.page_of` does."""
    runs: dict[str, Promise] = {}
    keep = partial(_fitting, client, wanted, groups, runs, sight)
    read = _last_settled_first(client, wanted, runs, sight)
    hides = sight is not None and not sight.all
    return page_of(read, keep, order="history", limit=limit, after=after, hides=hides)


def decisions(
    client: Client,
    wanted: HistoryFilter = EVERYTHING,
    expected: int | None = None,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> Iterator[HistoryEntry]:
    """Yield decisions, newest first; `expected` is how many will be read, if that is known."""
    seen = sight is None or sight.all
    narrow = wanted.by is not None or wanted.workflow is not None or not seen
    size = PAGE if narrow or expected is None else expected + 1
    runs: dict[str, Promise] = {}
    for page in pages(_last_settled_first(client, wanted, runs), size):
        yield from _fitting(client, wanted, groups, runs, sight, page)


def settled_since(client: Client, since: int) -> Iterator[Promise]:
    """Yield the promises of requests that were settled since an instant, newest first."""
    for page in pages(_last_settled_first(client, HistoryFilter(since=since), {})):
        yield from (promise for promise in page if promise.is_blocking)


def _fitting(
    client: Client,
    wanted: HistoryFilter,
    groups: Groups,
    runs: Mapping[str, Promise],
    sight: Sight | None,
    promises: Sequence[Promise],
) -> list[HistoryEntry]:
    """Return the settled promises that match a filter and may be seen, as entries; `runs` are known."""
    blocking = [
        promise
        for promise in promises
        if promise.is_blocking
        and (wanted.put_by is None or groups.same(wanted.put_by, asker_of(promise, None)))
    ]
    return [entry for entry in _described(client, blocking, runs, sight) if _fits(entry, wanted, groups)]


def _last_settled_first(
    client: Client, wanted: HistoryFilter, runs: dict[str, Promise], sight: Sight | None = None
) -> Reader:
    """Return a reader of the settled promises that may match (and others), the last settled first.

    With a server that has this order, only as many as needed are read; with other servers, all. Runs that it
    finds are added to `runs`.
    """
    states = STATES[wanted.outcome]
    can = client.capabilities
    if can.sort and can.open:
        one: dict[str, Json] = {"state": states[0]} if len(states) == 1 else {}
        since = wanted.since
        return partial(search_page, client, sort="-settled", tags=EXTERNAL, settledSince=since, **one)
    every: dict[str, Promise] = {}
    for tags in (EXTERNAL, GLOBAL):
        for promise in search(client, tags=tags):  # in any state: each search reads all promises
            if promise.is_run:
                runs[promise.id] = promise
            elif (
                promise.is_blocking and promise.state in states and settled_at(promise) >= (wanted.since or 0)
            ):
                every[promise.id] = promise
    found = list(every.values())
    seen = found if sight is None else sight.among(client, found)  # cursors have ids
    return ordered(seen, _place_of, newest_first=True)


def _place_of(promise: Promise) -> Place:
    """Return a settled promise's place in the history."""
    return 0, settled_at(promise), promise.id


def settled_at(promise: Promise) -> int:
    """Return when a promise was settled; its deadline if that is not recorded."""
    return promise.timeout_at if promise.settled_at is None else promise.settled_at


def _described(
    client: Client, promises: Sequence[Promise], known: Mapping[str, Promise], sight: Sight | None
) -> Iterator[HistoryEntry]:
    """Yield the decisions that may be seen, with their workflows; runs that are known are not read."""
    asked_by = {promise.origin for promise in promises if promise.origin != promise.id}
    runs = {**known, **get_promises(client, sorted(asked_by - known.keys()))}
    for promise in promises if sight is None else sight.shown(client, promises, runs):
        yield decision_of(promise, _function_of(promise, runs.get(promise.origin)))


def _function_of(promise: Promise, run: Promise | None) -> str | None:
    """Return the workflow of the run that asked; from the promise if the run is gone."""
    call = run.call if run is not None and run.is_run else None
    return call.func if call else promise.tags.get(WORKFLOW_TAG)


def decision_of(promise: Promise, function: str | None, others: Iterable[Promise] = ()) -> HistoryEntry:
    """Return the decision in a settled promise; one of the `others` in its run may have replaced it."""
    audit = audit_of(promise)
    end = settled_at(promise)
    data, choice = _answer_in(promise)
    question, outcome = question_of(promise) or PLAIN, outcome_of(promise)
    by_hand = promise.state in ("rejected", "rejected_canceled") and promise.expired_at is None
    return HistoryEntry(
        kind="decision",
        id=promise.id,
        workflow=promise.origin,
        function=function,
        asked=prompt_of(promise),
        asked_at=promise.created_at,
        outcome=outcome,
        # the server's instant, if the recorded one is impossible
        at=audit.at if audit.at is not None and promise.created_at <= audit.at <= end else end,
        waited_ms=max(end - promise.created_at, 0),
        deadline=promise.expired_at is not None,
        choice=audit.choice or choice,
        data=data,
        reason=error_message(promise.value) if by_hand and decode(promise.value) is not None else None,
        by=audit.by,
        via=None if promise.expired_at is not None else audit.via,
        comment=audit.comment,
        votes=audit.votes,
        deputy_for=audit.deputy_for,
        rule=audit.rule,
        form=question.form,
        editable=question.editable is not None,
        changes=changed(question, data) if outcome == "approved" else (),
        replaces=replaces(promise),
        replaced_by=replaced_by(promise, others),
    )


def _answer_in(promise: Promise) -> tuple[Json, str | None]:
    """Return the data and the choice of an approval, by a person or by the deadline."""
    question = question_of(promise) or PLAIN
    if (ended := promise.expired_at) is not None:
        meant = decision_by_deadline(promise.id, question, ended)
        return meant.data, meant.choice
    data = decode(promise.value) if promise.state == "resolved" else None
    choice = data if data in question.choices else None
    approved = promise.state == "resolved" and question.editable is not None
    return approved_arguments(question, data) if approved else data, choice


def _is_by(entry: HistoryEntry, person: str, groups: Groups) -> bool:
    """Whether a person decided, voted or commented."""
    return any(groups.same(person, by) for by in (entry.by, *(vote.by for vote in entry.votes)))


def _fits(entry: HistoryEntry, wanted: HistoryFilter, groups: Groups) -> bool:
    """Whether an entry matches a filter, ignoring its time."""
    return (
        (wanted.by is None or _is_by(entry, wanted.by, groups))
        and wanted.outcome in (None, entry.outcome)
        and (
            wanted.workflow is None
            or fnmatchcase(entry.workflow, wanted.workflow)
            or fnmatchcase(entry.function or "", wanted.workflow)
        )
    )


# One request or run


def story(
    client: Client,
    name: str,
    wanted: HistoryFilter = EVERYTHING,
    groups: Groups = NO_GROUPS,
    sight: Sight | None = None,
) -> list[HistoryEntry]:
    """Return the comments, votes, amendments and decisions on a named request or run, in order.

    A name is the id of a request or run, or a key, which several requests may have. Votes include those that
    were changed later. Raises NotFound.
    """
    promises = _named(client, name, sight)
    origins = sorted({promise.origin for promise in promises})
    runs = get_promises(client, origins)
    lineages = search_many(client, [{ORIGIN_TAG: origin} for origin in origins])
    below = dict(zip(origins, lineages, strict=True))
    if sight is not None:
        below = {origin: sight.lineage(runs.get(origin), found) for origin, found in below.items()}
    entries = [
        entry
        for promise in promises
        for entry in _told(promise, _function_of(promise, runs.get(promise.origin)), below[promise.origin])
        if _fits(entry, wanted, groups) and entry.at >= (wanted.since or 0)
    ]
    order = {"decision": 1, "use": 2}
    return sorted(entries, key=lambda entry: (entry.at, order.get(entry.kind, 0)))


def _named(client: Client, name: str, sight: Sight | None) -> list[Promise]:
    """Return the promises of the requests with a name that may be seen. Raises NotFound."""
    promise = get_promise(client, name) if name else None
    if promise is not None and not promise.is_run:
        found = [promise]
    elif not name:
        found = []
    else:
        keyed = [] if promise is not None else search(client, tags={KEY_TAG: name})
        found = keyed or search(client, tags={ORIGIN_TAG: name})
    blocking = [promise for promise in found if promise.is_blocking]
    if sight is not None:
        blocking = sight.shown(client, blocking)
        promise = None if promise is None else next(iter(sight.among(client, [promise])), None)
    if blocking or (promise is not None and promise.is_run):
        return blocking
    if promise is not None:
        raise NotFound(f"{name} has no history: it is a step of {promise.origin}, not a request.")
    raise NotFound(f"no request, run or key {name!r}.", hint="To list decisions, run `hitl history`.")


def _told(promise: Promise, function: str | None, others: Sequence[Promise]) -> Iterable[HistoryEntry]:
    """Yield its comments, votes, questions, amendments and decision; `others` are all promises of its run."""
    asked, question = prompt_of(promise), question_of(promise) or PLAIN

    def said(kind: Kind, at: int, **what: Json) -> HistoryEntry:
        return HistoryEntry(
            kind=kind,
            id=promise.id,
            workflow=promise.origin,
            function=function,
            asked=asked,
            asked_at=promise.created_at,
            at=at,
            waited_ms=max(at - promise.created_at, 0),
            form=question.form,
            editable=question.editable is not None,
            **what,
        )

    for remark in tagged(others, COMMENT_TAG, promise.id):
        if (comment := comment_in(remark)) is not None:
            yield said(
                "comment", comment.at, outcome=None, by=comment.by, via=comment.via, comment=comment.text
            )
    for one in amendments_in(promise.id, tagged(others, AMENDS_TAG, promise.id)):
        if one.kind != "expire" and (promise.settled_at is None or one.at <= promise.settled_at):
            yield said(
                one.kind, one.at, outcome=None, by=one.by, via=one.via, to=one.to, until=one.until, of=one.of
            )
    for entry in thread_in(tagged(others, THREAD_TAG, promise.id), promise.id):
        yield said(entry.kind, entry.at, outcome=None, by=entry.by, via=entry.via, comment=entry.text)
    for ballot in votes_in(promise.id, tagged(others, VOTE_TAG, promise.id)):
        vote = ballot.vote
        yield said(
            "vote",
            vote.at,
            outcome="approved" if vote.verdict == "approve" else "rejected",
            choice=vote.choice,
            data=vote.data,
            reason=vote.reason,
            by=vote.by,
            via=ballot.audit.via,
            comment=vote.comment,
            deputy_for=vote.deputy_for,
            changes=changed(question, vote.data) if vote.verdict == "approve" else (),
        )
    if promise.state != "pending":
        yield decision_of(promise, function, others)
    for record in tagged(others, USED_TAG, promise.id):
        use = use_recorded(record)
        yield said("use", use.at, outcome=None, by=use.by, via=use.via)
