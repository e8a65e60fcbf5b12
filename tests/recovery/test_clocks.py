"""A computer's clock is set back, or jumps ahead by mistake and comes back: the file's time goes on."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine.file_clock import SLOWED_PERCENT, Instant, following
from hitl_cli.inbox.pending import pending
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.acting import approval, decide
from tests.apps.steps import STEPS_GATE, STEPS_LOG, read_lines
from tests.conftest import NOBODY, wait_until
from tests.recovery.processes import MovedClock, start, work
from tests.recovery.test_races import blocking
from tests.worker.watching import begin, end_of, promise_of, result_of, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from tests.conftest import Hitl

pytestmark = pytest.mark.only("file", reason="a file goes by the clock of each process, other servers by one")

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
LEASE_MS = 500
NAP_S = 1.0
SOON_S = 15.0
"""Far less than an hour, and enough for a busy machine."""

APP = """
from datetime import timedelta
from hitl_cli import workflow
from tests.apps.steps import *

@workflow
async def nap(ctx, seconds):
    await ctx.sleep(timedelta(seconds=seconds))
    return "awake"
"""


@pytest.fixture
def clock(hitl: Hitl) -> MovedClock:
    """The clock of the computer on which the workers and the client run."""
    return MovedClock(hitl.folder / "clock")


@pytest.fixture
def client(hitl: Hitl, clock: MovedClock) -> Iterator[EmbeddedClient]:
    """A client on that computer."""
    with EmbeddedClient(hitl.database, clock) as opened:
        yield opened


@pytest.fixture
def worker(hitl: Hitl, clock: MovedClock) -> Iterator[Callable[[], BaseProcess]]:
    """Start a worker on that computer."""
    app = hitl.folder / "app.py"
    app.write_text(APP)
    workers: list[BaseProcess] = []

    def started() -> BaseProcess:
        env = {STEPS_LOG: str(hitl.folder / "log"), STEPS_GATE: str(hitl.folder / "gate")}
        workers.append(start(work, hitl.database, str(app), LEASE_MS, env, clock))
        return workers[-1]

    yield started
    for one in workers:
        one.kill()
        one.join()


@pytest.mark.parametrize("back_ms", [HOUR_MS, YEAR_MS], ids=["an hour", "a year"])
def test_while_the_clock_is_behind_all_that_takes_time_takes_that_time(
    hitl: Hitl,
    clock: MovedClock,
    client: EmbeddedClient,
    worker: Callable[[], BaseProcess],
    back_ms: int,
) -> None:
    clock.move(back_ms)
    first = worker()
    begin(client, "before", "approval", "before")
    waiting(client)

    clock.move(0)

    decide(client, "before", approval(by="ada", via="test"))
    result_of(client, "before")  # what had begun ends
    began = time.monotonic()
    begin(client, "nap", "nap", NAP_S)
    assert result_of(client, "nap") == "awake"  # a timer fires, and not at once
    assert NAP_S <= time.monotonic() - began < SOON_S

    client.call_many([blocking("late", client.now() + 1_000)])
    wait_until(lambda: promise_of(client, "late").state == "rejected_timedout", SOON_S)  # a deadline passes

    begin(client, "taken-over", "gate_in_the_middle", "taken-over")
    log = hitl.folder / "log"
    wait_until(lambda: len(read_lines(log)) == 3)
    worker()
    first.kill()
    wait_until(lambda: len(read_lines(log)) == 4, SOON_S)  # a lease lapses
    (hitl.folder / "gate").touch()
    result_of(client, "taken-over")


def test_when_the_clock_jumps_a_year_ahead_what_must_end_ends_and_the_rest_goes_on(
    clock: MovedClock, client: EmbeddedClient, worker: Callable[[], BaseProcess]
) -> None:
    worker()
    week = RunSpec(id="week", workflow="approval", args=["week"])
    Runs(client, NOBODY).start(week, deadline_ms=7 * 24 * HOUR_MS)
    client.call_many([blocking("decade", client.now() + 10 * YEAR_MS)])
    sleeper = RunSpec(id="sleeper", workflow="nap", args=[24 * 3_600])
    Runs(client, NOBODY).start(sleeper, deadline_ms=10 * YEAR_MS)
    waiting(client, 2)

    clock.move(YEAR_MS)

    assert end_of(client, "week").state == "expired"
    assert result_of(client, "sleeper") == "awake"
    assert [item.id for item in pending(client)[0]] == ["decade"]
    decide(client, "decade", approval(by="ada", via="test"))
    begin(client, "new", "nap", 0.1)
    result_of(client, "new")


def test_a_worker_says_that_the_clock_is_behind_the_file(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    with closing(sqlite3.connect(hitl.database)) as db, db:
        db.execute("UPDATE clock SET now = now + ?", (HOUR_MS,))

    worker = hitl.worker()

    assert "0:59:5" in worker.complained("clock is") or "1:00:00" in worker.complained("clock is")
    assert worker.stop() == 0
    assert len([line for line in worker.errors if "clock" in line]) == 1


def test_time_that_is_ahead_passes_a_little_slower_until_the_clock_has_caught_up() -> None:
    step = 10_000
    wall = 9 * HOUR_MS
    instant = following(Instant(10 * HOUR_MS), wall)
    assert instant.now == 10 * HOUR_MS
    while instant.now > wall:
        wall += step
        last, instant = instant, following(instant, wall)
        assert 0 <= instant.now - last.now <= step
    assert instant == Instant(wall)
    assert abs(wall - (9 + 100) * HOUR_MS) < HOUR_MS


def test_a_clock_that_is_set_back_and_then_right_again_leaves_nothing_behind() -> None:
    instant = following(Instant(10 * HOUR_MS), 9 * HOUR_MS)
    instant = following(instant, 9 * HOUR_MS + 60_000)
    assert instant.now > 10 * HOUR_MS
    assert following(instant, 10 * HOUR_MS + 70_000) == Instant(10 * HOUR_MS + 70_000)


def test_time_that_is_ahead_passes_no_slower_for_many_looks() -> None:
    wall, instant = 1_000_000, following(Instant(2_000_000), 1_000_000)
    for _ in range(10_000):
        wall += 1
        instant = following(instant, wall)
    assert instant.now == 2_000_000 + 10_000 * SLOWED_PERCENT // 100


def test_a_clock_that_is_set_back_twice_never_takes_time_back() -> None:
    instant = following(Instant(10_000), 5_000)
    instant = following(instant, 6_000)
    now = instant.now
    instant = following(instant, 100)
    assert instant.now == now
    assert following(instant, 1_100).now == now + 1_000 * SLOWED_PERCENT // 100
