"""The metrics of a worker. Each event happens at one worker: sum over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from hitl_cli import plugins
from hitl_cli.metrics.options import NONE, Label
from hitl_cli.metrics.process import ProcessMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hitl_cli.notify.status import DeliveryAttempt
    from hitl_cli.sdk.observer import Event
    from hitl_cli.settings import MetricsSettings


STATES = ("started", "resumed", "waiting", "completed", "failed", "lost")

OUTCOMES = ("sent", "failed", "failed_for_good")

NOT_SERVED = "(not served)"
"""The workflow of runs that a worker cannot execute."""


class WorkerMetrics(ProcessMetrics):
    """Counts what a worker does."""

    def __init__(
        self, settings: MetricsSettings, up: Callable[[], bool], executing: Callable[[], int], most: int
    ) -> None:
        """Create the counters; `executing` says how many runs are executed now, of `most`."""
        super().__init__("worker", up)
        self._runs = Counter(
            "hitl_runs",
            "What happened to runs: started, resumed, waiting, completed, failed, lost or unknown.",
            ["workflow", "state"],
            registry=self.registry,
        )
        self._retries = Counter(
            "hitl_step_retries",
            "Failed attempts of steps that are retried, by function.",
            ["function"],
            registry=self.registry,
        )
        self._notifications = Counter(
            "hitl_notifications",
            "Messages by channel: sent, failed (tried again) or failed_for_good.",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.gauge("hitl_runs_executing", "Runs that are being executed.", executing)
        self.gauge("hitl_runs_executing_max", "Maximum number of runs executed at a time.", lambda: most)
        self._workflow = Label(settings.workflows, settings.most)
        self._function = Label(("*",), settings.most)
        self._channel = Label(("*",), settings.most)
        for channel in sorted(plugins.every("hitl.channels")):
            for outcome in OUTCOMES:
                self._notifications.labels(self._channel(channel), outcome)
        self._counts: dict[tuple[str, str | None], Callable[[], None]] = {}

    def serve(self, workflows: Iterable[str]) -> None:
        """Begin the series of the served workflows at 0: Prometheus does not see a first 1 as an increase."""
        self._runs.labels(NOT_SERVED, "unknown")
        for workflow in workflows:
            for state in STATES:
                self._runs.labels(self._workflow(workflow), state)

    def event(self, event: Event) -> None:
        """Count an event of a run."""
        count = self._counts.get((event.event, event.function))
        if count is None:
            if event.event == "retrying":
                count = self._retries.labels(self._function(event.function)).inc
            else:
                known = event.event != "unknown"  # the name of a run's workflow may be anything
                workflow = self._workflow(event.function) if known else NOT_SERVED
                count = self._runs.labels(workflow, event.event).inc
            if event.event != "unknown":
                self._counts[event.event, event.function] = count
        count()

    def notification(self, attempt: DeliveryAttempt) -> None:
        """Count an attempt to send a message."""
        if attempt.outcome == "over":
            return
        outcome = "failed_for_good" if attempt.outcome == "failed" and attempt.for_good else attempt.outcome
        channel = NONE if attempt.channel is None else self._channel(attempt.channel)
        self._notifications.labels(channel, outcome).inc()
