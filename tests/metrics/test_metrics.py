"""What the registries of a gateway and of a worker show, and the address that serves them."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hitl_cli.errors import HitlError
from hitl_cli.inbox.history import HistoryEntry
from hitl_cli.inbox.open_figures import Kind, OpenFigures
from hitl_cli.metrics.gateway import GatewayMetrics
from hitl_cli.metrics.listener import MetricsListener
from hitl_cli.metrics.options import NONE, OTHER, metrics_options
from hitl_cli.metrics.worker import NOT_SERVED, WorkerMetrics
from hitl_cli.notify.status import DeliveryAttempt
from hitl_cli.runs.open_runs import STATES, OpenRuns
from hitl_cli.sdk.observer import Event
from hitl_cli.settings import MetricsSettings
from tests.gateway.conftest import get_url

if TYPE_CHECKING:
    from hitl_cli.metrics.process import ProcessMetrics

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "metrics.md"
DEPLOY = ROOT / "deploy"


def of_gateway(**settings: Any) -> GatewayMetrics:
    return GatewayMetrics(MetricsSettings(**settings), up=lambda: True, streams=lambda: 2, polls=lambda: 3)


def of_worker(**settings: Any) -> WorkerMetrics:
    return WorkerMetrics(MetricsSettings(**settings), up=lambda: False, executing=lambda: 1, most=64)


def shown(metrics: ProcessMetrics, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the series of a metric by the values of its labels."""
    text = asyncio.run(metrics.text()).decode()
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}


def decided(workflow: str | None, outcome: Any, via: str | None, **more: Any) -> HistoryEntry:
    known: dict[str, Any] = {
        "kind": "decision",
        "id": "x",
        "workflow": "x",
        "asked": None,
        "asked_at": 0,
        "at": 60_000,
    }
    return HistoryEntry(**known, function=workflow, outcome=outcome, via=via, waited_ms=60_000, **more)


def test_the_reference_lists_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(hitl_\w+)(?:\{([\w,]*)\})?` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    found = set()
    for metrics in (of_gateway(), of_worker()):
        metrics.watch_disk("sqlite:////tmp/hitl.db")
        for family in metrics.registry.collect():
            if not family.name.startswith("hitl_"):
                continue
            collector: Any = metrics.registry._names_to_collectors.get(family.name)
            labels = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", None) or ()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found.add((name, ",".join(labels), family.type))
    assert set(rows) == found


def test_rules_and_dashboard_use_metrics_that_exist() -> None:
    known = set(re.findall(r"^\| `(hitl_\w+)", PAGE.read_text(), re.MULTILINE))
    files = [*DEPLOY.glob("prometheus/*.yml"), *DEPLOY.glob("grafana/*.json")]
    assert len(files) == 4
    for file in files:
        used = set(re.findall(r"\bhitl_\w+", file.read_text()))
        assert {re.sub("_(bucket|count|sum)$", "", name) for name in used} <= known, file


def test_the_labels_have_few_values_and_the_settings_say_which() -> None:
    figures = OpenFigures(
        now=10_000,
        kinds={Kind(f"w{n}", "normal", ("ops", f"g{n}")): 1 for n in range(5)}
        | {Kind(None, "low", ("ops",)): 1},
        oldest={f"w{n}": 1_000 * n for n in range(5)} | {None: 10_000},
        overdue={"w4": 1},
        due={"1h": 0, "1d": 1},
    )
    metrics = of_gateway(workflows=["w0", "w[34]"], groups=["ops"], most=2)
    metrics.show_open(figures)
    assert shown(metrics, "hitl_requests_open", "workflow", "priority") == {
        ("w0", "normal"): 1,
        ("w3", "normal"): 1,
        (OTHER, "normal"): 3,
        (NONE, "low"): 1,
    }
    assert shown(metrics, "hitl_requests_open_by_group", "group", "priority") == {
        ("ops", "normal"): 5,
        (OTHER, "normal"): 5,
        ("ops", "low"): 1,
    }
    assert shown(metrics, "hitl_requests_oldest_age_seconds", "workflow") == {
        ("w0",): 10,
        ("w3",): 7,
        (OTHER,): 9,
        (NONE,): 0,
    }
    assert shown(metrics, "hitl_requests_overdue", "workflow")[(OTHER,)] == 1
    metrics.show_open(msgspec.structs.replace(figures, kinds={}, oldest={}, overdue={}))
    assert shown(metrics, "hitl_requests_open", "workflow", "priority")["w0", "normal"] == 0
    assert shown(metrics, "hitl_requests_oldest_age_seconds", "workflow")["w0",] == 0
    metrics.show_open(None)
    assert shown(metrics, "hitl_requests_open", "workflow", "priority") == {}


def test_open_runs_are_shown_by_state_with_few_workflows() -> None:
    metrics = of_gateway(most=1)
    series = partial(shown, metrics, "hitl_runs_open", "workflow", "state")
    assert series() == {}
    metrics.show_runs(OpenRuns(counts={("a", "waiting"): 2, ("b", "queued"): 1, ("c", "queued"): 1}))
    zeros = dict.fromkeys(product(("a", OTHER), STATES), 0)
    assert series() == zeros | {("a", "waiting"): 2, (OTHER, "queued"): 2}
    assert shown(metrics, "hitl_runs_open_partial") == {(): 0}
    metrics.show_runs(OpenRuns(counts={}, partial=True))
    assert series() == zeros
    assert shown(metrics, "hitl_runs_open_partial") == {(): 1}


def test_a_name_that_would_make_a_scrape_large_or_unreadable_is_not_shown() -> None:
    metrics = GatewayMetrics(MetricsSettings(), up=lambda: True, streams=lambda: 0, polls=lambda: 0)
    names = ("x" * 201, "\0", "a\nb", "\u202e", "release", "é 1")
    metrics.show_runs(OpenRuns(counts={(name, "waiting"): 1 for name in names}))
    text = asyncio.run(metrics.text()).decode()
    shown = dict(re.findall(r'hitl_runs_open\{state="waiting",workflow="(.*)"\} (.*)', text))
    assert shown == {OTHER: "4.0", "release": "1.0", "é 1": "1.0"}


def test_the_first_decision_of_a_kind_is_shown_as_an_increase() -> None:
    metrics = of_gateway()
    key = ("release", "approved", "hook")
    metrics.count([decided("release", "approved", "hook:deploy")])
    assert shown(metrics, "hitl_decisions_total", "workflow", "outcome", "via") == {key: 0}
    metrics.count([decided("release", "approved", "hook:other")])
    assert shown(metrics, "hitl_decisions_total", "workflow", "outcome", "via") == {key: 2}
    assert shown(metrics, "hitl_decision_seconds_sum", "workflow") == {("release",): 120}
    metrics.count(
        [decided(None, "expired", None, deadline=True), decided(None, "rejected", "carrier pigeon")]
    )
    metrics.count([])
    assert shown(metrics, "hitl_decisions_total", "workflow", "outcome", "via") == {
        key: 2,
        (NONE, "expired", "deadline"): 1,
        (NONE, "rejected", OTHER): 1,
    }
    assert shown(metrics, "hitl_decision_seconds_count", "workflow")[NONE,] == 1  # a deadline is no person


def test_the_disk_of_a_file_is_watched_and_no_other(tmp_path: Path) -> None:
    for server, found in (
        (f"sqlite:///{tmp_path}/hitl.db", [True]),
        (f"sqlite:///{tmp_path}/gone/hitl.db", [False]),
        ("postgresql://db.example.com/hitl", []),
    ):
        metrics = of_worker()
        metrics.watch_disk(server)
        assert [value > 0 for value in shown(metrics, "hitl_disk_free_bytes").values()] == found


def test_http_requests_are_counted_by_route_and_never_by_path() -> None:
    metrics = of_gateway()
    metrics.request("GET", "/r/{id}", 200, 0.02)
    metrics.request("BREW", None, 404, 0.02)
    assert shown(metrics, "hitl_http_request_duration_seconds_count", "method", "route", "status") == {
        ("GET", "/r/{id}", "2xx"): 1,
        (OTHER, NONE, "4xx"): 1,
    }


def test_a_worker_counts_events_retries_and_messages() -> None:
    metrics = of_worker()

    def counted(name: str, *labels: str) -> dict[tuple[str, ...], float]:
        return {key: value for key, value in shown(metrics, name, *labels).items() if value}

    metrics.serve(["release"])
    assert shown(metrics, "hitl_runs_total", "workflow", "state")["release", "failed"] == 0
    for kind, function in (("started", "release"), ("failed", "release"), ("unknown", "anything")):
        metrics.event(Event(kind, "r", 0, function=function))  # type: ignore[arg-type]
    metrics.event(Event("retrying", "r", 0, function="deploy"))
    for outcome, for_good in (("sent", False), ("failed", False), ("failed", True), ("over", False)):
        metrics.notification(
            DeliveryAttempt(who="ada", at=0, outcome=outcome, channel="email", for_good=for_good)  # type: ignore[arg-type]
        )
    assert counted("hitl_runs_total", "workflow", "state") == {
        ("release", "started"): 1,
        ("release", "failed"): 1,
        (NOT_SERVED, "unknown"): 1,
    }
    assert counted("hitl_step_retries_total", "function") == {("deploy",): 1}
    assert counted("hitl_notifications_total", "channel", "outcome") == {
        ("email", "sent"): 1,
        ("email", "failed"): 1,
        ("email", "failed_for_good"): 1,
    }
    assert shown(metrics, "hitl_server_up") == {(): 0}
    assert not [name for name in asyncio.run(metrics.text()).decode().split() if "_created" in name]


@pytest.mark.parametrize(
    ("address", "expected"),
    [("9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("localhost:9464", ("localhost", 9464))],
)
def test_an_address_is_a_port_or_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    options = metrics_options(address, MetricsSettings())
    assert (options.host, options.port) == expected


@pytest.mark.parametrize("address", ["", "x", "1:x", "70000", "0.0.0.0:9464", "[::]:9464", "example.org:1"])
def test_an_address_of_others_needs_a_token(address: str) -> None:
    with pytest.raises(HitlError) as refused:
        metrics_options(address, MetricsSettings())
    assert refused.value.code == "bad-usage"


def test_the_address_shows_metrics_to_the_token_and_health_to_all() -> None:
    away: list[str] = []
    settings = MetricsSettings(token="s3cret")
    options = metrics_options("127.0.0.1:0", settings)
    listener = MetricsListener(options, of_worker().text, lambda: away[0] if away else None)
    listener.start()
    try:
        url = listener.url
        assert get_url(f"{url}/metrics").status == 401
        assert get_url(f"{url}/metrics", Authorization="Bearer wrong").status == 401
        assert get_url(f"{url}/metrics", Authorization="Bearer \xff").status == 401  # not UTF-8
        known = get_url(f"{url}/metrics", Authorization="Bearer s3cret")
        assert (known.status, "hitl_runs_executing_max 64.0" in known.text) == (200, True)
        assert [get_url(f"{url}{path}").status for path in ("/health", "/ready", "/")] == [200, 200, 404]
        away.append("no http://10.0.0.1")
        reply = get_url(f"{url}/ready")
        assert (reply.status, "10.0.0.1" in reply.text) == (503, False)
        assert "10.0.0.1" in get_url(f"{url}/ready", Authorization="Bearer s3cret").text
        assert get_url(f"{url}/health").status == 200
    finally:
        listener.stop()
    assert not listener._thread.is_alive()


def test_without_a_token_an_unknown_host_is_refused() -> None:
    listener = MetricsListener(metrics_options("0", MetricsSettings()), of_worker().text, lambda: None)
    listener.start()
    try:
        assert get_url(f"{listener.url}/metrics", Host="evil.example").status == 421
        assert get_url(f"{listener.url}/metrics").status == 200
    finally:
        listener.stop()
