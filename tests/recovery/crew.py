"""Workers that ask, with a clock that the test moves, and their messages to the assignees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hitl_cli import defaults
from hitl_cli.inbox.pending import pending
from hitl_cli.people.actor import Actor
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.acting import Answer, approval, decide, rejection
from tests.conftest import APPS, PATIENCE_S, wait_until
from tests.recovery.deaths import work_and_die_at
from tests.recovery.processes import start, work
from tests.recovery.storm import redirect
from tests.servers import moved_clock
from tests.worker.watching import promise_of, result_of, waiting

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.inbox.request_summary import RequestSummary
    from tests.conftest import Hitl

ASKS = str(APPS / "asks.py")
LEASE_MS = 15_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class Crew:
    """Workers of `tests/apps/asks.py`, a client, and the clock of all of them."""

    def __init__(self, hitl: Hitl, app: str = ASKS, **told: Any) -> None:
        self.hitl = hitl
        self.told = told
        """What workers that are started from now on are told besides (WorkerOptions)."""
        self.clock = moved_clock(hitl)
        self.client: Client = hitl.client(self.clock)
        self.ahead_ms = 0
        self._app = app
        self._workers: list[BaseProcess] = []
        self._said, self._complained = hitl.folder / "workers.out", hitl.folder / "workers.err"

    def worker(self, dies_at: int | None = None) -> BaseProcess:
        """Start a worker; it is killed before it makes its request of that number, if one is given."""
        args: tuple[Any, ...] = (self.hitl.url, self._app, LEASE_MS, {}, self.clock)
        more = (defaults.GROUP, None, self.told)
        self._workers.append(start(work_recorded, self._said, self._complained, dies_at, (*args, *more)))
        return self._workers[-1]

    def is_dead(self) -> bool:
        """Whether the worker that was started last has died."""
        return not self._workers[-1].is_alive()

    def later(self, ms: int) -> None:
        """Move the clock on."""
        self.ahead_ms += ms
        self.clock.move(self.ahead_ms)

    def begin(
        self, id: str, workflow: str, *args: object, by: str | None = None, deadline_ms: int = 365 * DAY_MS
    ) -> None:
        """Start a run."""
        spec = RunSpec(id=id, workflow=workflow, args=list(args))
        Runs(self.client, Actor(person=by or "", via="test")).start(spec, deadline_ms=deadline_ms)

    def ask(self, id: str = "r", by: str | None = None, **options: object) -> str:
        """Start a run that asks with these options, wait until it does, and return the request's id."""
        self.begin(id, "asks", {"prompt": "Well?", **options}, by=by)
        return self.asked()

    def asked(self) -> str:
        """Wait until exactly one request is open and all workers are idle, and return its id."""
        return waiting(self.client)[0]

    def pending(self) -> list[RequestSummary]:
        """Return what waits now."""
        return pending(self.client)[0]

    def promise(self, id: str) -> Promise:
        """Return a promise that exists."""
        return promise_of(self.client, id)

    def approve(self, id: str, by: str = "ada", **options: Any) -> DecisionResult:
        """Approve as a person."""
        return self.decide(id, approval(by=by, via="test", **options))

    def reject(self, id: str, by: str = "ada", **options: Any) -> DecisionResult:
        """Reject as a person."""
        return self.decide(id, rejection(by=by, via="test", **options))

    def decide(self, id: str, answer: Answer) -> DecisionResult:
        """Answer."""
        return decide(self.client, id, answer)

    def result(self, id: str = "r") -> Any:
        """Wait until a run has completed, and return its result."""
        return result_of(self.client, id)

    def said(self) -> list[str]:
        """Return the lines that the workers have printed so far."""
        return self._said.read_text().splitlines() if self._said.exists() else []

    def complaints(self) -> str:
        """Return what the workers have complained about so far."""
        return self._complained.read_text() if self._complained.exists() else ""

    def said_in_all(self, count: int) -> list[str]:
        """Wait until so many lines have been printed and nobody works, and return them; there are no more."""
        wait_until(lambda: self.pending() and len(self.said()) >= count)  # looking, it fires what is due
        waiting(self.client)
        assert len(self.said()) == count
        return self.said()

    def kill(self) -> None:
        """Kill all workers."""
        for one in self._workers:
            one.kill()
            one.join()
        self._workers.clear()

    def close(self) -> None:
        """End all; for `make coverage` so that they can tell what they have run."""
        if "COVERAGE_FILE" in os.environ:
            for one in self._workers:
                one.terminate()
            for one in self._workers:
                one.join(PATIENCE_S / 3)
        self.kill()
        self.client.close()


def work_recorded(said: Path, complained: Path, dies_at: int | None, args: tuple[Any, ...]) -> None:
    """Be a worker whose words go to two files."""
    redirect(1, said)
    redirect(2, complained)
    if dies_at is None:
        work(*args)
    else:
        work_and_die_at(dies_at, *args)
