"""Finds the request that a person names."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from hitl_cli.client.protocol import get_promise, search, search_many, search_page
from hitl_cli.client.tags import ORIGIN_TAG
from hitl_cli.client.wire import EXTERNAL, audit_of
from hitl_cli.errors import BadInput, NotFound
from hitl_cli.format.shell import command
from hitl_cli.inbox.pending import pending, sees, summaries, summary_of
from hitl_cli.inbox.votes import votes_of_many
from hitl_cli.requests.question import KEY_TAG, OWN_PREFIX, PLAIN, prompt_of, question_of
from hitl_cli.runs.steps import way_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.idempotency import IdempotencyMark
    from hitl_cli.people.sight import Sight

SUGGESTIONS = 3
CANDIDATES = 10
"""Requests to list for an ambiguous name."""


def find(
    client: Client,
    name: str,
    *,
    whole: bool = False,
    mark: IdempotencyMark | None = None,
    sight: Sight | None = None,
) -> RequestSummary:
    """Return the request with a name, open or decided. With a `sight`, only requests that may be seen exist.

    A name is a request's id, its key, the id of a run with one open request, or (unless `whole`) the prefix
    of one open request's id. A key or a run means its open request. But if the decision with this `mark` was
    already made, its request is returned, so that a repeated decision does not apply to the next one. Raises
    NotFound, BadInput (ambiguous name), IdempotencyKeyReused.
    """
    named = summaries(client, [name]).get(name) if name else None
    if named is not None and sight is not None and not _may_see(sight, named):
        asks = named.promise.is_run and _seen(client, search(client, tags={ORIGIN_TAG: name}), sight)
        named = named if asks else None
    if named is not None and named.promise.is_blocking:
        return named
    earlier = None if mark is None or not name else _decided_with(client, name, mark, sight)
    promise = earlier or _meant(client, name, None if named is None else named.promise, sight, whole=whole)
    if named is not None and named.id == promise.origin:
        return summary_of(client, promise, named.promise)
    return summary_of(client, promise, get_promise(client, promise.origin))


def find_exactly(client: Client, id: str, sight: Sight | None = None) -> RequestSummary:
    """Return the request with exactly this id. Raises NotFound."""
    item = summaries(client, [id]).get(id)
    if item is None or (sight is not None and not _may_see(sight, item)):
        raise no_request(id)
    if not item.promise.is_blocking:
        raise NotFound(f"{id} is not a request.")
    return item


def no_request(id: str) -> NotFound:
    """Return the error for an id without a request, or with one that the actor may not see."""
    return NotFound(f"no request {id!r}.")


def _may_see(sight: Sight, item: RequestSummary) -> bool:
    """Whether a request, or the run of a step, may be seen."""
    if item.promise.is_blocking:
        return sees(sight, item)
    return sight.all or (item.run is not None and item.run.is_run and sight.run(item.run))


def _seen(client: Client, promises: Iterable[Promise], sight: Sight | None) -> list[Promise]:
    """Return the requests among some promises that may be seen."""
    asked = [promise for promise in promises if promise.is_blocking]
    return asked if sight is None else sight.among(client, asked)


def _decided_with(client: Client, name: str, mark: IdempotencyMark, sight: Sight | None) -> Promise | None:
    """Return the request with a key or of a run that was decided, or voted on, with a mark."""
    named = chain.from_iterable(search_many(client, [{KEY_TAG: name}, {ORIGIN_TAG: name}]))
    every = {promise.id: promise for promise in _seen(client, named, sight)}
    several = [promise.id for promise in every.values() if (question_of(promise) or PLAIN).several]
    ballots = votes_of_many(client, several)
    for promise in every.values():
        made = [audit_of(promise).id, *(ballot.audit.id for ballot in ballots.get(promise.id, ()))]
        if any(mark.made(id) for id in made):
            return promise
    return None


def _meant(
    client: Client, name: str, promise: Promise | None, sight: Sight | None, *, whole: bool
) -> Promise:
    """Return the promise for a name that is not a request's id. Raises NotFound, BadInput."""
    if promise is not None:
        return _answerable(client, promise, sight)
    if name:
        candidates = keyed(client, name, sight) or ([] if whole else _beginning_with(client, name, sight))
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise _ambiguous(name, candidates)
    hint = _own_of(client, name, sight) if whole else _suggestions(client, name, sight)
    raise NotFound(f"no request or run {name!r}.{hint}")


def _own_of(client: Client, name: str, sight: Sight | None) -> str:
    """Return a hint with the id that begins with `ask-`, if the name leaves that out."""
    own = get_promise(client, f"{OWN_PREFIX}{name}")
    return f" Did you mean {own.id}?" if own is not None and _seen(client, [own], sight) else ""


def keyed(client: Client, key: str, sight: Sight | None = None) -> list[Promise]:
    """Return the open requests with a key; if there are none, the last one."""
    every = _seen(client, search(client, tags={KEY_TAG: key}), sight)
    return [promise for promise in every if promise.state == "pending"] or _newest(every)


def _newest(promises: Iterable[Promise]) -> list[Promise]:
    """Return the newest promise, if there is any."""
    return sorted(promises, key=lambda promise: promise.created_at)[-1:]


def _beginning_with(client: Client, prefix: str, sight: Sight | None) -> list[Promise]:
    """Return the open requests whose id has a prefix."""
    can = client.capabilities
    if can.prefix and can.open:
        query: dict[str, Any] = {"state": "pending", "idPrefix": prefix, "tags": EXTERNAL}
        if sight is not None and not sight.all:  # the first ones may be hidden
            return _seen(client, search(client, **query), sight)
        page = search_page(client, CANDIDATES + 1, None, **query)
        return [promise for promise in page.promises if promise.is_blocking]
    return [item.promise for item in pending(client, sight=sight)[0] if item.id.startswith(prefix)]


def _ambiguous(name: str, candidates: list[Promise]) -> BadInput:
    """Return the error for an ambiguous name."""
    lines = [
        promise.id + (f"  {prompt}" if (prompt := prompt_of(promise)) else "")
        for promise in candidates[:CANDIDATES]
    ]
    more = ["…"] if len(candidates) > CANDIDATES else []
    return BadInput(
        f"{name!r} matches several open requests. Nothing was changed: name one of",
        [*lines, *more],
        code="ambiguous-id",
    )


def _answerable(client: Client, promise: Promise, sight: Sight | None) -> Promise:
    """Return the open request below a run or another promise. Raises NotFound, BadInput."""
    if promise.is_run:
        return _only_one(client, promise, sight)
    lineage = search(client, state="pending", tags={ORIGIN_TAG: promise.origin})
    below = [one for one in _seen(client, lineage, sight) if promise.id in way_to(one, lineage)]
    if len(below) == 1:
        return below[0]
    if below:
        raise _ambiguous(promise.id, below)
    if promise.is_timer:
        raise _not_for_people(promise, "a timer")
    kind = "a call of another workflow" if promise.is_call else "a step of its run"
    raise _not_for_people(promise, kind)


def _not_for_people(promise: Promise, kind: str) -> NotFound:
    """Return the error for a promise that is not a request."""
    return NotFound(
        f"{promise.id} is {kind}, not a request.",
        code="nothing-waiting",
        hint="To list open requests, run `hitl pending`.",
    )


def _only_one(client: Client, run: Promise, sight: Sight | None) -> Promise:
    """Return the only open request of a run, or its only request."""
    asked = _seen(client, search(client, tags={ORIGIN_TAG: run.id}), sight)
    waiting = [promise for promise in asked if promise.state == "pending"]
    candidates = waiting or asked
    if len(candidates) == 1:
        return candidates[0]
    if waiting:
        raise _ambiguous(run.id, waiting)
    state = "has ended" if run.state != "pending" else "is running" if asked else "has not asked anything yet"
    steps = command("status", [run.id])
    whole = sight is None or sight.all or run.state != "pending"  # otherwise the open request may be hidden
    why = f": it {state}" if whole else " that you may see"
    raise NotFound(
        f"{run.id} has no open request{why}.",
        code="nothing-waiting",
        hint=f"To see its steps, run `{steps}`.",
    )


def _suggestions(client: Client, name: str, sight: Sight | None) -> str:
    """Return a sentence with similar ids of open requests, or with how to list them."""
    import difflib

    waiting, _ = pending(client, limit=1_000, sight=sight)
    ids = [item.id for item in waiting] + [item.workflow for item in waiting]
    near = difflib.get_close_matches(name, dict.fromkeys(ids), n=SUGGESTIONS, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    if waiting:
        return " To list open requests, run `hitl pending`."
    return " There are no open requests" + ("." if sight is None or sight.all else " that you may see.")
