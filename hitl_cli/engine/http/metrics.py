"""The metrics of `hitl server`, in Prometheus' format, named as in the Resonate Server where it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hitl_cli.engine.server import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = "other"
"""The label for unknown kinds of requests: clients must not be able to create labels."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "resonate_request", "Requests by kind and status.", ["kind", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "resonate_request_duration_seconds",
            "Seconds from a request's arrival to its answer, on disk.",
            ["kind"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._messages = Counter(
            "resonate_messages", "Messages sent, by kind.", ["kind"], registry=self._registry
        )
        self._deliveries = Counter(
            "resonate_deliveries",
            "Posts to http(s):// addresses, by outcome.",
            ["status"],
            registry=self._registry,
        )
        self._batches = Counter(
            "hitl_turns", "Transactions; requests that arrive together share one.", registry=self._registry
        )
        self._requests_of: dict[tuple[str, int], Callable[[], None]] = {}
        self._seconds_of = {kind: self._seconds.labels(kind).observe for kind in (*RULES, OTHER)}
        self.executes = self._messages.labels("execute").inc
        self.unblocks = self._messages.labels("unblock").inc
        self._taken = self._deliveries.labels("success").inc
        self._not_taken = self._deliveries.labels("error").inc
        self.batch = self._batches.inc

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is read on request."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def request(self, kind: str, status: int, seconds: float) -> None:
        """Count a request."""
        if kind not in self._seconds_of:
            kind = OTHER
        count = self._requests_of.get((kind, status))
        if count is None:
            count = self._requests.labels(kind, str(status)).inc
            self._requests_of[kind, status] = count
        count()
        self._seconds_of[kind](seconds)

    def delivery(self, taken: bool) -> None:
        """Count a post."""
        (self._taken if taken else self._not_taken)()

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self._registry)
