"""`Runs` at a gateway. Permissions and rules are checked there."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from hitl_cli import defaults
from hitl_cli.client.waiting import wait_until
from hitl_cli.errors import Conflict
from hitl_cli.remote.calls import Begun, Cancel, Named, Nothing, Page, StartRuns, Steps, WantedRuns
from hitl_cli.remote.client import read_pages
from hitl_cli.runs.run import Canceled, Run
from hitl_cli.runs.runs import Runs, still_open
from hitl_cli.runs.steps import RunTree
from hitl_cli.runs.workflows import ServedWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.people.idempotency import IdempotencyMark
    from hitl_cli.remote.client import RemoteClient
    from hitl_cli.runs.run import RunSpec, RunState, Started

BATCH = 100
"""Runs to start with one request."""


class RemoteRuns(Runs):
    """The runs at a gateway, for the person who has signed in there. See Runs for each method."""

    def __init__(self, client: RemoteClient) -> None:
        self._remote = client
        super().__init__(client, client.me)

    def start(
        self,
        spec: RunSpec,
        *,
        group: str = defaults.GROUP,
        deadline_ms: int = defaults.DEADLINE_MS,
        mark: IdempotencyMark | None = None,  # noqa: ARG002 - to repeat a start finds the run
    ) -> Started:
        """Start a run, or return the existing one with the same call."""
        [started] = self.start_many([spec], group=group, deadline_ms=deadline_ms)
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
        found: list[Started | Conflict] = []
        for at in range(0, len(specs), BATCH):
            batch = StartRuns(specs=list(specs[at : at + BATCH]), group=group, deadline_ms=deadline_ms)
            found += map(_begun, self._remote.ask("start", batch, list[Begun]))
        return found

    def list(self, *, state: RunState | None = None, limit: int | None = None) -> tuple[Sequence[Run], bool]:
        """Return the newest runs first, and whether there are more than `limit`."""
        return read_pages(partial(self.page, state=state), limit)

    def page(
        self, *, state: RunState | None = None, limit: int, after: str | None = None
    ) -> tuple[Sequence[Run], str | None]:
        """Return a page of the same list, and the `after` of the next page."""
        page = self._remote.ask("runs", WantedRuns(state=state, limit=limit, after=after), Page[Run])
        return page.items, page.next

    def show(self, id: str) -> Run:
        """Return a run, request or step, with what it is waiting for."""
        return self._remote.ask("run", Named(name=id), Run)

    def steps(self, id: str, most: int | None = None) -> RunTree:
        """Return the run with this id, or the run that a step belongs to."""
        return self._remote.ask("steps", Steps(name=id, most=most), RunTree)

    def workflows(self) -> Sequence[ServedWorkflow]:
        """Return the workflows that workers serve, and those that runs have called, by name."""
        return self._remote.ask("workflows", Nothing(), list[ServedWorkflow])

    def wait(
        self, run: Run, timeout_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> Run:
        """Return the run once it has ended."""

        def look() -> Run | None:
            found = self.show(run.id)
            return found if found.ended else None

        ended = run if run.ended else wait_until(self._client, look, timeout_s=timeout_s, clock=clock)
        if ended is None:
            raise still_open(run, self._client)
        return ended

    def cancel(self, id: str, reason: str | None = None) -> Canceled:
        """Cancel a run and what it is waiting for, or a standalone request."""
        return self._remote.ask("cancel", Cancel(name=id, reason=reason), Canceled)


def _begun(one: Begun) -> Started | Conflict:
    if one.started is not None:
        return one.started
    return Conflict(one.conflict, code=one.code, hint=one.hint)
