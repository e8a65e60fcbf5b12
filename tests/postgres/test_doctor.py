"""hitl doctor on a database: each thing that can be wrong is said, and nothing is changed by looking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from hitl_cli.admin.database_checks import JUDGES
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.runs.schedules import Schedules, ScheduleSpec
from hitl_cli.servers.postgres import facts
from tests.cli.past import DAY_MS, Past
from tests.cli.test_doctor import found
from tests.conftest import NOBODY
from tests.postgres.cluster import PASSWORD, apply_resonate
from tests.postgres.test_install import role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

CRON = """
CREATE SCHEMA cron;
CREATE TABLE cron.job (schedule text, command text, active boolean);
INSERT INTO cron.job VALUES ('5 seconds', 'SELECT resonate.process_timeouts()', true);
"""
"""What pg_cron has after resonate.sql, as far as it is read."""


@pytest.fixture(autouse=True)
def on_a_database(hitl: Hitl, database: str) -> None:
    hitl.use(database)


def change(hitl: Hitl, *statements: str) -> None:
    """Make the database as some mishap would."""
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_all_is_well_with_a_database_in_use(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting(1)

    report = hitl.json("doctor")

    assert {finding["level"] for finding in report["findings"]} == {"ok"}
    assert report["reachable"] is report["worker"] is True
    assert report["file"] is None
    database = report["database"]
    assert (database["runs"], database["waiting"], database["tls"]) == (1, 1, None)
    assert database["oldest_waiting"]["id"] == "a:1"
    assert set(database["tasks"]) == {"suspended"}
    assert database["problems"] == []
    assert "a worker is listening for group default" in hitl.ok("doctor")


def test_no_secret_is_shown(hitl: Hitl) -> None:
    hitl.env["HITL_SERVER"] = f"{hitl.url}?sslpassword=of-the-key"
    for args in ((), ("--json",), ("--full",)):
        done = hitl.run("doctor", *args)
        assert done.returncode == 0
        for secret in (PASSWORD, "of-the-key"):
            assert secret not in done.stdout + done.stderr


def test_who_may_only_work_learns_the_same(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    hitl.use(role(hitl.url, "doctors_clerk", "resonate_worker"))
    report = hitl.json("doctor")
    assert report["database"]["runs"] == 1
    assert report["database"]["user"] == "doctors_clerk"


def test_looking_changes_nothing(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        past.ask("late:1", "Late?", life_ms=60_000)
    finding = found(hitl)["deadlines"]
    assert finding["level"] == "warning"
    with psycopg.connect(hitl.url) as connection:
        assert connection.execute("SELECT state FROM resonate.promises").fetchall() == [("pending",)]


def test_a_schedule_that_nobody_fires_is_said(hitl: Hitl) -> None:
    with hitl.client(lambda: now_ms() - DAY_MS) as client:
        Schedules(client, NOBODY).add(ScheduleSpec(id="hourly", cron="0 * * * *"))
    assert found(hitl)["deadlines"]["text"].startswith("1 ")


def test_work_that_nobody_takes_is_said(hitl: Hitl) -> None:
    hitl.ok("start", "a", "--group", "night shift")
    finding = found(hitl)["offers"]
    assert finding["level"] == "warning"
    assert finding["advice"] == "start one: hitl worker --group 'night shift'"


def test_leases_that_nobody_took_over_are_said(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    change(
        hitl, "UPDATE resonate.tasks SET state = 'acquired', version = 1, pid = 'w', ttl = 1, timeout_at = 1"
    )
    assert found(hitl)["leases"]["level"] == "warning"


def test_a_run_that_nothing_will_resume_is_an_error(hitl: Hitl) -> None:
    hitl.ok("start", "a")
    change(hitl, "UPDATE resonate.tasks SET state = 'suspended', timeout_at = NULL")
    finding = found(hitl, 1)["suspended"]
    assert finding["level"] == "error"
    assert finding["text"].endswith(": a")


def test_an_index_that_is_missing_is_said(hitl: Hitl) -> None:
    change(hitl, "DROP INDEX resonate.hitl_due")
    finding = found(hitl)["indexes"]
    assert finding["level"] == "warning"
    assert "hitl_due" in finding["text"]
    hitl.ok("postgres", "install")
    assert "indexes" not in found(hitl)


def test_a_resonate_that_was_applied_in_part_is_an_error(hitl: Hitl) -> None:
    change(hitl, "ALTER FUNCTION resonate.resonate_rpc(jsonb) SECURITY INVOKER")
    finding = found(hitl, 6)["schema"]
    assert finding["level"] == "error"
    assert "SECURITY DEFINER" in finding["text"]


def test_the_job_of_pg_cron_is_said_with_its_cost(hitl: Hitl) -> None:
    change(hitl, CRON)
    finding = found(hitl)["pg_cron"]
    assert finding["level"] == "ok"
    assert "5 seconds" in finding["text"]
    change(
        hitl,
        "INSERT INTO resonate.promises (id, timeout_at, created_at)"
        f" SELECT 'p' || n, {now_ms() + DAY_MS}, 0 FROM generate_series(1, 10000) n",
    )
    finding = found(hitl)["pg_cron"]
    assert finding["level"] == "warning"
    assert "10,000" in finding["text"]
    assert "cron.unschedule('resonate_process_timeouts')" in finding["advice"]


def test_old_statistics_are_said(hitl: Hitl) -> None:
    change(
        hitl,
        "ALTER TABLE resonate.promises SET (autovacuum_enabled = off)",
        "INSERT INTO resonate.promises (id, timeout_at, created_at)"
        f" SELECT 'p' || n, {now_ms() + DAY_MS}, 0 FROM generate_series(1, 10000) n",
        *(f"UPDATE resonate.promises SET created_at = {n}" for n in range(3)),
        "SELECT pg_stat_force_next_flush()",
    )
    assert "promises" in found(hitl)["statistics"]["text"]
    change(hitl, "ANALYZE resonate.promises", "SELECT pg_stat_force_next_flush()")
    assert "statistics" not in found(hitl)


def test_a_database_that_takes_no_writes_is_an_error(hitl: Hitl) -> None:
    change(hitl, f"ALTER DATABASE {hitl.url.rpartition('/')[2]} SET default_transaction_read_only = on")
    assert found(hitl, 1)["writes"]["level"] == "error"


def test_a_worker_of_another_sdk_is_seen(hitl: Hitl) -> None:
    listening = "SELECT resonate.outbox_channel('poll://any@night')"
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        row = connection.execute(listening).fetchone()
        assert row is not None
        connection.execute(f'LISTEN "{row[0]}"'.encode())  # as @resonatehq/sdk does
        hitl.ok("start", "a", "--group", "night")
        assert "offers" not in found(hitl)
        assert hitl.json("doctor")["worker"] is False
        assert "hitl worker" not in hitl.run("start", "b", "--group", "night").stderr
    assert found(hitl)["offers"]["level"] == "warning"
    assert "hitl worker --group night" in hitl.run("start", "c", "--group", "night").stderr


@pytest.mark.parametrize(
    ("seen", "name", "level"),
    [
        ({"local": False}, "TLS", "warning"),
        ({"local": False, "tls": "TLSv1.3"}, "TLS", "warning"),
        ({"local": False, "tls": "TLSv1.3", "verified": True}, "TLS", "ok"),
        ({"connections_left": 3}, "connections", "warning"),
        ({"role_exists": False}, "role", "warning"),
        ({"ahead_ms": 60_000}, "clock", "warning"),
        ({"ahead_ms": -60_000}, "clock", "warning"),
    ],
)
def test_a_connection_and_a_clock_are_judged(
    database: str, seen: dict[str, Any], name: str, level: str
) -> None:
    seen_there = msgspec.structs.replace(facts(database, "default", full=False), **seen)
    findings = {finding.name: finding.level for judge in JUDGES for finding in judge(seen_there)}
    assert findings[name] == level


@pytest.fixture
def bare(postgres: Cluster) -> Iterator[str]:
    """A database without anything."""
    url = postgres.create()
    yield url
    postgres.drop(url)


def test_a_database_that_is_not_prepared_is_an_error_with_what_to_do(hitl: Hitl, bare: str) -> None:
    hitl.use(bare)
    assert "resonate.sql" in found(hitl, 6)["schema"]["text"]
    apply_resonate(bare)
    assert "hitl postgres install" in found(hitl, 6)["schema"]["text"]
    hitl.ok("postgres", "install")
    assert found(hitl)["schema"]["level"] == "ok"
    hitl.use(role(bare, "doctors_stranger"))
    assert "GRANT resonate_worker" in found(hitl, 6)["schema"]["text"]


def test_a_database_that_is_not_there_is_an_error(hitl: Hitl) -> None:
    hitl.use("postgresql://127.0.0.1:9/a")
    report = hitl.run("doctor", "--json")
    assert report.returncode == 6
    assert json.loads(report.stdout)["reachable"] is False
