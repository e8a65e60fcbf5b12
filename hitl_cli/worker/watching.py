"""Watches a worker: checks its server, and serves its metrics if the options have an address."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.client.connect import connect
from hitl_cli.errors import cannot_listen
from hitl_cli.worker.run import Worker
from hitl_cli.worker.server_check import EVERY_S, ServerCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.metrics.listener import MetricsListener
    from hitl_cli.metrics.worker import WorkerMetrics
    from hitl_cli.sdk.observer import Event
    from hitl_cli.worker.run import Serving, WorkerOptions


LOOKS = 3
"""Least number of checks before the server counts as lost."""


class Watching:
    """Watches one worker from `start` to `stop`."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        every_s = min(EVERY_S, (options.exit_when_lost_s or EVERY_S) / LOOKS)
        self.check = ServerCheck(partial(connect, options.server, options.token), every_s)
        self._listener: MetricsListener | None = None
        self._metrics: WorkerMetrics | None = None

    def worker(self, report: Callable[[Event], None]) -> Worker:
        """Return the worker; the events that `report` gets are counted, too."""
        options = self._options
        if options.metrics is None:
            return Worker(options, report)
        from hitl_cli.metrics.listener import MetricsListener
        from hitl_cli.metrics.worker import WorkerMetrics

        def counted(event: Event) -> None:
            metrics.event(event)
            report(event)

        self._metrics = metrics = WorkerMetrics(
            options.metrics.settings,
            up=lambda: self.check.away is None,
            executing=lambda: worker.executing,
            most=options.concurrency,
        )
        metrics.watch_disk(options.server)
        worker = Worker(options, counted, metrics.notification)
        self._listener = MetricsListener(options.metrics, metrics.text, lambda: self.check.away)
        return worker

    def start(self) -> None:
        """Start. Raises BadInput if the address of the metrics cannot be used."""
        self.check.start()
        if self._listener is None or self._options.metrics is None:
            return
        try:
            self._listener.start()
        except OSError as error:
            raise cannot_listen(self._options.metrics.shown, error, "--metrics") from error

    def served(self, served: Serving) -> Serving:
        """Return the served workflows, with the address of the metrics."""
        if self._listener is None or self._metrics is None:
            return served
        self._metrics.serve(served.workflows)
        return replace(served, metrics=f"{self._listener.url}/metrics")

    def stop(self) -> None:
        """Stop."""
        self.check.stop()
        if self._listener is not None:
            self._listener.stop()
