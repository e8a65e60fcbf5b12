"""Reads runs: one by its id, or a list of them, each with its state and what it is waiting for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.client.paging import ordered
from hitl_cli.client.protocol import (
    PAGE,
    ProtocolRequest,
    as_page,
    get_promise,
    get_tasks,
    search,
    search_page,
)
from hitl_cli.client.tags import INTERNAL_FUNCTIONS, ORIGIN_TAG, belongs_to_notification
from hitl_cli.client.wire import GLOBAL
from hitl_cli.errors import NotFound
from hitl_cli.format.durations import format_duration
from hitl_cli.runs.run import ENDED, run_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.paging import Place
    from hitl_cli.client.protocol import Client, Reader
    from hitl_cli.client.wire import Json, Promise, Task
    from hitl_cli.people.sight import Sight
    from hitl_cli.runs.run import Run, RunState


def get_run(client: Client, id: str) -> Run:
    """Return a run, request or step, with what it is waiting for. Raises NotFound."""
    return detailed(client, [known(client, id)])[0]


def known(client: Client, id: str) -> Promise:
    """Return the promise of a run, request or step. Raises NotFound."""
    promise = get_promise(client, id) if id else None
    if promise is None:
        raise no_run(id)
    return promise


def no_run(id: str) -> NotFound:
    """Return the error for an id that does not exist, or that the actor may not see."""
    return NotFound(f"there is no run {id!r}.", hint="`hitl status` lists the runs.")


def fitting(client: Client, state: RunState | None, sight: Sight, promises: Sequence[Promise]) -> list[Run]:
    """Return the runs that are in a state (None: any state) and may be seen, without hitl's own."""
    theirs = sight.among(client, [promise for promise in promises if not is_own(promise)])
    return [run for run in detailed(client, theirs) if state in (None, run.state)]


def is_own(promise: Promise) -> bool:
    """Whether a run is one that hitl started for itself."""
    call = promise.call
    return call is not None and call.func in INTERNAL_FUNCTIONS


def newest_first(client: Client, state: RunState | None, sight: Sight | None = None) -> Reader:
    """Return a reader of the promises of runs, newest first, for `fitting` to filter.

    A server that sorts returns only the pages that are needed. From others all runs are read.
    """
    one: dict[str, Json] = {} if state is None else {"state": _promise_state(state)}
    if client.capabilities.root and client.capabilities.sort:
        return partial(search_page, client, root=True, sort="-created", **one)
    every = search(client, tags=GLOBAL, **one)
    runs = (promise for promise in every if promise.is_run)
    seen = (promise for promise in runs if sight is None or sight.run(promise))  # cursors have ids
    return ordered(seen, _place_of, newest_first=True)


def _place_of(promise: Promise) -> Place:
    """Return the position of a run in the list."""
    return 0, promise.created_at, promise.id


def _promise_state(state: RunState) -> str:
    """Return the state of a promise whose run is in this state."""
    return next((name for name, ended in ENDED.items() if ended == state), "pending")


def detailed(client: Client, promises: Sequence[Promise]) -> list[Run]:
    """Return the runs of some promises, each with what it is waiting for."""
    live = [promise for promise in promises if promise.state == "pending"]
    tasks = get_tasks(client, [promise.id for promise in live])
    below = _pending_below(client, [promise.id for promise in live])
    return [
        _with_waits(run_of(promise), tasks.get(promise.id), below.get(promise.id, []), client.now())
        for promise in promises
    ]


def _pending_below(client: Client, ids: Sequence[str]) -> Mapping[str, Sequence[Promise]]:
    """Return the pending promises below each run.

    A Resonate Server reads all promises for each search, so it is asked once for all runs.
    """
    below: dict[str, list[Promise]] = {id: [] for id in ids}
    if ids and client.capabilities.plain:
        tags = {ORIGIN_TAG: ids[0]} if len(ids) == 1 else {}
        for promise in search(client, state="pending", tags=tags):
            below.get(promise.origin, []).append(promise)
    elif ids:
        searches = [
            ProtocolRequest("promise.search", {"state": "pending", "tags": {ORIGIN_TAG: id}, "limit": PAGE})
            for id in ids
        ]
        for id, page in zip(ids, client.call_many(searches), strict=True):
            below[id] += as_page(page).promises
    return {id: [promise for promise in found if promise.id != id] for id, found in below.items()}


def _with_waits(run: Run, task: Task | None, below: Sequence[Promise], now: int) -> Run:
    """Return a run with its state and what it is waiting for."""
    if run.ended:
        return run
    if task is not None and task.state == "pending":
        return replace(run, state="waiting", waits_for=(f"a worker that has {run.function}",))
    if task is not None and task.state == "halted":
        return replace(run, state="waiting", waits_for=("someone to resume it: it is halted",))
    below = [promise for promise in below if not belongs_to_notification(promise.id)]
    people = tuple(promise.id for promise in below if promise.is_blocking)
    timers = [promise.timeout_at for promise in below if promise.is_timer]
    calls = tuple(
        f"{promise.id} ({call.func})" for promise in below if promise.is_call and (call := promise.call)
    )
    if people or (task is not None and task.state == "acquired"):
        state: RunState = "running" if task is not None and task.state == "acquired" else "waiting"
        return replace(run, state=state, waits_for=people, requests=people)
    if timers:
        left = format_duration(max(min(timers) - now, 0))
        return replace(run, state="waiting", waits_for=(f"a timer, {left} left",))
    return replace(run, waits_for=calls)
