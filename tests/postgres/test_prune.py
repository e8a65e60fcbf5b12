"""hitl prune on a database: the same runs go and stay as on a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from hitl_cli.client.protocol import ProtocolRequest, search
from tests.cli.past import DAY_MS, Past
from tests.conftest import Hitl
from tests.servers import use_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres.cluster import Cluster

LISTENER = "poll://any@listener"


@pytest.fixture
def on_postgres(tmp_path: Path, postgres: Cluster) -> Iterator[Hitl]:
    (tmp_path / "postgres").mkdir()
    hitl = Hitl(tmp_path / "postgres")
    drop = use_database(postgres, hitl)
    yield hitl
    drop()


def ended(past: Past, id: str, *, steps: int = 1) -> None:
    """Create a run that has ended, with a request, a vote on it, and steps."""
    past.run(id)
    past.ask(f"{id}:1", "Ship?", approvals=2)
    past.plain(f"{id}:1:vote", tags={"resonate:external": "true", "hitl:vote": f"{id}:1", "hitl:said": "1"})
    past.approve(f"{id}:1")
    for number in range(steps):
        past.step(f"{id}:{number + 2}", id)
    past.approve(f"{id}:1:vote", by=None)
    past.approve(id, by=None)


def scene(hitl: Hitl) -> None:
    """Create runs that end a year ago and later, and what belongs to no run."""
    with Past(hitl, 300 * DAY_MS) as past:
        for id in ("gone", "gone-too"):
            ended(past, id)
        past.run("listened")
        past.send("promise.register_listener", awaited="listened", address=LISTENER)
        past.approve("listened", by=None)
        past.run("open")
        past.ask("overdue:1", "Ship?", life_ms=DAY_MS)
        past.run("overdue")
        past.approve("overdue", by=None)
        past.run("asks")
        past.ask("asks:1", "Ship?")
        past.approve("asks", by=None)
        past.run("half-done")
        past.step("half-done:1", "half-done")
        past.send("promise.create", id="half-done:2", timeoutAt=past.now + 900 * DAY_MS, tags={
            "resonate:origin": "half-done", "resonate:scope": "local"})  # fmt: skip
        past.approve("half-done", by=None)
        past.ask("alone", "Ship?")
        past.approve("alone")
        past.plain("token", tags={"hitl:token": "1"})
        past.approve("token", by=None)
        past.run("late")
        past.now += 200 * DAY_MS
        past.approve("late", by=None)
        past.now += 80 * DAY_MS
        past.run("just-listened")
        past.send("promise.register_listener", awaited="just-listened", address=LISTENER)
        past.approve("just-listened", by=None)
        past.plain("newest")


def left(hitl: Hitl) -> list[str]:
    with hitl.client() as client:
        return sorted(promise.id for promise in search(client))


def counts(document: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on when the scene was made, nor on sizes."""
    return {
        name: value for name, value in document.items() if name in ("dry_run", "runs", "promises", "kept")
    }


@pytest.mark.parametrize("older", ["200d", "50d", "1d"])
def test_the_same_runs_go_as_on_a_file(hitl: Hitl, on_postgres: Hitl, older: str) -> None:
    for server in (hitl, on_postgres):
        scene(server)
    file, database = (server.json("prune", "--older", older, "--dry-run") for server in (hitl, on_postgres))
    assert counts(file) == counts(database)
    assert left(hitl) == left(on_postgres)
    assert file["runs"] >= 3
    file, database = (server.json("prune", "--older", older, "--yes") for server in (hitl, on_postgres))
    assert counts(file) == counts(database)
    assert left(hitl) == left(on_postgres)
    assert {"open", "asks", "asks:1", "alone", "token", "just-listened"} <= set(left(on_postgres))
    assert not {"gone", "gone:1", "gone:1:vote", "gone:2", "half-done", "half-done:2"} & set(
        left(on_postgres)
    )
    assert counts(on_postgres.json("prune", "--older", older, "--yes"))["runs"] == 0
    assert on_postgres.ok("start", "gone") == "run gone started\n"


def test_nothing_is_left_of_a_huge_run_and_of_many(on_postgres: Hitl) -> None:
    with Past(on_postgres, 9 * DAY_MS) as past:
        past.run("huge")
        tags = {"resonate:origin": "huge", "resonate:scope": "local"}
        steps = [
            {"id": f"huge:{number}", "timeoutAt": past.now + DAY_MS, "tags": tags} for number in range(2_500)
        ]
        past.client.call_many([ProtocolRequest("promise.create", step) for step in steps])
        past.approve("huge", by=None)
        for number in range(250):
            past.run(f"r{number}")
            past.approve(f"r{number}", by=None)
        past.run("waits")
    done = on_postgres.json("prune", "--older", "1d", "--yes")
    assert (done["runs"], done["promises"], done["kept"]["live"]) == (251, 2_751, 1)
    assert left(on_postgres) == ["waits"]
    with psycopg.connect(on_postgres.url) as connection:
        for table in ("tasks", "callbacks", "listeners", "task_resumes", "outbox"):
            rows = connection.execute(f"SELECT count(*) FROM resonate.{table}".encode()).fetchone()
            assert rows == (1 if table in ("tasks", "outbox") else 0,), table


def test_what_somebody_changes_at_this_moment_stays(on_postgres: Hitl) -> None:
    with Past(on_postgres, 9 * DAY_MS) as past:
        ended(past, "a")
    with psycopg.connect(on_postgres.url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(7107112, hashtext('a'))")
        kept = on_postgres.json("prune", "--older", "1d", "--yes")
        assert (kept["runs"], kept["kept"]["live"]) == (0, 1)
    assert on_postgres.json("prune", "--older", "1d", "--yes")["runs"] == 1
    assert left(on_postgres) == []


def test_schedules_tokens_and_links_stay_and_work(on_postgres: Hitl) -> None:
    hitl = on_postgres
    hitl.ok("schedule", "add", "nightly", "0 2 * * *", "--workflow", "approval")
    token = hitl.json("token", "create", "--as", "ci", "--can", "start")
    with Past(hitl, 9 * DAY_MS) as past:
        ended(past, "a")
    assert hitl.json("prune", "--older", "1d", "--yes")["runs"] == 1
    assert [one["id"] for one in hitl.json("schedule", "list")] == ["nightly"]
    assert [one["id"] for one in hitl.json("token", "list")] == [token["id"]]
