"""The metrics of a gateway.

Figures from the server (open requests, all decisions) are the same at each gateway: take the maximum over all
gateways. Figures of its own work (HTTP requests, event streams) must be summed.
"""

from __future__ import annotations

from collections import Counter as Counting
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from hitl_cli.inbox.open_figures import SOON_MS
from hitl_cli.metrics.options import NONE, OTHER, Label
from hitl_cli.metrics.process import ProcessMetrics
from hitl_cli.runs.open_runs import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from hitl_cli.inbox.history import HistoryEntry
    from hitl_cli.inbox.open_figures import OpenFigures
    from hitl_cli.runs.open_runs import OpenRuns
    from hitl_cli.settings import MetricsSettings

CHANNELS = frozenset(("answer-url", "api", "cli", "hook", "link", "mcp", "python", "review", "rule", "web"))
"""The front ends through which people and programs decide. A hook's name is left out."""

DEADLINE = "deadline"

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400

DECIDING_S = (
    10,
    MINUTE_S,
    5 * MINUTE_S,
    15 * MINUTE_S,
    HOUR_S,
    4 * HOUR_S,
    DAY_S,
    3 * DAY_S,
    7 * DAY_S,
    30 * DAY_S,
)
"""The bounds of the times to decide."""

ANSWERING_S = (0.01, 0.05, 0.25, 1, 5)
"""The bounds of the times of HTTP requests."""

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class GatewayMetrics(ProcessMetrics):
    """Counts a gateway's own work, and shows the open requests and the decisions at its server."""

    def __init__(
        self,
        settings: MetricsSettings,
        up: Callable[[], bool],
        streams: Callable[[], int],
        polls: Callable[[], int],
    ) -> None:
        """`streams` and `polls` say how many clients listen to events and wait for decisions."""
        super().__init__("gateway", up)
        self._workflow = Label(settings.workflows, settings.most)
        self._open = _OpenRequests(self._workflow, Label(settings.groups, settings.most))
        self.registry.register(self._open)
        self._runs = _OpenRuns(self._workflow)
        self.registry.register(self._runs)
        self._decisions = Counter(
            "hitl_decisions",
            "All decisions, by workflow, outcome and front end.",
            ["workflow", "outcome", "via"],
            registry=self.registry,
        )
        self._deciding = Histogram(
            "hitl_decision_seconds",
            "Seconds from a request to its decision by a person or a program.",
            ["workflow"],
            buckets=DECIDING_S,
            registry=self.registry,
        )
        self._http = Histogram(
            "hitl_http_request_duration_seconds",
            "Seconds to answer an HTTP request, by route; without event streams and long polls.",
            ["method", "route", "status"],
            buckets=ANSWERING_S,
            registry=self.registry,
        )
        self.gauge("hitl_event_streams", "Clients that listen to the event stream.", streams)
        self.gauge("hitl_long_polls", "HTTP requests that are waiting for a decision.", polls)
        self._times: dict[tuple[str, str, str], Callable[[float], None]] = {}
        self._shown: set[tuple[str, str, str]] = set()
        self._held_back: list[tuple[tuple[str, str, str], float | None]] = []

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Record how long an HTTP request took; `route` is its pattern, None if there is none."""
        key = (method if method in METHODS else OTHER, route or NONE, f"{status // 100}xx")
        observe = self._times.get(key)
        if observe is None:
            observe = self._times[key] = self._http.labels(*key).observe
        observe(seconds)

    def show_open(self, figures: OpenFigures | None) -> None:
        """Show the open requests; None if they are not known now."""
        self._open.figures = figures

    def show_runs(self, runs: OpenRuns | None) -> None:
        """Show the open runs; None if they are not known now."""
        self._runs.found = runs

    def count(self, decisions: Sequence[HistoryEntry]) -> None:
        """Count decisions.

        The first one of its kind is shown as 0 and counted at the next call, because Prometheus does not see
        an increase in a series that begins with 1.
        """
        due, self._held_back = self._held_back, []
        for labels, seconds in [*due, *map(self._labelled, reversed(decisions))]:
            counter, histogram = self._decisions.labels(*labels), self._deciding.labels(labels[0])
            if labels not in self._shown:
                self._held_back.append((labels, seconds))
                continue
            counter.inc()
            if seconds is not None:
                histogram.observe(seconds)
        self._shown.update(labels for labels, _ in self._held_back)

    def _labelled(self, entry: HistoryEntry) -> tuple[tuple[str, str, str], float | None]:
        """Return the labels of a decision, and how long it took; None if no person made it."""
        channel = (entry.via or NONE).partition(":")[0]
        via = DEADLINE if entry.deadline else channel if channel in {*CHANNELS, NONE} else OTHER
        labels = (self._workflow(entry.function), str(entry.outcome), via)
        by_nobody = entry.deadline or entry.outcome == "canceled"
        return labels, None if by_nobody else entry.waited_ms / 1_000


class _OpenRequests(Collector):
    """Shows the figures of open requests."""

    figures: OpenFigures | None = None

    def __init__(self, workflow: Label, group: Label) -> None:
        self._workflow = workflow
        self._group = group
        self._workflows_shown: set[tuple[str, str]] = set()
        """A series that was shown once is shown as 0 when it has no requests any more."""
        self._groups_shown: set[tuple[str, str]] = set()

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        found = self.figures
        total = GaugeMetricFamily("hitl_requests_open", "Open requests.", labels=["workflow", "priority"])
        groups = GaugeMetricFamily(
            "hitl_requests_open_by_group",
            "Open requests by assigned group; one for several groups counts for each.",
            labels=["group", "priority"],
        )
        oldest = GaugeMetricFamily(
            "hitl_requests_oldest_age_seconds", "Age of the oldest open request.", labels=["workflow"]
        )
        overdue = GaugeMetricFamily(
            "hitl_requests_overdue",
            "Open requests that nobody answered before their first escalation.",
            labels=["workflow"],
        )
        due = GaugeMetricFamily(
            "hitl_requests_due", "Open requests whose deadline is within that time.", labels=["within"]
        )
        partial = GaugeMetricFamily(
            "hitl_requests_open_partial", "1 if there are more open requests than are counted."
        )
        if found is not None:
            self._fill(found, total, groups, oldest, overdue)
            for within in SOON_MS:
                due.add_metric([within], found.due[within])
            partial.add_metric([], found.partial)
        return [total, groups, oldest, overdue, due, partial]

    def _fill(
        self,
        found: OpenFigures,
        total: GaugeMetricFamily,
        groups: GaugeMetricFamily,
        oldest: GaugeMetricFamily,
        overdue: GaugeMetricFamily,
    ) -> None:
        by_workflow: Counting[tuple[str, str]] = Counting()
        by_group: Counting[tuple[str, str]] = Counting()
        for kind, count in found.kinds.items():
            by_workflow[self._workflow(kind.workflow), kind.priority] += count
            for group in {self._group(name) for name in kind.groups}:
                by_group[group, kind.priority] += count
        late: Counting[str] = Counting()
        ages: dict[str, int] = {}
        for workflow, created_at in found.oldest.items():
            name = self._workflow(workflow)
            ages[name] = max(found.now - created_at, ages.get(name, 0))
            late[name] += found.overdue.get(workflow, 0)
        for family, counts, shown in (
            (total, by_workflow, self._workflows_shown),
            (groups, by_group, self._groups_shown),
        ):
            shown.update(counts)
            for labels in shown:
                family.add_metric(labels, counts[labels])
        for name in dict.fromkeys(workflow for workflow, _ in self._workflows_shown):
            oldest.add_metric([name], ages.get(name, 0) / 1_000)
            overdue.add_metric([name], late[name])


class _OpenRuns(Collector):
    """Shows how many runs are open."""

    found: OpenRuns | None = None

    def __init__(self, workflow: Label) -> None:
        self._workflow = workflow
        self._shown: set[str] = set()
        """A workflow that was shown once is shown as 0 when it has no open run any more."""

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        runs = GaugeMetricFamily("hitl_runs_open", "Open runs.", labels=["workflow", "state"])
        partial = GaugeMetricFamily(
            "hitl_runs_open_partial", "1 if there are more open runs than are counted."
        )
        if self.found is not None:
            counts: Counting[tuple[str, str]] = Counting()
            for (workflow, state), count in self.found.counts.items():
                counts[self._workflow(workflow), state] += count
            self._shown.update(workflow for workflow, _ in counts)
            for labels in product(self._shown, STATES):
                runs.add_metric(labels, counts[labels])
            partial.add_metric([], self.found.partial)
        return [runs, partial]
