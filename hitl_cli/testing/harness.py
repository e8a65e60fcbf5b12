"""`hitl_test`: workflows, people and a clock in one test."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from hitl_cli.client.connect import file_url
from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.engine.server import Server
from hitl_cli.engine.wall_clock import now_ms, set_clock
from hitl_cli.errors import RunFailed
from hitl_cli.format.durations import Duration, duration_ms
from hitl_cli.inbox.deadlines import DueRequests, due_requests
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.permission import may_answer
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory, GroupContact, NotificationSettings
from hitl_cli.python_api.backend import Wanted
from hitl_cli.runs.run import RunSpec
from hitl_cli.testing.person import VIA, Person, Rule
from hitl_cli.testing.test_backend import AsyncTestHitl, TestBackend, TestHitl
from hitl_cli.testing.test_keys import TestKeys
from hitl_cli.testing.worker_thread import WorkerThread, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    from hitl_cli.inbox import Inbox
    from hitl_cli.python_api.hitl import AsyncHitl, Hitl
    from hitl_cli.views.pending import RequestSummaryDocument

ASKER = "tester"
"""The person who asks and starts runs in a test."""

IN_MEMORY = "/dev/shm"  # noqa: S108 - each test has a folder of its own in it
"""A folder in memory on Linux, where a sync costs nothing."""

SPACE = 100_000_000
"""Bytes that must be free there; otherwise the database is on the disk. Containers may have little."""

PATIENCE_S = 30.0
"""How long a step may run, in real time, before the test fails."""


class TestedRun:
    """A run of a workflow in a test."""

    __test__ = False  # for pytest

    def __init__(self, id: str, backend: TestBackend, worker: WorkerThread) -> None:
        self.id = id
        self._backend = backend
        self._worker = worker

    def result(self) -> Any:
        """Return the result of the run, as JSON.

        Raises StillWaiting if it waits for something that must first happen; RunFailed if it failed, with the
        traceback as a note.
        """
        run = self._backend.ended(self.id, None)
        assert run is not None
        if run.state == "completed":
            return run.result
        error = RunFailed(f"the run {self.id} {run.state}: {run.error}")
        if (traceback := self._worker.traceback(self.id)) is not None:
            error.add_note(traceback)
        raise error

    def ended(self) -> bool:
        """Whether the run has ended: completed, failed, canceled or expired."""
        return self._backend.ended(self.id, 0.0) is not None


class HitlTest:
    """A test's workflows, people and clock: the result of `hitl_test`.

    - `client`, `async_client`: a `Hitl` and an `AsyncHitl` for code under test. A wait without a timeout does
      not block: it raises StillWaiting if the request is still open.
    - `server`: the URL of the database, for `hitl -S` or HITL_SERVER.
    """

    def __init__(
        self,
        server: str,
        workflows: Sequence[Callable[..., Any] | ModuleType],
        directory: Directory,
        keys: TestKeys | None = None,
    ) -> None:
        self.server = server
        self._keys = keys
        self._groups = directory.members
        self._rules: list[Rule] = []
        self._answered: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        self._started = 0
        self._engine = Server(Path(server.removeprefix("sqlite:///")))
        self._worker = WorkerThread(server, workflows, NotificationSettings(directory=directory))
        actor = Actor(person=ASKER, via=VIA, groups=self._groups)
        self._backend = TestBackend(server, actor, self._settle, lambda: self._worker.retries)
        self.client: Hitl = TestHitl(self._backend)
        self.async_client: AsyncHitl = AsyncTestHitl(self._backend)

    def start(
        self,
        workflow: str | Callable[..., Any],
        *args: Any,
        id: str | None = None,
        deadline: Duration | None = None,
        **kwargs: Any,
    ) -> TestedRun:
        """Start a run of a workflow, and return it once it waits or has ended.

        `deadline` is how long the run may take (default: 365 days). Raises LookupError, BadInput, Conflict.
        """
        name = name_of(workflow)
        if name not in self._worker.served:
            raise LookupError(f"no workflow {name!r}: hitl_test serves {', '.join(self._worker.served)}.")
        self._started += 1
        spec = RunSpec(id=id or f"run-{self._started}", workflow=name, args=list(args), kwargs=kwargs)
        life_ms = DEADLINE_MS if deadline is None else duration_ms(deadline)
        self._backend.start(spec, None, life_ms)
        return TestedRun(spec.id, self._backend, self._worker)

    def person(self, name: str) -> Person:
        """Return a person who answers requests."""
        return Person(name, self._groups, self._inbox, self._rules, self._keys)

    def pending(self) -> Sequence[RequestSummaryDocument]:
        """Return the open requests, oldest first."""
        return self._backend.pending(Wanted())

    def decided(self) -> Sequence[str]:
        """Return the ids of the decided requests, in the order of the decisions."""
        self._settle()
        found = self._backend.inbox().decisions(HistoryFilter())
        return [entry.id for entry in found][::-1]

    @property
    def now(self) -> int:
        """The time of the test's clock, in ms since the epoch. It moves only by `advance`."""
        return now_ms()

    def advance(self, duration: Duration) -> None:
        """Move the clock forward, and let everything happen that is due on the way, in order.

        Deadlines pass, `ctx.sleep` ends, reminders and escalations are sent, failed steps are retried.
        """
        end = now_ms() + duration_ms(duration)
        self._settle()
        while (due := self._next_due()) <= end:
            set_clock(max(due, now_ms()))
            self._settle()
        set_clock(end)
        self._settle()

    def close(self) -> None:
        """Stop the worker. `hitl_test` calls it."""
        self._worker.stop()
        self._backend.close()
        self._engine.close()

    def _inbox(self, actor: Actor) -> Inbox:
        self._settle()
        return self._backend.inbox(actor)

    def _next_due(self) -> int:
        """Return when something is due next, after firing what is due now; ms since the epoch."""
        while (due := self._engine.run_batch([]).due) <= now_ms():
            pass
        moved = [at for at, _ in due_requests(self._backend.client())]
        return min([due, *(retry.at for retry in self._worker.retries), *moved])

    def _settle(self) -> None:
        """Run everything that can run now, and apply the rules of people."""
        with self._lock:
            while True:
                self._next_due()
                self._worker.retry_due()
                DueRequests().look(self._backend.client())
                self._worker.settle(PATIENCE_S)
                if not self._answer():
                    return

    def _answer(self) -> bool:
        """Answer one open request by a rule, and return whether there was one."""
        if not self._rules:
            return False
        opened, _ = self._backend.inbox().list()
        for item in opened:
            for rule in self._rules:
                name = rule.person.name
                fits = rule.left != 0 and (name, item.id) not in self._answered and rule.wanted.fits(item)
                if fits and may_answer(item, name, self._groups):
                    self._answered.add((name, item.id))
                    rule.left = None if rule.left is None else rule.left - 1
                    rule.person.decide(self._backend.inbox(rule.person.actor), item, rule.said)
                    return True
        return False


@contextmanager
def hitl_test(
    *workflows: Callable[..., Any] | ModuleType, groups: Mapping[str, Sequence[str]] | None = None
) -> Iterator[HitlTest]:
    """Run workflows in a test, with a temporary database and a clock of its own. No worker is needed.

        def test_an_approved_deploy_completes():
            with hitl_test(deploy) as hitl:
                run = hitl.start(deploy, "1.4.2")
                hitl.person("reviewer").approve("Deploy")
                assert run.result() == "deployed 1.4.2"

    `workflows` are functions, or modules with functions marked by `@workflow`; the built-in workflows are
    included. `groups` has the members of each group. Settings files are not read, and no notifications are
    sent. People sign if `proof="signed"` demands it; a request that needs a passkey cannot be approved in a
    test.

    The clock stands still until `advance` moves it. It is the clock of hitl in this process, not of the
    modules `time` and `datetime`.
    """
    directory = Directory(
        groups={name: GroupContact(members=tuple(of)) for name, of in (groups or {}).items()}
    )
    keys = TestKeys()
    directory.__dict__["members"] = replace(directory.members, ssh=keys)  # a cached property
    with tempfile.TemporaryDirectory(prefix="hitl-", dir=_memory(), ignore_cleanup_errors=True) as folder:
        set_clock(now_ms())
        try:
            hitl = HitlTest(file_url(Path(folder) / "test.db"), workflows, directory, keys)
            try:
                yield hitl
            finally:
                hitl.close()
                keys.close()
        finally:
            set_clock(None)


def _memory() -> str | None:
    """Return a folder in memory, if there is one with enough space."""
    usable = os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > SPACE
    return IN_MEMORY if usable else None
