"""Workers on a database: deadlines, sharing, and what databases do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.tags import TELL
from hitl_cli.postgres.client import PostgresClient
from tests.conftest import wait_until
from tests.postgres.cluster import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

APP = """
import asyncio
from datetime import timedelta
from pathlib import Path

from hitl_cli import workflow


@workflow
async def naps(ctx, _id):
    await ctx.sleep(timedelta(hours=1))


@workflow
async def blinks(ctx, _id):
    await ctx.sleep(timedelta(milliseconds=300))
    return "awake"


@workflow
async def works(ctx, _id):
    return await ctx.run(slowly)


async def slowly(ctx):
    with Path("begun").open("a") as file:
        file.write("x")
    await asyncio.sleep(0.1 if len(Path("begun").read_text()) > 1 else 60)
    return "done"


@workflow
async def quick(ctx, _id):
    return await ctx.run(at_once)


async def at_once(ctx):
    await asyncio.sleep(0.05)
    return 1
"""

OTHER = """
from hitl_cli import workflow


@workflow
async def other(ctx, _id):
    return "other"
"""


@pytest.fixture(autouse=True)
def app(hitl: Hitl, database: str) -> None:
    hitl.use(database)
    (hitl.folder / "app.py").write_text(APP)
    (hitl.folder / "other.py").write_text(OTHER)


def test_a_deadline_fires_within_two_seconds(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    hitl.ok("ask", "Now?", "--id", "q", "--deadline", "1s", "--no-wait")
    with PostgresClient(hitl.url) as client, psycopg.connect(hitl.url, autocommit=True) as connection:
        row = connection.execute("SELECT timeout_at FROM resonate.promises WHERE id = 'q'").fetchone()
        assert row is not None
        wait_until(
            lambda: (
                connection.execute(
                    "SELECT FROM resonate.promises WHERE id = 'q' AND state <> 'pending'"
                ).fetchone()
                is not None
            )
        )
        assert client.now() - row[0] < 2_000


def test_a_sleep_is_no_work_in_hand(hitl: Hitl) -> None:
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "n", "--workflow", "naps")
    hitl.ok("start", "b", "--workflow", "blinks")
    assert hitl.json("wait", "b", "--timeout", "20s")["result"] == "awake"
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 5


def test_a_canceled_run_leaves_no_sleep(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    hitl.ok("start", "n", "--workflow", "naps")
    with PostgresClient(hitl.url) as client:
        wait_until(lambda: get_promise(client, "n:1"))
        hitl.ok("cancel", "n")
        assert search(client, state="pending", idPrefix="n") == []


def test_a_task_goes_only_to_a_worker_that_serves_its_function(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    hitl.worker("--app", "other.py")
    for number in range(6):
        hitl.ok("start", f"o{number}", "--workflow", "other")
        hitl.ok("start", f"q{number}", "--workflow", "quick")
    for number in range(6):
        hitl.ok("wait", f"o{number}", "--timeout", "20s")
        hitl.ok("wait", f"q{number}", "--timeout", "20s")


def test_a_notification_is_left_to_a_worker_that_has_a_contact(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "n", "--workflow", TELL)
    worker.said(" n not served here")
    assert hitl.json("status", "n")["state"] != "failed"


def test_two_workers_share_the_work(hitl: Hitl) -> None:
    workers = [hitl.worker("--app", "app.py") for _ in range(2)]
    with PostgresClient(hitl.url) as client:
        wait_until(lambda: len(client.listeners()) == 2)
    time.sleep(1.2)  # each counts the others once a second
    hitl.run(
        "start", "--stdin", "--workflow", "quick", stdin="".join(f'{{"id": "s{n}"}}\n' for n in range(200))
    )
    for number in range(200):
        if number % 50 == 49:
            hitl.ok("wait", f"s{number}", "--timeout", "30s")

    def done() -> list[int]:
        return [sum("completed" in line for line in list(worker.lines)) for worker in workers]

    wait_until(lambda: sum(done()) >= 200)
    assert min(done()) >= 200 / 3, done()


def test_what_a_killed_worker_held_is_done_by_another(hitl: Hitl) -> None:
    first = hitl.worker("--app", "app.py", "--lease", "1s")
    hitl.ok("start", "w", "--workflow", "works")
    wait_until((hitl.folder / "begun").exists)
    first.kill()
    hitl.worker("--app", "app.py", "--lease", "1s")
    assert hitl.json("wait", "w", "--timeout", "30s")["result"] == "done"


def test_a_connection_that_is_cut_is_opened_again(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    hitl.ok("start", "a", "--workflow", "quick", "--wait")
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    hitl.ok("start", "b", "--workflow", "quick", "--wait")


def test_a_schedule_with_names_and_a_zone_starts_runs(hitl: Hitl) -> None:
    hitl.worker("--app", "app.py")
    added = (
        "schedule",
        "add",
        "nightly",
        "0 2 * JAN-DEC *",
        "--workflow",
        "quick",
        "--timezone",
        "Europe/Berlin",
    )
    hitl.ok(*added)
    hitl.ok(*added)  # the same again
    assert [one["id"] for one in hitl.json("schedule", "list")] == ["nightly"]
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        connection.execute("UPDATE hitl.schedules SET next_run_at = next_run_at - 3 * 86400000")
    wait_until(lambda: [run for run in hitl.json("status") if run["id"].startswith("nightly")])
    assert len(hitl.json("status")) == 1  # of three that were missed the last
    hitl.ok("schedule", "remove", "nightly")
    assert hitl.json("schedule", "list") == []


@pytest.fixture
def own_server(hitl: Hitl) -> Iterator[Cluster]:
    """A server that the test may stop."""
    with cluster() as running:
        running.prepare_template()
        hitl.use(running.create_installed())
        yield running


def test_a_server_that_crashes_and_comes_back_loses_nothing(hitl: Hitl, own_server: Cluster) -> None:
    worker = hitl.worker("--app", "app.py")
    hitl.ok("ask", "Before?", "--id", "before", "--no-wait")
    own_server.stop("immediate")
    hitl.fails(6, "pending", code="server-unreachable")
    own_server.start()
    assert [one["id"] for one in hitl.json("pending", "--all")] == ["before"]
    hitl.ok("start", "after", "--workflow", "quick", "--wait")
    assert worker.stop() == 0
