"""The TypeScript SDK as a client, with workers of either language."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.typescript.conftest import Online

PYTHON_APP = str(Path(__file__).with_name("python_app.py"))


def test_rpc_returns_a_workers_result_or_raises_its_error(online: Online) -> None:
    online.typescript("features_async")

    assert online.ask("rpc", "right", "multiply", "6", "7") == {"got": 42}
    assert online.ask("rpc", "wrong", "multiply", "6", "0") == {"failed": "not by zero"}
    assert online.ask("get", "right") == {"got": 42}


def test_rpc_reaches_a_python_worker(online: Online) -> None:
    online.worker("--app", PYTHON_APP, "--group", "typescript")

    assert online.ask("rpc", "right", "add", "40", "2") == {"got": 42}
    assert online.ask("rpc", "wrong", "add", "40", "-2") == {"failed": "only upwards"}


def test_run_works_in_the_clients_own_process_and_is_a_run_like_any_other(online: Online) -> None:
    assert online.ask("run", "own", "it is") == {"got": "it is, here"}
    assert online.end("own") == "it is, here"
    assert online.ask("run", "own", "it is") == {"got": "it is, here"}


def test_a_client_learns_of_a_decision_that_it_waits_for(online: Online) -> None:
    online.typescript("features_async")
    online.begin("both", "two", 60_000)
    online.blocked(2)
    asking = online.asking("get", "both:0")
    wait_until(lambda: online.stored("SELECT promise FROM listeners"))
    online.ok("approve", "both:0", "--data", '"now"')

    assert asking.said("{") == '{"got":"now"}'


def test_what_does_not_exist_is_said_to_be_missing(online: Online) -> None:
    assert "there is no promise nobody" in online.ask("get", "nobody")["failed"]


def test_a_schedule_starts_runs_until_it_is_deleted(online: Online) -> None:
    worker = online.typescript("features_async")
    before = time.time() * 1_000
    made = online.ask("schedule", "often", "* * * * *", "where")["got"]
    assert (made["id"], made["cron"], made["promiseId"]) == ("often", "* * * * *", "{{.id}}-{{.timestamp}}")
    assert before < made["nextRunAt"] <= before + 60_000 + PATIENCE_S * 1_000

    online.store("UPDATE schedules SET next_run_at = next_run_at - 60000")  # a minute need not be waited for
    run = wait_until(lambda: online.json("status"))[0]
    assert run["id"].startswith("often-")
    assert online.end(run["id"]) == worker.pid

    assert online.ask("unschedule", "often") == {"got": None}
    assert "often" in online.ask("unschedule", "often")["failed"]
