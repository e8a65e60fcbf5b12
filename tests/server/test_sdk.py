"""Real clients over HTTP: resonate-sdk's own, and every hitl command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apps.features import GATE
from tests.conftest import WorkerProcess, wait_until
from tests.worker.watching import FEATURES, begin, result_of, tasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served

SDK_RUN = "tests.server.sdk_run"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def remote(hitl: Hitl, served: Served) -> Hitl:
    """The command, whose every process but the server knows only the server's URL."""
    hitl.env["HITL_SERVER"] = served.url
    return hitl


def run_sdk(hitl: Hitl, *args: str) -> WorkerProcess:
    """Start the SDK's client in a process of its own."""
    env = hitl.env | {"PYTHONPATH": str(ROOT)}
    process = WorkerProcess([sys.executable, "-m", SDK_RUN, *args], env, hitl.folder)
    hitl.workers.append(process)
    return process


def test_the_sdks_own_client_runs_workflows_and_gets_their_results(hitl: Hitl, served: Served) -> None:
    sdk = run_sdk(hitl, served.url)
    sdk.said("asking")
    [asked] = hitl.waiting()
    hitl.ok("approve", asked["id"], "--data", '"yes"')
    results = json.loads(sdk.said("["))
    assert results == [[5, 5], 42, "awake", 20, "yes"]
    assert sdk.process.wait(30) == 0


def test_every_command_works_through_the_server(remote: Hitl) -> None:
    worker = remote.worker()
    remote.ok("start", "a")
    [asked] = remote.waiting()
    assert remote.json("status", "a")["state"] == "waiting"
    remote.ok("approve", asked["id"])
    assert "completed" in remote.ok("wait", "a")
    remote.ok("start", "b")
    remote.waiting()
    remote.ok("cancel", "b")
    assert remote.json("status", "b")["state"] == "canceled"
    assert worker.stop() == 0


def test_workers_over_http_and_on_the_file_share_the_work(remote: Hitl, served: Served) -> None:
    gate = {GATE: str(remote.folder / "gate")}  # until it is open, a run takes up a place of its worker
    over_http = remote.worker("--app", FEATURES, "-c", "1", env=gate)
    on_file = remote.worker("--app", FEATURES, "-c", "1", env={**gate, "HITL_SERVER": remote.url})
    ids = ["r0", "r1"]
    with remote.client() as client:
        for id in ids:
            begin(client, id, "where_at_the_gate")
        wait_until(lambda: len(tasks(client, "acquired")) == len(ids))
        (remote.folder / "gate").touch()
        ran = [result_of(client, id) for id in ids]
    assert set(ran) == {over_http.pid, on_file.pid}
    assert served.metric("hitl_streams") == 1


def test_a_worker_that_lacks_a_workflow_does_not_keep_its_runs_from_one_that_has_it(remote: Hitl) -> None:
    lacking = remote.worker()
    with remote.client() as client:
        begin(client, "r", "where")
        lacking.said("no workflow 'where'")
        capable = remote.worker("--app", FEATURES)
        assert result_of(client, "r") == capable.pid


def test_a_worker_lives_through_a_restart_of_the_server(hitl: Hitl, serve: Callable[..., Served]) -> None:
    first = serve()
    hitl.env["HITL_SERVER"] = first.url
    hitl.worker()
    hitl.ok("start", "a")
    [asked] = hitl.waiting()
    first.process.kill()
    serve(port=int(first.url.rsplit(":", 1)[1]))
    hitl.ok("approve", asked["id"])
    assert "completed" in hitl.ok("wait", "a")
    assert wait_until(lambda: hitl.json("status", "a")["state"]) == "completed"
