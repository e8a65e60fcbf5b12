"""A worker: creates the SDK's client, registers workflows, and executes runs until it is stopped."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace
from resonate.error import PlatformError, Suspended

from hitl_cli import defaults
from hitl_cli.authoring.loaded_code import loaded_code
from hitl_cli.builtin import WORKFLOWS
from hitl_cli.client.connect import connect
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.tags import CALL_BACK, DIGEST, INTERNAL_FUNCTIONS, TAKE_BACK, TELL
from hitl_cli.client.wire import Call, decode_as, offered_task
from hitl_cli.engine.server import encode_request
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import Unreachable
from hitl_cli.metrics.options import MetricsOptions
from hitl_cli.notify.deliver import Notifier, tell
from hitl_cli.notify.digest_workflow import digest
from hitl_cli.notify.reconcile import Reconciler
from hitl_cli.notify.taking_back import take_back
from hitl_cli.people.contacts import Directory, NotificationSettings
from hitl_cli.runs.run import address_of
from hitl_cli.sdk import suspension
from hitl_cli.sdk.failures import failure_of
from hitl_cli.sdk.heartbeat import LeaseHeartbeat, executing
from hitl_cli.sdk.observer import Event, ObservedTasks
from hitl_cli.sdk.resonate_client import Registering, log_failures, pause
from hitl_cli.sdk.worker_link import WorkerTerms, worker_link
from hitl_cli.worker.callbacks import call_back
from hitl_cli.worker.housekeeping import COUNT_EVERY_S, Housekeeper
from hitl_cli.worker.loader import register_app

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import FrameType, ModuleType

    from hitl_cli.engine.records import Value
    from hitl_cli.notify.status import DeliveryAttempt
    from hitl_cli.sdk.worker_link import WorkerLink

logger = logging.getLogger(__name__)

LEASE_MS = 15_000
"""How long until other workers take over the tasks of a worker that died."""

CONCURRENCY = 64
"""Executions at a time. A run that waits for a person is not counted."""

NOTIFYING = 4
"""One execution in this many may wait for the same server to accept a message."""

GRACE_S = 10.0
"""How long steps in progress may take once the worker is asked to stop."""


class WorkerOptions(Struct, frozen=True, kw_only=True):
    """The options of a worker; durations in ms unless the name ends in `_s`.

    `grace_s` is how long steps in progress may take once it is stopped, and `sleep` waits before a retry.
    `exit_when_lost_s` is how long its server may be unreachable before it ends; None to wait without limit.
    `metrics` is where to serve them.
    """

    server: str
    token: str | None = None
    group: str = defaults.GROUP
    apps: Sequence[str] = ()
    concurrency: int = CONCURRENCY
    lease_ms: int = LEASE_MS
    count_every_s: float = COUNT_EVERY_S
    reach: NotificationSettings = NotificationSettings(directory=Directory())
    grace_s: float = GRACE_S
    exit_when_lost_s: float | None = None
    metrics: MetricsOptions | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Serving(Struct, frozen=True, kw_only=True):
    """The workflows that a worker serves, once it is ready."""

    server: str
    group: str
    pid: str
    workflows: tuple[str, ...]
    metrics: str | None = None


DELIVERING = frozenset({TELL, DIGEST})
"""The functions that wait for a worker whose settings have a contact. Settings change while it runs."""


class Worker:
    """One worker. `run` returns once it was stopped and has released everything."""

    def __init__(
        self,
        options: WorkerOptions,
        report: Callable[[Event], None],
        noted: Callable[[DeliveryAttempt], None] = lambda _: None,
    ) -> None:
        """Create the worker; `report` gets the events of its runs. Nothing is opened yet.

        `noted` gets each attempt to send a message.
        """
        self._noted = noted
        self._options = options
        self._report = report
        self._pid = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._taken: set[str] = set()
        self._unknown: set[str] = set()
        self._idle = asyncio.Event()
        self._stop = asyncio.Event()
        self._ended_by = ""
        open_client = partial(connect, options.server, options.token)
        self._heartbeat = LeaseHeartbeat(open_client, self._pid, options.lease_ms / 1_000, self._let_go)
        self._clients = ClientPool(open_client, threads=1)
        target = address_of(options.group)
        self._open_client = open_client
        self._notifier: Notifier
        self._housekeeper = Housekeeper(
            open_client,
            lambda: options.reach.now,
            options.count_every_s,
            Reconciler(options.reach, target),
        )
        self._link: WorkerLink | None = None
        self._tasks: ObservedTasks
        self._resonate: Registering | None = None

    async def run(
        self, modules: Sequence[tuple[str, ModuleType]], serving: Callable[[Serving], None]
    ) -> None:
        """Serve the modules of apps until stopped; `serving` is called once the worker is ready.

        Raises BadInput, Unreachable.
        """
        options = self._options
        self._loop = asyncio.get_running_loop()
        self._loop.set_task_factory(self._contained)
        suspension.install(self._loop)
        self._link = worker_link(
            options.server,
            options.token,
            WorkerTerms(
                group=options.group,
                pid=self._pid,
                room=self._room,
                served=self._served,
                wants=self._wants,
                left=lambda: self._tasks.left,
                ended=self.end,
                lease_ms=options.lease_ms,
            ),
        )
        self._notifier = Notifier(
            options.reach,
            address_of(options.group),
            self._open_client,
            max(options.concurrency // NOTIFYING, 1),
            self._link.client,
            self._noted,
        )
        self._link.source.recv(self._note_message)
        self._resonate = Registering(
            network=self._link.network,
            sources=[self._link.source],
            group=options.group,
            pid=self._pid,
            ttl=timedelta(milliseconds=options.lease_ms),
            token=options.token,
            heartbeat=self._heartbeat,
            clock=self._link.now,
            max_concurrent_tasks=options.concurrency,
            env={},
            observer=log_failures,
            sleeper=lambda delay_s: pause(delay_s, self._tasks.note_retry, options.sleep),
            autostart=False,
        )
        now = self._link.now
        self._tasks = self._resonate.watch(
            self._link.tasks,
            lambda tasks: ObservedTasks(tasks, self._report, self._let_go, now, address_of(options.group)),
        )
        try:
            self._resonate.with_dependency(options.reach)
            self._resonate.with_dependency(self._clients)
            code = loaded_code(module for _, module in modules)
            self._resonate.with_dependency(code)
            self._resonate.know_code(code.of)
            workflows = self._register(self._resonate, modules)
            self._link.announce(workflows)
            self._resonate.start()
            await asyncio.sleep(0)  # so that the worker listens before it reports that it is ready
            self._housekeeper.start()
            serving(Serving(server=self._link.name, group=options.group, pid=self._pid, workflows=workflows))
            await self._stop.wait()
            if self._ended_by:
                await self._link.source.stop()
                raise Unreachable(self._ended_by)
            await self._wind_down()
        finally:
            self._housekeeper.stop()
            self._clients.close()
            await self._notifier.close()
            self._heartbeat.shutdown()
            self._link.close()

    async def taken(self) -> frozenset[str]:
        """Return the tasks in progress, after taking those that are due now."""
        assert self._link is not None
        look = encode_request("promise.get", {"id": "hitl"}).decode()
        await self._link.network.send(look)  # due tasks are handed over in the same batch
        return frozenset(self._taken)

    def stop(self) -> None:
        """Take no more tasks, let steps in progress finish, and return. Safe in a signal handler."""
        self._loop.call_soon_threadsafe(self._stop.set)

    @property
    def executing(self) -> int:
        """How many runs are executed now."""
        return len(self._taken)

    def end(self, why: str) -> None:
        """Stop at once: the server is lost, and other workers take over the tasks."""
        self._ended_by = why
        self._stop.set()

    def _register(self, resonate: Registering, modules: Sequence[tuple[str, ModuleType]]) -> tuple[str, ...]:
        register_workflows(resonate, modules)
        resonate.register(take_back, name=TAKE_BACK)
        resonate.with_dependency(self._notifier)
        resonate.register(tell, name=TELL)
        resonate.register(digest, name=DIGEST)
        resonate.register(call_back, name=CALL_BACK)
        return tuple(sorted({name for name, _ in resonate.served} - INTERNAL_FUNCTIONS))

    def _room(self, ended: int) -> int:
        return 0 if self._stop.is_set() else self._options.concurrency - len(self._taken) + ended

    def _served(self) -> list[tuple[str, int]]:
        """Return the functions that this worker can run now, with their versions."""
        return [each for each in self._resonate.served if self._serves(*each)] if self._resonate else []

    def _serves(self, name: str, version: int) -> bool:
        """Whether this worker can run a function now."""
        assert self._resonate is not None
        if (name, version) not in self._resonate.served:
            return False
        if name == CALL_BACK:
            return self._options.reach.now.callbacks.names_hosts
        return name not in DELIVERING or self._options.reach.now.reaches_somebody

    def _wants(self, id: str, param: Value) -> bool:
        """Whether this worker serves the function of a task, and did not leave the task to newer code.

        An unreadable call is left to the SDK to refuse.
        """
        if id in self._tasks.left:
            return False
        call = decode_as(param, Call)
        if call is None:
            return True
        if self._serves(call.func, call.version):
            return True
        if call.func not in self._unknown:
            self._unknown.add(call.func)
            self._report(Event("unknown", id, now_ms(), function=call.func))
        return False

    def _note_message(self, text: str) -> None:
        if (id := offered_task(text)) is not None:
            self._taken.add(id)
            self._idle.clear()

    def _let_go(self, task_id: str) -> None:
        """Record that a task is done or released, which makes room for another."""
        if task_id not in self._taken:
            return
        full = len(self._taken) == self._options.concurrency
        self._taken.discard(task_id)
        if full and self._link is not None:
            self._link.poke()
        if not self._taken:
            self._idle.set()

    def _contained[T](
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
    ) -> asyncio.Task[T]:
        """Return a task in which an exception such as SystemExit ends only the run that raises it.

        The SDK only handles subclasses of Exception. Ctrl-C has a signal handler and never raises here.
        """
        is_eager = options.get("eager_start", False)  # from Python 3.14 on

        async def run() -> T:
            try:
                return await (suspension.adopted_at_start(coro) if is_eager else coro)
            except Suspended as signal:  # from now on the task refers to it
                suspension.note_signal(signal)
                raise
            except (Exception, asyncio.CancelledError, PlatformError):
                raise
            except BaseException as error:
                if not _executes(asyncio.current_task(loop), inspect.currentframe()):
                    raise  # GeneratorExit: Python deletes a task that nothing refers to
                raise await self._refused(error) from error

        task = asyncio.Task(run(), loop=loop, **options)
        if not is_eager:
            suspension.adopt(task, coro)
        if inspect.iscoroutine(coro):  # if the task is canceled first, nothing else ends it
            task.add_done_callback(lambda _: coro.close())
        return task

    async def _refused(self, error: BaseException) -> _EndRefusedError:
        """Fail the run whose code raised an exception that would end the process."""
        failure = failure_of(error)
        if isinstance(error, SystemExit):
            reason = f"sys.exit({error.code!r}) was called in a workflow"
            failure = replace(failure, message=reason, type=None)
        if (held := executing.get(None)) is not None:
            await self._tasks.fail(*held, failure)
        return _EndRefusedError(failure.message)

    async def _wind_down(self) -> None:
        """Let steps in progress finish, release the rest, and stop the SDK's client."""
        assert self._link is not None
        assert self._resonate is not None
        await self._link.source.stop()
        if self._taken:
            try:
                async with asyncio.timeout(self._options.grace_s):
                    await self._idle.wait()
            except TimeoutError:
                await asyncio.to_thread(self.give_back)
                return
        await self._resonate.stop()

    def give_back(self) -> None:
        """Release the remaining tasks. It blocks, so do not call it in the event loop."""
        self._heartbeat.give_back()


def register_workflows(resonate: Registering, modules: Sequence[tuple[str, ModuleType]]) -> None:
    """Register the workflows of apps, and built-in ones whose names no app uses."""
    for app, module in modules:
        register_app(app, module, resonate)
    for name, function in WORKFLOWS.items():
        if (name, 1) not in resonate.served:
            resonate.register(function, name=name)


class _EndRefusedError(Exception):
    """A workflow or a step raised an exception that would end the process, such as SystemExit."""


def _executes(task: asyncio.Task[Any] | None, frame: FrameType | None) -> bool:
    """Whether a frame is the outermost one of a task's coroutine."""
    return task is not None and getattr(task.get_coro(), "cr_frame", None) is frame
