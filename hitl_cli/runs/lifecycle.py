"""What is done to a run of a workflow: start, look, wait, cancel."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hitl_cli import defaults
from hitl_cli.client.paging import ordered, page_of
from hitl_cli.client.protocol import (
    PAGE,
    ProtocolRequest,
    as_page,
    as_promise,
    get_promise,
    get_tasks,
    pages,
    search,
    search_page,
)
from hitl_cli.client.tags import (
    INTERNAL_FUNCTIONS,
    ORIGIN_TAG,
    TARGET_TAG,
    belongs_to_notification,
    lineage,
)
from hitl_cli.client.wire import (
    GLOBAL,
    Audit,
    Call,
    Json,
    audit_of,
    decode,
    encode,
    error_message,
    error_value,
    fresh_id,
    headers_of,
    same_json,
)
from hitl_cli.errors import BadName, Conflict, NotFound, TimedOut
from hitl_cli.format.durations import format_duration
from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Reader
    from hitl_cli.client.wire import Promise, Task

START_BATCH = 500
"""Runs that are started in one round trip."""

LOOK_EVERY_S = 5.0
"""The longest that a waiting command goes without asking, whatever it was told."""

type RunState = Literal["running", "waiting", "completed", "failed", "canceled", "expired"]

type GroupName = Annotated[str, Meta(pattern=r"^[^\s/@:]{1,200}(?!\s)$")]
"""A group of workers as whoever may only start runs names it: an address would have the server post there."""


ENDED: dict[str, RunState] = {
    "resolved": "completed",
    "rejected": "failed",
    "rejected_canceled": "canceled",
    "rejected_timedout": "expired",
}


class RunSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start: a line of `hitl start --stdin`, or one command line."""

    id: str
    workflow: str = defaults.WORKFLOW
    args: list[Json] | None = None
    kwargs: dict[str, Json] = {}

    def call(self) -> Call:
        """Return the function call; a run that is given no arguments is given its id."""
        return call_of(self.workflow, self.args, self.kwargs, self.id)


class Run(Struct, frozen=True, kw_only=True):
    """A run and how it stands. Instants are ms since the epoch; `result` is what it returned.

    `requests` are those of what it waits for that a person answers, by id.
    """

    id: str
    function: str | None
    state: RunState
    created_at: int
    deadline: int
    settled_at: int | None = None
    waits_for: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    result: Json = None
    error: str | None = None

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self.state not in ("running", "waiting")


class Started(Struct, frozen=True, kw_only=True):
    """A run that was asked for; `created` tells whether by this very call."""

    run: Run
    created: bool


def call_of(workflow: str, args: list[Json] | None, kwargs: dict[str, Json], id: str) -> Call:
    """Return a function call; one that is given no arguments is given the id."""
    given = args if args is not None else [] if kwargs else [id]
    return Call(func=workflow, args=tuple(given), kwargs=kwargs)


def check_id(id: str) -> str:
    """Return the id if a run can have it (resonate/ids.py, validate_root_id). Raises BadInput."""
    if not id or id != id.strip() or not id.isprintable():
        raise BadName(f"{id!r} cannot be a workflow id: it must have characters, and none that is invisible.")
    if ":" in id:
        raise BadName(f"{id!r} cannot be a workflow id: ':' separates a workflow from its steps.")
    return id


def start(
    client: Client,
    spec: RunSpec,
    *,
    group: str = defaults.GROUP,
    deadline_ms: int = defaults.DEADLINE_MS,
    by: str | None = None,
    new_id: Callable[[], str] = fresh_id,
) -> Started:
    """Start a run, or find the one that was started before with the same id and call.

    Raises BadInput (the id), Conflict (the id is taken by another call).
    """
    [started] = start_many(client, [spec], group=group, deadline_ms=deadline_ms, by=by, new_id=new_id)
    if isinstance(started, Conflict):
        raise started
    return started


def start_many(
    client: Client,
    specs: Sequence[RunSpec],
    *,
    group: str = defaults.GROUP,
    deadline_ms: int = defaults.DEADLINE_MS,
    by: str | None = None,
    new_id: Callable[[], str] = fresh_id,
) -> list[Started | Conflict]:
    """Start runs, many to a round trip; a Conflict stands in the place of one that could not be."""
    for spec in specs:
        check_id(spec.id)
    started: list[Started | Conflict] = []
    for at in range(0, len(specs), START_BATCH):
        batch = [(spec, new_id()) for spec in specs[at : at + START_BATCH]]
        timeout_at = client.now() + deadline_ms
        requests = [create_request(spec, group, timeout_at, mark, by) for spec, mark in batch]
        answers = client.call_many(requests)
        for (spec, mark), answer in zip(batch, answers, strict=True):
            started.append(_started_or_conflict(spec, mark, as_promise(answer)))
    return started


def create_request(
    spec: RunSpec, group: str, timeout_at: int, mark: str, by: str | None = None
) -> ProtocolRequest:
    """Return the promise.create that starts a run, with the tags that the SDK's own `rpc` gives it.

    The headers are ours: by `hitl:start` the caller knows whether the promise is the one it created, and
    `hitl:by` says who started it, which a request of its can hold against them (docs/requests.md).
    """
    tags = {TARGET_TAG: address_of(group)} | lineage(spec.id, scope="global")
    headers = {"hitl:start": mark} | ({"hitl:by": by} if by else {})
    param = encode(msgspec.to_builtins(spec.call()), headers)
    return ProtocolRequest(
        "promise.create", {"id": spec.id, "timeoutAt": timeout_at, "param": param, "tags": tags}
    )


def address_of(group: str) -> str:
    """Return the address of any worker of a group; what is an address already stays as it is."""
    return group if "://" in group else f"poll://any@{group}"


def _started_or_conflict(spec: RunSpec, mark: str, promise: Promise) -> Started | Conflict:
    """Return the run if it is the one that was asked for."""
    call = promise.call
    if call is None or not same_json(call, spec.call()):
        return Conflict(
            f"{spec.id} is taken by {show_call(call)}, not {show_call(spec.call())}. Nothing was changed;"
            f" `hitl status {spec.id}` shows it.",
            code="already-exists",
        )
    return Started(run=_run_of(promise), created=headers_of(promise.param).get("hitl:start") == mark)


def show_call(call: Call | None) -> str:
    """Return a call as `approval("hitl-001")`, cut to fit a sentence."""
    if call is None:
        return "a promise that is no workflow"
    shown = [msgspec.json.encode(arg).decode() for arg in call.args]
    shown += [f"{name}={msgspec.json.encode(value).decode()}" for name, value in call.kwargs.items()]
    text = ", ".join(shown)
    return f"{call.func}({text if len(text) <= 200 else text[:200] + '…'})"  # noqa: PLR2004


def _run_of(promise: Promise) -> Run:
    """Return a run as its promise alone shows it; while it is pending, that is `running`."""
    call = promise.call
    state = ENDED.get(promise.state, "running")
    return Run(
        id=promise.id,
        function=call.func if call else None,
        state=state,
        created_at=promise.created_at,
        deadline=promise.timeout_at,
        settled_at=promise.settled_at,
        result=decode(promise.value) if state == "completed" else None,
        error=error_text(promise) if state in ("failed", "canceled", "expired") else None,
    )


def error_text(promise: Promise) -> str:
    """Return why a run did not complete."""
    return "its deadline passed" if promise.state == "rejected_timedout" else error_message(promise.value)


# Looking


def get_run(client: Client, id: str) -> Run:
    """Return a run with what it waits for. Raises NotFound."""
    return detailed(client, [known(client, id)])[0]


def known(client: Client, id: str) -> Promise:
    """Return the promise of a run. Raises NotFound."""
    promise = get_promise(client, id) if id else None
    if promise is None:
        raise NotFound(f"there is no workflow {id!r}. `hitl status` lists them.")
    return promise


def list_runs(
    client: Client, *, state: RunState | None = None, limit: int | None = None
) -> tuple[list[Run], bool]:
    """Return the runs, the newest first, and whether there are more than `limit`.

    Those that hitl runs for itself are not among them; by its id, each is shown.
    """
    found: list[Run] = []
    for page in pages(_newest_first(client, state), PAGE if limit is None else limit + 1):
        for run in _fitting(client, state, page):
            if len(found) == limit:
                return found, True
            found.append(run)
    return found, False


def page_of_runs(
    client: Client, *, state: RunState | None = None, limit: int, after: str | None = None
) -> tuple[list[Run], str | None]:
    """Return a page of the same, as `paging.page_of` does."""
    keep = partial(_fitting, client, state)
    return page_of(_newest_first(client, state), keep, order="runs", limit=limit, after=after)


def _fitting(client: Client, state: RunState | None, promises: Sequence[Promise]) -> list[Run]:
    """Return the runs that are in a state, or all; none of hitl's own."""
    theirs = [promise for promise in promises if not _is_own(promise)]
    return [run for run in detailed(client, theirs) if state in (None, run.state)]


def _is_own(promise: Promise) -> bool:
    """Whether a run is one of hitl's own."""
    call = promise.call
    return call is not None and call.func in INTERNAL_FUNCTIONS


def _newest_first(client: Client, state: RunState | None) -> Reader:
    """Return what reads the promises of runs, the newest first; of a state as far as a promise tells it.

    A server that has this order reads no more of them than are asked for. Of others all are read.
    """
    one: dict[str, Json] = {} if state is None else {"state": _promise_state(state)}
    can = client.capabilities
    if can.root and can.sort:
        return partial(search_page, client, root=True, sort="-created", **one)
    every = search(client, tags=GLOBAL, **one)
    return ordered((promise for promise in every if promise.is_run), _place_of, newest_first=True)


def _place_of(promise: Promise) -> Place:
    """Return where a run stands in the list."""
    return 0, promise.created_at, promise.id


def _promise_state(state: RunState) -> str:
    """Return the state of the promise of a run that is in this state."""
    return next((name for name, ended in ENDED.items() if ended == state), "pending")


def detailed(client: Client, promises: Sequence[Promise]) -> list[Run]:
    """Return the runs, those that have not ended with what they wait for."""
    live = [promise for promise in promises if promise.state == "pending"]
    tasks = get_tasks(client, [promise.id for promise in live])
    searches = [
        ProtocolRequest("promise.search", {"state": "pending", "tags": {ORIGIN_TAG: p.id}, "limit": PAGE})
        for p in live
    ]
    pages = client.call_many(searches) if searches else []
    below = {
        p.id: [b for b in as_page(page).promises if b.id != p.id] for p, page in zip(live, pages, strict=True)
    }
    return [
        _with_waits(_run_of(promise), tasks.get(promise.id), below.get(promise.id, []), client.now())
        for promise in promises
    ]


def _with_waits(run: Run, task: Task | None, below: Sequence[Promise], now: int) -> Run:
    """Return a live run with its state and what it waits for."""
    if run.ended:
        return run
    if task is not None and task.state == "pending":
        return msgspec.structs.replace(run, state="waiting", waits_for=(f"a worker that has {run.function}",))
    if task is not None and task.state == "halted":
        return msgspec.structs.replace(
            run, state="waiting", waits_for=("someone to continue it: it is halted",)
        )
    below = [promise for promise in below if not belongs_to_notification(promise.id)]
    people = tuple(promise.id for promise in below if promise.is_blocking)
    timers = [promise.timeout_at for promise in below if promise.is_timer]
    calls = tuple(
        f"{promise.id} ({call.func})" for promise in below if promise.is_call and (call := promise.call)
    )
    if task is not None and task.state == "acquired":
        return msgspec.structs.replace(run, state="running", waits_for=people, requests=people)
    if people:
        return msgspec.structs.replace(run, state="waiting", waits_for=people, requests=people)
    if timers:
        left = format_duration(max(min(timers) - now, 0))
        return msgspec.structs.replace(run, state="waiting", waits_for=(f"a timer, {left} left",))
    return msgspec.structs.replace(run, waits_for=calls)


# Waiting and canceling


def wait(
    client: Client,
    id: str,
    timeout_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Return the run once it has ended. Raises NotFound, TimedOut after `timeout_s` seconds."""
    end = None if timeout_s is None else clock() + timeout_s
    while True:
        run = _run_of(known(client, id))
        if run.ended:
            return run
        left = LOOK_EVERY_S if end is None else min(end - clock(), LOOK_EVERY_S)
        if left <= 0:
            raise TimedOut(
                f"{id} has not ended yet. It goes on; `hitl wait {id}` waits again.", code="timed-out"
            )
        client.wait(left)


def cancel(client: Client, id: str, *, by: str, via: str, reason: str | None = None) -> bool:
    """Cancel a run and what it waits for, or a question of its own. Return whether it was this call that did.

    Raises NotFound, Conflict (it has ended otherwise).
    """
    promise = known(client, id)
    alone = promise.is_blocking and promise.origin == promise.id
    if not (promise.is_run or alone):
        raise NotFound(f"{id} is not a workflow but a part of {promise.origin}.")
    audit = Audit(id=fresh_id(), by=by, via=via, at=client.now())
    value = error_value(reason or "canceled", audit.headers())
    settled = as_promise(client.call_many([cancel_request(id, value)])[0])
    if settled.state == "rejected_timedout":
        raise TimedOut(f"{id} can no longer be canceled: its deadline passed {iso(settled.timeout_at)}.")
    if settled.state != "rejected_canceled":
        raise Conflict(
            f"{id} has already {_run_of(settled).state}. Nothing was changed.", code="already-ended"
        )
    below = search(client, state="pending", tags={ORIGIN_TAG: id})
    client.call_many([cancel_request(p.id, value) for p in below if p.is_blocking or p.is_call])
    return audit_of(settled).id == audit.id


def cancel_request(id: str, value: object) -> ProtocolRequest:
    """Return the request that cancels one promise."""
    return ProtocolRequest("promise.settle", {"id": id, "state": "rejected_canceled", "value": value})
