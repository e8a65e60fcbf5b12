"""The database's clock is a minute ahead of hitl's, or behind it: the database's rules."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.postgres.cluster import cluster
from tests.postgres.programs import library
from tests.postgres.test_worker import APP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

SLACK_S = 15.0
"""Far less than a minute, and enough for a busy machine."""


@pytest.fixture(scope="module", params=["+60s", "-60s"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server whose clock is another one."""
    faked = {"LD_PRELOAD": str(library("libfaketime.so.1")), "FAKETIME": request.param}
    with cluster() as running:
        running.stop("fast")
        running.env |= faked | {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        running.start()
        with psycopg.connect(running.url("postgres")) as connection:
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        assert row is not None
        assert abs(float(row[0]) - time.time()) == pytest.approx(60, abs=SLACK_S)
        running.prepare_template()
        yield running


@pytest.fixture(autouse=True)
def scene(hitl: Hitl, elsewhere: Cluster) -> None:
    hitl.use(elsewhere.create_installed())
    (hitl.folder / "app.py").write_text(APP)


def test_a_deadline_and_a_sleep_take_as_long_as_they_say(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    began = time.monotonic()
    hitl.ok("ask", "Now?", "--id", "q", "--deadline", "3s", "--no-wait")
    hitl.fails(5, "ask", "Now?", "--id", "q", "--deadline", "3s")
    assert 3 <= time.monotonic() - began < SLACK_S
    began = time.monotonic()
    hitl.ok("start", "b", "--workflow", "blinks", "--wait")
    assert time.monotonic() - began < SLACK_S


def test_how_long_a_request_waits_is_shown_right(hitl: Hitl) -> None:
    hitl.ok("ask", "Later?", "--id", "q", "--deadline", "50s", "--no-wait")
    gateway = begin_gateway(hitl)
    hitl.workers.append(gateway)
    (listed,) = hitl.json("pending", "--all")
    assert listed["age_s"] < SLACK_S
    left_s = (
        datetime.fromisoformat(listed["deadline"]) - datetime.fromisoformat(listed["created_at"])
    ).seconds
    assert left_s == pytest.approx(50, abs=1)
    page = wait_until(lambda: gateway.get("/r/q"))
    assert page.status == 200
    left = re.search(r"due in (\d+)s", page.words)
    assert left is not None, page.words
    assert 50 - SLACK_S <= int(left.group(1)) <= 50


def test_a_lease_lasts_as_long_as_it_says(hitl: Hitl) -> None:
    first = hitl.worker("--app", "app.py", "--lease", "2s")
    hitl.ok("start", "w", "--workflow", "works")
    wait_until((hitl.folder / "begun").exists)
    first.kill()
    hitl.worker("--app", "app.py", "--lease", "2s")
    assert hitl.json("wait", "w", "--timeout", "30s")["result"] == "done"


def test_a_schedule_fires_by_the_clock_of_the_database(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    hitl.ok("schedule", "add", "often", "* * * * *", "--workflow", "quick")
    now = "(extract(epoch from clock_timestamp()) * 1000)::bigint"
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        first = connection.execute(f"SELECT next_run_at - {now} FROM hitl.schedules").fetchone()
        assert first is not None
        assert 0 <= first[0] <= 60_000
        connection.execute(f"UPDATE hitl.schedules SET next_run_at = {now} / 60000 * 60000 - 60000")
        wait_until(lambda: hitl.json("status"), SLACK_S)
        after = connection.execute(f"SELECT next_run_at - {now} FROM hitl.schedules").fetchone()
        assert after is not None
        assert 0 <= after[0] <= 60_000
    hitl.ok("schedule", "remove", "often")
    for run in hitl.json("status"):
        hitl.ok("wait", run["id"], "--timeout", "20s")
