"""The worker's process: loads the apps, and stops the worker on signals."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from hitl_cli.authoring.loaded_code import loaded_code
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import check_ids, get_promise
from hitl_cli.errors import Unreachable
from hitl_cli.format.durations import format_duration
from hitl_cli.sdk.resonate_client import Registering
from hitl_cli.worker.check import take_back_changed
from hitl_cli.worker.loader import load_app
from hitl_cli.worker.run import GRACE_S, register_workflows
from hitl_cli.worker.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.reload import Supervised
    from hitl_cli.worker.run import Serving, Worker, WorkerOptions
    from hitl_cli.worker.server_check import ServerCheck

LOOK_S = 1.0
"""How often to look whether the server is lost; and how long a worker that has lost it may take to end."""

COLLECT_AFTER = 50_000
"""New objects before the garbage collector checks the youngest generation."""


def run_worker(
    options: WorkerOptions,
    serving: Callable[[Serving], None],
    report: Callable[[Event], None],
    supervised: Supervised | None = None,
) -> None:
    """Run a worker until SIGINT or SIGTERM. A second signal releases its tasks and ends the process.

    If it is `supervised`, it starts once the supervisor allows it. Raises BadInput, Unreachable.
    """
    with nullcontext() if supervised is None else supervised.loading():
        modules = [(app, load_app(app)) for app in options.apps]
        if supervised is not None:
            register_workflows(Registering(group=options.group, env={}, autostart=False), modules)
    with connect(options.server, options.token) as client:
        get_promise(client, "hitl")  # the SDK would wait forever for an unreachable server
        check_ids(client)
        if modules:
            take_back_changed(client, options, modules, loaded_code(module for _, module in modules))
    spare_the_collector()
    asyncio.run(_run_worker(options, modules, serving, report))


def spare_the_collector() -> None:
    """Exclude all present objects from garbage collection, and collect less often.

    A worker creates thousands of short-lived objects a second; collecting them took a tenth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


async def _run_worker(
    options: WorkerOptions,
    modules: Sequence[tuple[str, ModuleType]],
    serving: Callable[[Serving], None],
    report: Callable[[Event], None],
) -> None:
    watching = Watching(options)
    worker = watching.worker(report)
    signaled = False

    def on_signal(_signum: int, _frame: object) -> None:
        nonlocal signaled
        if not signaled:
            signaled = True
            _end_within(worker, GRACE_S + 1)
            worker.stop()
        else:
            _end_within(worker, 0)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    watching.start()
    losing = asyncio.create_task(_end_when_lost(worker, watching.check, options.exit_when_lost_s))
    try:
        await worker.run(modules, lambda served: serving(watching.served(served)))
    finally:
        losing.cancel()
        watching.stop()


async def _end_when_lost(worker: Worker, check: ServerCheck, after_s: float | None) -> None:
    """Stop the worker once its server has been unreachable for `after_s` seconds."""
    while after_s is not None:
        await asyncio.sleep(LOOK_S)
        if check.away_s >= after_s:
            why = (
                f"the server was unreachable for {format_duration(round(check.away_s) * 1_000)}: {check.away}"
            )
            _end_within(worker, LOOK_S, Unreachable.exit_code)  # a call that waits for the server may not end
            worker.end(why)
            return


def _end_within(worker: Worker, seconds: float, code: int = 0) -> None:
    """Release the remaining tasks after a number of seconds, and end the process.

    This works even if a step blocks the event loop, and a second later even if the server does not answer.
    """

    def end() -> None:
        worker.give_back()
        os._exit(code)

    for timer in (threading.Timer(seconds, end), threading.Timer(seconds + 1, os._exit, [code])):
        timer.daemon = True
        timer.start()
