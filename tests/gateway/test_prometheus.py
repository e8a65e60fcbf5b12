"""`deploy/prometheus` and `deploy/grafana` in a real Prometheus, which scrapes a gateway and a worker."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from tests.conftest import WorkerProcess, wait_until
from tests.gateway.conftest import get_url
from tests.notify.receivers import HttpReceiver
from tests.postgres.cluster import free_port
from tests.postgres.programs import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "hitl.rules.yml"
BOARD = json.loads((DEPLOY / "grafana" / "hitl.json").read_text())
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]

APP = """
from hitl_cli import ask, workflow

tried = []

def flaky(ctx):
    tried.append(1)
    if len(tried) % 2:
        raise ValueError("not now")

@workflow
async def release(ctx, id):
    await ctx.run(flaky)
    decision = await ask(ctx, "Ship?", to=["group:ops", "ada"])
    decision.require()
"""

SETTINGS = """
[people.ada]
webhook = "{url}"
[groups.ops]
members = ["ada"]
"""

pytestmark = pytest.mark.heavy


class Prometheus:
    """A Prometheus with the configuration of `deploy`, but quicker, and with these targets."""

    def __init__(self, folder: Path, gateway: str, worker: str) -> None:
        folder.mkdir()
        self._url = f"http://127.0.0.1:{free_port()}"
        given = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        changes = {"15s": "1s", "127.0.0.1:9464": gateway, "127.0.0.1:9465": worker}
        for before, after in changes.items():
            assert before in given
            given = given.replace(before, after)
        (folder / "prometheus.yml").write_text(given)
        (folder / RULES.name).write_text(RULES.read_text())
        options = (f"--storage.tsdb.path={folder}/data", f"--web.listen-address={self._url[7:]}")
        command = [program("prometheus"), f"--config.file={folder}/prometheus.yml", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(self, path: str, **query: str) -> Any:
        """Return an answer of its API."""
        try:
            reply = get_url(f"{self._url}/api/v1/{path}?{urlencode(query)}")
        except OSError:
            return None
        return reply.json["data"] if reply.status == 200 else None  # 503 while it starts

    def values(self, expression: str) -> list[float]:
        """Return the values of a query, without those that are no number."""
        found = self.get("query", query=expression.replace("$__rate_interval", "30s"))
        values = [float(one["value"][1]) for one in found["result"]] if found else []
        return [value for value in values if value == value]  # noqa: PLR0124 - not NaN

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def watched(hitl: Hitl, start_gateway: StartGateway, tmp_path: Path) -> Iterator[Prometheus]:
    with HttpReceiver() as receiver:
        (hitl.folder / "app.py").write_text(APP)
        (hitl.folder / "hitl.toml").write_text(SETTINGS.format(url=receiver.url))
        gateway, worker = start_gateway("--metrics", "0"), hitl.worker("--app", "app.py", "--metrics", "0")
        started = Prometheus(tmp_path / "prometheus", _address(gateway), _address(worker))
        try:
            wait_until(lambda: started.values('up{job="hitl"}') == [1, 1])
            for number in range(6):
                hitl.ok("start", f"run-{number}", "--workflow", "release", "--args", '["x"]')
            for number in range(5):
                worker.said(f"run-{number} waiting")
                gateway.post(f"/api/v1/requests/run-{number}:2.1/decision", {"verdict": "reject"})
                gateway.get("/api/v1/requests")
            yield started
        finally:
            started.stop()


def _address(process: WorkerProcess) -> str:
    return process.said("metrics on").split("//")[1].removesuffix("/metrics")


def test_the_rules_are_good_and_alert_as_their_tests_say() -> None:
    promtool = program("promtool")
    for command in (
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "hitl.rules.test.yml"),
    ):
        done = subprocess.run(
            [promtool, *command], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_panel_of_the_dashboard_has_data(watched: Prometheus) -> None:
    for query in QUERIES:
        assert wait_until(lambda query=query: watched.values(query)), query  # type: ignore[misc]
    [group] = watched.get("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    wait_until(lambda: watched.values('ALERTS{alertname="HitlRunsFailed"}') == [1])
    failed = 'sum(increase(hitl_runs_total{state="failed"}[1m]))'
    wait_until(lambda: watched.values(failed) and watched.values(failed)[0] >= 5)
    assert watched.values("sum(hitl:requests_open)") == [1]
    wait_until(lambda: watched.values("max(hitl_decisions_total)") == [5])
