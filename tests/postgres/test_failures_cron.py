"""The job of pg_cron, resonate.process_timeouts(), runs beside the timers of hitl: nothing happens twice.

The statement of the job is run here by a session, far more often than each 5 s; and by pg_cron itself,
where the PostgreSQL of HITL_POSTGRES_BIN has it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from hitl_cli.postgres import schema
from tests.conftest import wait_until
from tests.postgres.cluster import apply_resonate, binaries, cluster
from tests.postgres.test_failures import APP, all_end, ran, start_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

DEADLINES = """

@workflow
async def late(ctx, id):
    decision = await ask(ctx, "Soon?", deadline=timedelta(seconds=1))
    await ctx.run(once, id)
    return id
"""
COUNT = 40
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
def job(hitl: Hitl, database: str) -> Iterator[list[int]]:
    """Run the job all the time; the numbers of timers that it fired."""
    hitl.use(database)
    (hitl.folder / "app.py").write_text(APP + DEADLINES)
    fired: list[int] = []
    stop = threading.Event()

    def run() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not stop.wait(0.02):
                row = connection.execute("SELECT resonate.process_timeouts()").fetchone()
                assert row is not None
                fired.append(row[0])

    running = threading.Thread(target=run)
    running.start()
    yield fired
    stop.set()
    running.join()


@pytest.fixture(scope="module")
def cron() -> Iterator[Cluster]:
    """A server with pg_cron, which has its job in the database `flows`."""
    if not any(binaries().parent.glob("share/**/pg_cron.control")):
        pytest.skip(
            "this PostgreSQL has no pg_cron: name the programs of one that has it in HITL_POSTGRES_BIN"
        )
    settings = {
        "shared_preload_libraries": "pg_cron",
        "cron.database_name": "flows",
        "cron.use_background_workers": "on",
    }
    with cluster(None, None, **settings) as running:
        running.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier("flows")))
        apply_resonate(running.url("flows"))
        schema.install(running.url("flows"))
        yield running


def test_pg_cron_itself_runs_its_job_beside_workers(hitl: Hitl, cron: Cluster) -> None:
    hitl.use(cron.url("flows"))
    (hitl.folder / "app.py").write_text(APP + DEADLINES)
    status = hitl.json("postgres", "status")
    assert (status["pgCron"], hitl.json("doctor")["database"]["pg_cron"]) == (True, "5 seconds")

    hitl.ok("ask", "Soon?", "--id", "r", "--deadline", "1s", "--no-wait")
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        state = "SELECT state FROM resonate.promises WHERE id = 'r'"
        wait_until(lambda: connection.execute(state).fetchone() != ("pending",))  # nothing of hitl runs

        workers = [hitl.worker("--app", "app.py") for _ in range(2)]
        late, quick = start_many(hitl, "late", COUNT), start_many(hitl, "quick", COUNT)
        all_end(hitl, late + quick)
        runs = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'"
        before = connection.execute(runs).fetchone()
        wait_until(lambda: connection.execute(runs).fetchone() != before)
        failed = "SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"
        assert connection.execute(failed).fetchone() == (0,)
        assert connection.execute(DEADLOCKS).fetchone() == (0,)
    assert sorted(ran(hitl)) == sorted(late + quick)
    assert [worker.stop() for worker in workers] == [0, 0]


def test_nothing_happens_twice_beside_the_job_of_pg_cron(hitl: Hitl, job: list[int]) -> None:
    workers = [hitl.worker("--app", "app.py") for _ in range(2)]
    late, quick = start_many(hitl, "late", COUNT), start_many(hitl, "quick", COUNT)
    all_end(hitl, late + quick)
    assert sorted(ran(hitl)) == sorted(late + quick)
    hitl.ok("schedule", "add", "often", "* * * * *", "--workflow", "asks", "--args", '["s"]')
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        now = "(extract(epoch from clock_timestamp()) * 1000)::bigint"
        connection.execute(f"UPDATE hitl.schedules SET next_run_at = {now} / 60000 * 60000")
        hitl.waiting(1)
        hitl.ok("schedule", "remove", "often")
        assert connection.execute(DEADLOCKS).fetchone() == (0,)
    assert sum(job) > 0
    assert [worker.stop() for worker in workers] == [0, 0]
