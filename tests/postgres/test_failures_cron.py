"""The job of pg_cron, resonate.process_timeouts(), runs beside the timers of hitl: nothing happens twice.

The statement of the job is run here by a session, far more often than each 5 s.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.postgres.test_failures import APP, all_end, ran, start_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

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
