"""What a person does: see what waits, and answer. Every front end calls this.

It speaks the protocol and nothing else, so it works on every server and for requests that other
tools and SDKs made.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client import as_promise, call, get_promise, get_promises, search, search_pages
from hitl_cli.durations import format_age
from hitl_cli.errors import BadInput, Conflict, NotFound, TimedOut
from hitl_cli.times import iso
from hitl_cli.wire import (
    Decision,
    Json,
    decision_of,
    decode,
    encode,
    error_message,
    error_value,
    fresh_id,
    same_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hitl_cli.client import Client
    from hitl_cli.engine.records import Value
    from hitl_cli.wire import Promise

MAX_ANSWER_BYTES = 1_000_000
"""The most data that an answer may carry, as JSON. A decision is not a place to keep files."""

NO_REASON = "rejected"
"""The reason of a rejection that gives none."""

SUGGESTIONS = 3

type Verdict = Literal["approve", "reject"]


class Waiting(Struct, frozen=True, kw_only=True):
    """A promise that waits for a person. Instants are ms since the epoch."""

    id: str
    workflow: str
    function: str | None
    prompt: str | None
    created_at: int
    deadline: int


class Answer(Struct, frozen=True, kw_only=True):
    """What a person answers: the value to settle with, and the record of who, how and why."""

    verdict: Verdict
    data: Json
    reason: str | None
    by: str
    via: str
    comment: str | None = None


class Decided(Struct, frozen=True, kw_only=True):
    """A promise that has been answered. `fresh` tells whether by this very call."""

    promise: Promise
    workflow: str
    verdict: Verdict
    decision: Decision
    data: Json
    reason: str | None
    fresh: bool


def approval(*, by: str, via: str, data: Json = True, comment: str | None = None) -> Answer:
    """Return an approval with `data`, which is what the workflow gets. Raises BadInput if it is too big."""
    size = len(msgspec.json.encode(data))
    if size > MAX_ANSWER_BYTES:
        raise BadInput(f"the data is {size:,} bytes of JSON; an answer may carry {MAX_ANSWER_BYTES:,}.")
    return Answer(verdict="approve", data=data, reason=None, by=by, via=via, comment=comment)


def rejection(*, by: str, via: str, reason: str | None = None, comment: str | None = None) -> Answer:
    """Return a rejection; the workflow sees an error with the reason. Raises BadInput if it is too big."""
    if reason is not None and len(reason.encode()) > MAX_ANSWER_BYTES:
        raise BadInput(f"the reason is too long; an answer may carry {MAX_ANSWER_BYTES:,} bytes.")
    return Answer(verdict="reject", data=None, reason=reason or NO_REASON, by=by, via=via, comment=comment)


def pending(
    client: Client, *, workflow: str | None = None, older_than_ms: int = 0, limit: int | None = None
) -> tuple[list[Waiting], bool]:
    """Return what waits for a person, the oldest first, and whether there is more than `limit`.

    `workflow` is a glob that the run's id or its function's name must match.
    """
    found: list[Waiting] = []
    for page in blocking_pages(client, limit):
        for item in described(client, page):
            if older_than_ms and item.created_at > client.now() - older_than_ms:
                return found, False
            if (
                workflow is None
                or fnmatchcase(item.workflow, workflow)
                or fnmatchcase(item.function or "", workflow)
            ):
                if len(found) == limit:
                    return found, True
                found.append(item)
    return found, False


def blocking_pages(client: Client, limit: int | None) -> Iterator[list[Promise]]:
    """Yield the promises that only the outside can settle, the oldest first."""
    if client.embedded:
        yield from embedded_pages(client, limit)
        return
    marked = search(client, state="pending", tags={"resonate:external": "true"})
    bare = search(client, state="pending", tags={"resonate:scope": "global"})
    every = {promise.id: promise for promise in [*marked, *bare] if promise.is_blocking}
    yield sorted(every.values(), key=lambda promise: (promise.created_at, promise.id))


def embedded_pages(client: Client, limit: int | None) -> Iterator[list[Promise]]:
    """Yield the same from our engine, which lists them in order of creation from an index."""
    size = None if limit is None else limit + 1
    for page in search_pages(client, size, state="pending", tags={"resonate:external": "true"}):
        yield [promise for promise in page if promise.is_blocking]


def described(client: Client, promises: Sequence[Promise]) -> list[Waiting]:
    """Return the promises with the function of the run that each belongs to."""
    runs = get_promises(client, sorted({promise.origin for promise in promises}))
    return [
        Waiting(
            id=promise.id,
            workflow=promise.origin,
            function=made.func if (run := runs.get(promise.origin)) and (made := run.call) else None,
            prompt=promise.request.prompt,
            created_at=promise.created_at,
            deadline=promise.timeout_at,
        )
        for promise in promises
    ]


def decide(client: Client, id: str, answer: Answer, new_id: Callable[[], str] = fresh_id) -> Decided:
    """Answer a promise, named by its own id or by the id of a run that waits for one thing.

    Of several answers exactly one is recorded; giving that one again is no error. Raises NotFound,
    BadInput (several things wait), Conflict (decided otherwise; nothing changed), TimedOut (the
    deadline had passed).
    """
    promise = find(client, id)
    decision = Decision(id=new_id(), by=answer.by, via=answer.via, at=client.now(), comment=answer.comment)
    state = "resolved" if answer.verdict == "approve" else "rejected"
    settle = {"id": promise.id, "state": state, "value": value_of(answer, decision.headers())}
    settled = as_promise(call(client, "promise.settle", **settle))
    return outcome(settled, answer, decision, client.now())


def value_of(answer: Answer, headers: dict[str, str]) -> Value:
    """Return the value that an answer settles a promise with."""
    if answer.verdict == "approve":
        return encode(answer.data, headers)
    return error_value(answer.reason or NO_REASON, headers)


def outcome(settled: Promise, answer: Answer, decision: Decision, now: int) -> Decided:
    """Return what came of an answer, now that the promise is settled by it or by an earlier one."""
    recorded = decision_of(settled)
    data = decode(settled.value)
    fresh = recorded.id == decision.id
    if answer.verdict == "approve":
        same = settled.state == "resolved" and same_json(data, answer.data)
    else:
        same = settled.state == "rejected"
    if not fresh and not same:
        raise already(settled, now)
    return Decided(
        promise=settled,
        workflow=settled.origin,
        verdict=answer.verdict,
        decision=recorded,
        data=data if answer.verdict == "approve" else None,
        reason=error_message(settled.value) if answer.verdict == "reject" else None,
        fresh=fresh,
    )


def already(settled: Promise, now: int) -> Conflict | TimedOut:
    """Return the error that says how a promise was settled before."""
    if settled.state == "rejected_timedout":
        return TimedOut(
            f"{settled.id} can no longer be answered: its deadline passed {iso(settled.timeout_at)}."
        )
    if settled.state == "rejected_canceled":
        return Conflict(f"{settled.id} was canceled{by_whom(settled, now)}. Nothing was changed.")
    if settled.state == "rejected":
        how = f"{by_whom(settled, now)}: {error_message(settled.value)}"
        return Conflict(f"{settled.id} was already rejected{how}. Nothing was changed.")
    data = msgspec.json.encode(decode(settled.value)).decode()
    return Conflict(
        f"{settled.id} was already approved{by_whom(settled, now)} with {data}. Nothing was changed."
    )


def by_whom(settled: Promise, now: int) -> str:
    """Return ` by ada through cli 5m ago (2026-…Z)`, as far as it is known."""
    decision = decision_of(settled)
    at = decision.at or settled.settled_at or now
    who = f" by {decision.by} through {decision.via}" if decision.by else " by another tool"
    return f"{who} {format_age(now - at)} ago ({iso(at)})"


def find(client: Client, id: str) -> Promise:
    """Return the promise that an id means for a person who answers. Raises NotFound, BadInput."""
    promise = get_promise(client, id) if id else None
    if promise is None:
        raise NotFound(f"there is no promise or workflow {id!r}.{suggestions(client, id)}")
    if promise.is_blocking:
        return promise
    if promise.is_run:
        return only_one(client, promise)
    if promise.tags.get("resonate:timer") == "true":
        raise NotFound(
            f"{id} is a timer: nobody can answer it. `hitl pending` lists what waits for a person."
        )
    kind = "a call of another function" if "resonate:target" in promise.tags else "a step of its workflow"
    raise NotFound(f"{id} is {kind}: nobody can answer it. `hitl pending` lists what waits for a person.")


def only_one(client: Client, run: Promise) -> Promise:
    """Return the one promise of a run that waits for a person, or the only one that ever did."""
    asked = [promise for promise in search(client, tags={"resonate:origin": run.id}) if promise.is_blocking]
    waiting = [promise for promise in asked if promise.state == "pending"]
    candidates = waiting or asked
    if len(candidates) == 1:
        return candidates[0]
    if waiting:
        names = ", ".join(promise.id for promise in waiting)
        raise BadInput(
            f"{run.id} waits for {len(waiting)} answers: name one of {names}. Nothing was changed."
        )
    state = "has ended" if run.state != "pending" else "goes on" if asked else "has not asked anything yet"
    raise NotFound(
        f"nothing of {run.id} waits for a person: it {state}. `hitl status {run.id}` shows its steps."
    )


def suggestions(client: Client, id: str) -> str:
    """Return a sentence that names the nearest ids that wait, or says that none does."""
    import difflib  # noqa: PLC0415 - only where an id was mistyped

    waiting, _ = pending(client, limit=1_000)
    ids = [item.id for item in waiting] + [item.workflow for item in waiting]
    near = difflib.get_close_matches(id, dict.fromkeys(ids), n=SUGGESTIONS, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return " Nothing waits for a person." if not waiting else " `hitl pending` lists what waits."
