"""A network that is slow, or that loses an answer after the database has committed."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.postgres import connecting
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.streams import Reader
from tests.postgres.slow import network
from tests.postgres.test_failures import APP, all_end, ran, start_many

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

DECISIONS = 300
COMPLETED = "SELECT count(*) FROM resonate.promises WHERE id ~ '^asks[0-9]+$' AND state = 'resolved'"


@pytest.fixture(autouse=True)
def app(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)


def through(database: str, port: int) -> str:
    """Return the URL of a database through another port."""
    before, _, after = database.rpartition(":")
    return f"{before}:{port}/{after.partition('/')[2]}"


@pytest.mark.parametrize("trip_ms", [1, 50])
def test_a_slow_network_changes_nothing_but_the_speed(
    hitl: Hitl, postgres: Cluster, database: str, trip_ms: int
) -> None:
    with network(postgres.port, trip_ms / 2_000) as slow:
        hitl.use(through(database, slow.port))
        worker = hitl.worker("--app", "app.py", "--lease", "2s")
        gateway = begin_gateway(hitl)
        hitl.workers.append(gateway)
        with Reader(gateway) as reader:
            reader.wait_for("ready")
            asks = start_many(hitl, "asks", DECISIONS)
            hitl.use(database)
            hitl.waiting(DECISIONS)
            began = time.monotonic()
            hitl.ok("approve", "--stdin", "--yes", stdin="\n".join(asks))
            with psycopg.connect(database, autocommit=True) as connection:
                wait_until(lambda: connection.execute(COMPLETED).fetchone() == (DECISIONS,))
            print(f"{trip_ms} ms: {DECISIONS / (time.monotonic() - began):.0f} decisions a second")
            hitl.use(through(database, slow.port))
            hitl.ok("ask", "Now?", "--id", "q", "--no-wait")
            reader.wait_for("request.asked", "q")
            hitl.ok("ask", "Soon?", "--id", "soon", "--deadline", "2s", "--no-wait")
            began = time.monotonic()
            hitl.fails(5, "ask", "Soon?", "--id", "soon", "--deadline", "2s")
            assert time.monotonic() - began < 6
        slept = start_many(hitl, "slow", 3)
        all_end(hitl, slept)
        assert sorted(ran(hitl)) == sorted(asks + slept)
        assert not [line for line in worker.errors if "WARNING" in line or "lost" in line], worker.errors
        assert worker.stop() == 0


def test_an_answer_that_is_lost_is_asked_for_again(hitl: Hitl, postgres: Cluster, database: str) -> None:
    with network(postgres.port) as flaky:
        hitl.use(through(database, flaky.port))
        for word, command in (
            (b"promise.create", ("start", "a", "--workflow", "asks", "--args", '["a"]')),
            (b"promise.create", ("ask", "Go?", "--id", "b", "--no-wait")),
            (b"promise.settle", ("approve", "b")),
            (b"schedule.create", ("schedule", "add", "s", "0 0 1 1 *", "--workflow", "quick")),
            (b"promise.settle", ("cancel", "a")),
        ):
            before = flaky.lost
            flaky.lose(word)
            hitl.ok(*command)
            assert flaky.lost == before + 1, command
        assert hitl.json("show", "b")["state"] == "resolved"


def test_a_decision_costs_a_worker_four_trips(hitl: Hitl, postgres: Cluster, database: str) -> None:
    with network(postgres.port) as counting:
        hitl.use(through(database, counting.port))
        (hitl.folder / "app.py").write_text(APP.replace("await asyncio.sleep(0.02)", "pass"))
        hitl.worker("--app", "app.py")
        hitl.use(database)
        all_end(hitl, start_many(hitl, "quick", 1))
        asks = start_many(hitl, "asks", 1)
        hitl.waiting(1)
        before = len(counting.asked)
        hitl.ok("approve", *asks)
        all_end(hitl, asks)
        trips = [re.findall(rb'"kind":"((?:hitl|task)[.]\w+)', sent) for sent in counting.asked[before:]]
    assert [trip for trip in trips if trip] == [
        [b"hitl.take"],
        [b"task.fence"],
        [b"task.fence", b"task.fence"],
        [b"task.fulfill"],
    ]


@pytest.mark.parametrize("word", [b"task.fence", b"task.fulfill", b"task.suspend", b"hitl.take"])
def test_an_answer_to_a_worker_that_is_lost_repeats_no_step(
    hitl: Hitl, postgres: Cluster, database: str, word: bytes
) -> None:
    with network(postgres.port) as flaky:
        hitl.use(through(database, flaky.port))
        hitl.worker("--app", "app.py", "--lease", "2s")
        hitl.use(database)
        all_end(hitl, start_many(hitl, "quick", 1))
        flaky.lose(word)
        asks = start_many(hitl, "asks", 5)
        hitl.waiting(5)
        hitl.ok("approve", "--stdin", "--yes", stdin="\n".join(asks))
        all_end(hitl, asks)
        assert flaky.lost == 1
        assert sorted(ran(hitl)) == sorted([*asks, "quick0"])


def test_a_machine_that_is_gone_is_noticed(database: str) -> None:
    assert connecting.options_of(f"{database}?tcp_user_timeout=7")["tcp_user_timeout"] == "7"
    with connecting.connect(database) as connection:
        kept = connection.info.get_parameters()
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"} <= set(kept)
