"""`--metrics` of the gateway and the worker; and a worker that has lost its server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hitl_cli.client.connect import connect
from hitl_cli.errors import Unreachable
from hitl_cli.requests.question import Question
from hitl_cli.worker.server_check import ServerCheck
from tests.cli.requests import put
from tests.conftest import HITL, WorkerProcess, wait_until
from tests.gateway.conftest import get_url

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway


def scraped(process: WorkerProcess, name: str, **labels: str) -> float | None:
    """Return a value of the metrics of a process; None if there is none."""
    text = get_url(process.said("metrics on").split()[-1]).text
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return next(
        (one.value for one in samples if one.name == name and labels.items() <= one.labels.items()), None
    )


def test_a_gateway_shows_what_waits_and_a_worker_what_ran(hitl: Hitl, start_gateway: StartGateway) -> None:
    (hitl.folder / "hitl.toml").write_text('[visibility]\ndefault = "assigned"\n')  # all are counted
    gateway, worker = start_gateway("--metrics", "0"), hitl.worker("--metrics", "0")
    hitl.ok("start", "run-1", "--workflow", "approval")
    worker.said("waiting")
    put(hitl, "q", Question(prompt="?", to=("group:ops",), priority="high"))
    assert scraped(gateway, "hitl_requests_open", workflow="approval", priority="normal") == 1
    assert scraped(gateway, "hitl_requests_open_by_group", group="ops", priority="high") == 1
    assert scraped(worker, "hitl_runs_total", workflow="approval", state="waiting") == 1
    wait_until(lambda: scraped(gateway, "hitl_runs_open", workflow="approval", state="waiting") == 1)
    hitl.ok("approve", "run-1")
    decided = {"workflow": "approval", "outcome": "approved", "via": "cli"}
    wait_until(lambda: scraped(gateway, "hitl_decisions_total", **decided) == 1)
    wait_until(lambda: scraped(gateway, "hitl_requests_open", workflow="approval") == 0)
    wait_until(lambda: scraped(gateway, "hitl_runs_open", workflow="approval", state="waiting") == 0)
    assert gateway.get("/r/nothing").status == 404
    asked = {"method": "GET", "route": "/r/{id}", "status": "4xx"}
    assert scraped(gateway, "hitl_http_request_duration_seconds_count", **asked) == 1
    wait_until(lambda: scraped(worker, "hitl_runs_total", workflow="approval", state="completed") == 1)
    assert scraped(worker, "hitl_server_up") == 1
    used = gateway.said("metrics on").rpartition(":")[2].partition("/")[0]
    hitl.fails(2, "worker", "--metrics", used, code="cannot-listen")


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.only("file", reason="it kills a hitl server")
def test_a_worker_and_a_gateway_say_that_their_server_is_away_and_is_back(
    hitl: Hitl, start_gateway: StartGateway
) -> None:
    def serve(port: str) -> WorkerProcess:
        server = WorkerProcess([HITL, "server", "--port", port], hitl.env, hitl.folder)
        server.said("serving")
        return server

    server = serve("0")
    url = server.said("serving").split(" on ")[1].split()[0]
    worker = hitl.worker("-S", url, "--metrics", "0", "--exit-when-lost", "5s")
    gateway = start_gateway("-S", url, "--metrics", "0")
    ready = worker.said("metrics on").split()[-1].replace("/metrics", "/ready")
    assert get_url(ready).status == 200
    server.kill()
    worker.complained("the server is unreachable")
    wait_until(lambda: get_url(ready).status == 503)
    assert worker.end() == Unreachable.exit_code
    gateway.complained("the server is unreachable")
    server = serve(url.rpartition(":")[2])
    try:
        gateway.complained("the server is reachable again")
        assert len([line for line in gateway.errors if "the server is unreachable" in line]) == 1
    finally:
        server.clear_away()


def test_a_server_that_does_not_answer_is_away_until_it_does(
    hitl: Hitl, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Exception | None] = []

    def open_client() -> Client:
        answer = wait_until(lambda: answers)[-1]
        if answer is not None:
            raise answer
        return connect(hitl.url, None)

    caplog.set_level(logging.INFO)
    monkeypatch.setattr("hitl_cli.worker.server_check.PATIENCE_S", 0.05)
    check = ServerCheck(open_client, 0.01)
    check.start()
    try:
        assert wait_until(lambda: check.away) != "gone"
        assert check.away_s > 0
        answers.append(Unreachable("gone"))
        wait_until(lambda: check.away == "gone")
        answers.append(None)
        wait_until(lambda: check.away is None)
        assert check.away_s == 0
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    finally:
        check.stop()
