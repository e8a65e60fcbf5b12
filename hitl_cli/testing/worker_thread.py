"""A worker in a thread of the test's process, whose retries wait for the test's clock."""

from __future__ import annotations

import asyncio
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.authoring.workflow import MARK
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.sdk.heartbeat import executing
from hitl_cli.worker.run import Worker, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.people.contacts import NotificationSettings
    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.run import Serving

LOOK_S = 0.001
"""How often to check whether the worker is idle."""

FOREVER_MS = 10**13
"""The lease of the only worker: moving the clock must not end it."""


class Retry(Struct, frozen=True):
    """A failed step that is retried at an instant, in ms since the epoch."""

    run: str
    at: int
    error: str
    traceback: str | None
    again: asyncio.Future[None]


class WorkerThread:
    """Runs workflows in a thread. Methods may be called from any other thread."""

    def __init__(
        self, server: str, workflows: Sequence[Callable[..., Any] | ModuleType], reach: NotificationSettings
    ) -> None:
        """Serve functions and modules on a server. Raises what the worker raises when it starts."""
        self.retries: list[Retry] = []
        self.served: tuple[str, ...] = ()
        self._modules = [_module_of(each) for each in workflows]
        self._busy: frozenset[str] = frozenset()
        self._failed: dict[str, Event] = {}
        self._ended: BaseException | None = None
        self._ready = threading.Event()
        options = WorkerOptions(
            server=server, lease_ms=FOREVER_MS, reach=reach, grace_s=0.0, sleep=self._sleep
        )
        self._worker = Worker(options, self._report)
        self._thread = threading.Thread(target=self._run, name="hitl worker", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._ended is not None:
            raise self._ended

    def settle(self, patience_s: float) -> None:
        """Return once no step is running and none is due. Raises TimeoutError after `patience_s` seconds."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("the test's methods cannot be called in a workflow or in a step of it.")
        settled = asyncio.run_coroutine_threadsafe(self._settled(), self._loop)
        try:
            settled.result(patience_s)
        except TimeoutError as error:
            busy = ", ".join(sorted(self._busy))
            raise TimeoutError(f"{busy}: a step takes more than {patience_s:.0f} s of real time") from error
        finally:
            settled.cancel()

    def retry_due(self) -> None:
        """Retry failed steps that are due."""
        now = now_ms()
        for retry in [each for each in self.retries if each.at <= now]:
            self.retries.remove(retry)
            self._loop.call_soon_threadsafe(_wake, retry.again)

    def traceback(self, run: str) -> str | None:
        """Return the traceback of the error that failed a run."""
        event = self._failed.get(run)
        return None if event is None or event.failure is None else event.failure.traceback

    def stop(self) -> None:
        """Stop at once. Steps in progress are canceled."""
        self._worker.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._ended = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._worker.run(self._modules, self._note_served)

    def _note_served(self, serving: Serving) -> None:
        self.served = serving.workflows
        self._ready.set()

    async def _settled(self) -> None:
        looked = False
        while self._busy or not looked:
            await asyncio.sleep(LOOK_S)
            self._busy = await self._worker.taken() - {retry.run for retry in self.retries}
            looked = True

    def _report(self, event: Event) -> None:
        if event.event in ("failed", "retrying"):
            self._failed[event.workflow] = event

    async def _sleep(self, delay_s: float) -> None:
        """Wait until the test's clock has moved on."""
        run, _ = executing.get()
        event = self._failed[run]
        error, traceback = event.reason or "", self.traceback(run)
        again = self._loop.create_future()
        self.retries.append(Retry(run, now_ms() + round(delay_s * 1_000), error, traceback, again))
        await again


def _wake(again: asyncio.Future[None]) -> None:
    if not again.done():
        again.set_result(None)


def _module_of(workflow: Callable[..., Any] | ModuleType) -> tuple[str, ModuleType]:
    """Return an app with a workflow, for the worker."""
    if isinstance(workflow, ModuleType):
        return workflow.__name__, workflow
    name = name_of(workflow)
    app = ModuleType(workflow.__module__)
    app.register = lambda resonate: resonate.register(workflow, name=name)  # type: ignore[attr-defined]
    return name, app


def name_of(workflow: Callable[..., Any] | str) -> str:
    """Return the name that runs of a workflow are started with."""
    return workflow if isinstance(workflow, str) else getattr(workflow, MARK, workflow.__name__)
