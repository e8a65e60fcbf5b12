"""`Runs`: what a person can do with runs, for every front end."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli import defaults
from hitl_cli.client.paging import page_of
from hitl_cli.client.protocol import PAGE, as_promise, get_promise, pages, search, send
from hitl_cli.client.tags import ORIGIN_TAG
from hitl_cli.client.waiting import wait_until
from hitl_cli.client.wire import Audit, audit_of, error_value, fresh_id, headers_of, same_json
from hitl_cli.errors import Conflict, NotFound, TimedOut
from hitl_cli.format.shell import command
from hitl_cli.format.times import iso
from hitl_cli.people.away import with_deputies
from hitl_cli.people.sight import Sight
from hitl_cli.requests.notification import callback_of
from hitl_cli.requests.question import OUTCOMES, asker_of
from hitl_cli.runs.idle import no_worker
from hitl_cli.runs.reading import fitting, get_run, known, newest_first, no_run
from hitl_cli.runs.run import Canceled, Started, cancel_request, check_id, create_request, run_of, show_call
from hitl_cli.runs.steps import RunTree, first_steps
from hitl_cli.runs.workflows import served

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.idempotency import IdempotencyMark
    from hitl_cli.runs.run import Run, RunSpec, RunState
    from hitl_cli.runs.workflows import ServedWorkflow

START_BATCH = 500
"""Runs that are started in one protocol batch."""


class Runs:
    """The runs on a server, for one actor.

    Reading needs the permission `read`; starting and canceling need `start`, which also lets actors see the
    runs that they started. Every method raises NotAllowed for an actor without it, and Unreachable.
    """

    def __init__(self, client: Client, actor: Actor) -> None:
        """`actor` is recorded as the person who started or canceled a run."""
        self._client = client
        self._actor = actor = replace(actor, groups=with_deputies(client, actor.groups))
        self._sight = Sight(actor, below_own_runs=True)

    def start(
        self,
        spec: RunSpec,
        *,
        group: str = defaults.GROUP,
        deadline_ms: int = defaults.DEADLINE_MS,
        mark: IdempotencyMark | None = None,
    ) -> Started:
        """Start a run, or return the existing run with the same id and call.

        A call with the same `mark` returns the run that the first one started. Raises BadInput (the id),
        Conflict (another call has this id), IdempotencyKeyReused.
        """
        self._actor.require("start")
        if mark is not None and (found := get_promise(self._client, check_id(spec.id))) is not None:
            mark.made(headers_of(found.param).get("hitl:start"))
        own = fresh_id() if mark is None else mark.id
        [started] = self._start([spec], group, deadline_ms, lambda: own)
        if isinstance(started, Conflict):
            raise started
        return started

    def start_many(
        self,
        specs: Sequence[RunSpec],
        *,
        group: str = defaults.GROUP,
        deadline_ms: int = defaults.DEADLINE_MS,
    ) -> Sequence[Started | Conflict]:
        """Start runs in batches. For an id that another call has, the list contains a Conflict."""
        self._actor.require("start")
        return self._start(specs, group, deadline_ms, fresh_id)

    def _start(
        self, specs: Sequence[RunSpec], group: str, deadline_ms: int, new_id: Callable[[], str]
    ) -> Sequence[Started | Conflict]:
        for spec in specs:
            check_id(spec.id)
        started: list[Started | Conflict] = []
        for at in range(0, len(specs), START_BATCH):
            batch = [(spec, new_id()) for spec in specs[at : at + START_BATCH]]
            timeout_at = self._client.now() + deadline_ms
            requests = [
                create_request(spec, group, timeout_at, mark, self._actor.person) for spec, mark in batch
            ]
            answers = self._client.call_many(requests)
            for (spec, mark), answer in zip(batch, answers, strict=True):
                started.append(self._started_or_conflict(spec, mark, as_promise(answer)))
        return started

    def list(self, *, state: RunState | None = None, limit: int | None = None) -> tuple[Sequence[Run], bool]:
        """Return the newest runs first, and whether there are more than `limit`.

        Runs that hitl starts for itself are left out; `show` finds them by id.
        """
        self._actor.require("read")
        found: list[Run] = []
        size = PAGE if limit is None or not self._sight.all else limit + 1
        for page in pages(newest_first(self._client, state), size):
            for run in fitting(self._client, state, self._sight, page):
                if len(found) == limit:
                    return found, True
                found.append(run)
        return found, False

    def page(
        self, *, state: RunState | None = None, limit: int, after: str | None = None
    ) -> tuple[Sequence[Run], str | None]:
        """Return a page of the same list, and the `after` of the next page (`paging.page_of`)."""
        self._actor.require("read")
        keep = partial(fitting, self._client, state, self._sight)
        read = newest_first(self._client, state, self._sight)
        hides = not self._sight.all
        return page_of(read, keep, order="runs", limit=limit, after=after, hides=hides)

    def show(self, id: str) -> Run:
        """Return a run, request or step, with what it is waiting for. Raises NotFound."""
        self._known(id)
        return self._shown(get_run(self._client, id))

    def steps(self, id: str, most: int | None = None) -> RunTree:
        """Return the run with this id, or the run that a step belongs to, with up to `most` steps.

        Raises NotFound.
        """
        self._known(id)
        root, more = first_steps(self._client, id, most, self._sight)
        return RunTree(run=self._shown(get_run(self._client, root.promise.id)), root=root, more=more)

    def workflows(self) -> Sequence[ServedWorkflow]:
        """Return the workflows that workers serve, and those that runs have called, by name."""
        self._actor.require("read")
        return served(self._client, self._sight)

    def wait(
        self, run: Run, timeout_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> Run:
        """Return the run once it has ended. The server may restart meanwhile.

        Raises NotFound, TimedOut after `timeout_s` seconds.
        """
        self._known(run.id)

        def look() -> Run | None:
            found = run_of(known(self._client, run.id))
            return found if found.ended else None

        if run.ended:
            return self._shown(run)
        ended = wait_until(self._client, look, timeout_s=timeout_s, clock=clock)
        if ended is None:
            raise still_open(run, self._client)
        return self._shown(ended)

    def to_cancel(self, id: str) -> Run:
        """Return the current state of the run that `cancel` would cancel. Raises NotFound."""
        self._cancelable(id)
        return self._shown(get_run(self._client, id))

    def cancel(self, id: str, reason: str | None = None) -> Canceled:
        """Cancel a run and what it is waiting for, or a standalone request.

        Raises NotFound, Conflict (it has already ended), TimedOut (its deadline has passed).
        """
        promise = self._cancelable(id)
        alone = promise.is_blocking and promise.origin == promise.id
        if not (promise.is_run or alone):
            raise NotFound(f"{id} is not a run but a step of {promise.origin}.")
        audit = Audit(id=fresh_id(), by=self._actor.person, via=self._actor.via, at=self._client.now())
        value = error_value(reason or "canceled", audit.headers())
        settled = send(self._client, cancel_request(id, value))
        run = run_of(settled)
        if settled.state == "rejected_timedout":
            raise TimedOut(
                f"{id} cannot be canceled: its deadline passed {iso(run.deadline)}.", at=run.deadline
            )
        if run.state != "canceled":
            ended = f"was already {OUTCOMES[settled.state]}" if alone else f"has already {run.state}"
            raise Conflict(f"{id} {ended}. Nothing was changed.", code="already-ended")
        below = search(self._client, state="pending", tags={ORIGIN_TAG: id})
        callback = callback_of(id).id  # it posts the cancellation
        over = [
            p.id
            for p in below
            if (p.is_blocking or p.is_call or p.is_timer)
            and not (p.id == callback or p.id.startswith(f"{callback}."))
        ]
        self._client.call_many([cancel_request(id, value) for id in over])
        return Canceled(run=run, fresh=audit_of(settled).id == audit.id)

    def _known(self, id: str) -> None:
        """Check that the actor may see a run, request or step. Raises NotAllowed, NotFound."""
        self._actor.require("read", "start")
        if not self._sight.all:
            self._seen(id, self._sight)

    def _shown(self, run: Run) -> Run:
        """Return a run, request or step, without its result if the actor may not see that."""
        if run.kind == "run" or run.result is None:
            return run
        promise = known(self._client, run.id)
        root = get_promise(self._client, promise.origin)
        below = search(self._client, tags={ORIGIN_TAG: promise.origin})
        lineage = {one.id: one for one in self._sight.lineage(root, [*below, promise])}
        kept = lineage.get(run.id)
        return replace(run, result=None if kept is None else run_of(kept).result)

    def _cancelable(self, id: str) -> Promise:
        """Return the promise of a run or request that the actor may cancel. Raises NotAllowed, NotFound.

        An actor who may only ask can cancel a standalone request of their own, as with `Inbox.withdraw`.
        """
        self._actor.require("start", "ask")
        promise = self._seen(id, Sight(self._actor, acting="start"))
        asker = asker_of(promise, None) if promise.is_blocking and promise.origin == promise.id else None
        if asker is None or not self._actor.groups.same(self._actor.person, asker):
            self._actor.require("start")
        return promise

    def _seen(self, id: str, sight: Sight) -> Promise:
        promise = known(self._client, id)
        if not sight.among(self._client, [promise]):
            raise no_run(id)
        return promise

    def _started_or_conflict(self, spec: RunSpec, mark: str, promise: Promise) -> Started | Conflict:
        """Return the run if its promise has the requested call, otherwise a Conflict."""
        call = promise.call
        if call is not None and same_json(call, spec.call()):
            created = headers_of(promise.param).get("hitl:start") == mark
            return Started(run=run_of(promise), created=created)
        if self._sight.among(self._client, [promise]):
            why = f"already exists as {_shown(promise)}, not {show_call(spec.call())}"
            hint = f"`{command('status', [spec.id])}` shows it."
        else:
            why, hint = "is taken: use another id", ""
        return Conflict(f"{spec.id} {why}. Nothing was changed.", code="already-exists", hint=hint)


def still_open(run: Run, client: Client) -> TimedOut:
    """Return the error for a run that has not ended in time. It says if no worker serves its group."""
    if (idle := no_worker(client, run.group)) is not None:
        open_still = f"has not finished yet. {idle}."
    elif run.kind == "request":
        open_still = "is still open."
    else:
        open_still = "has not finished yet, and continues."
    return TimedOut(
        f"{run.kind} {run.id} {open_still} To wait again, run `{command('wait', [run.id])}`.",
        code="timed-out",
    )


def _shown(promise: Promise) -> str:
    """Return a description of the promise that has the id of a new run, for a message."""
    if not promise.is_blocking:
        return show_call(promise.call)
    asker = headers_of(promise.param).get("hitl:by")
    return f"a request of {asker}" if asker else "a request"
