"""How a worker takes tasks: in one transaction with what else it asks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.postgres.worker_link import PostgresConnection
from hitl_cli.sdk.worker_link import WorkerTerms
from tests.conftest import wait_until

if TYPE_CHECKING:
    from hitl_cli.postgres.client import PostgresClient

FAR = 4_000_000_000_000
CALL = "eyJmdW5jIjoiZGVwbG95IiwiYXJncyI6W10sImt3YXJncyI6e319"
"""Of the function deploy, as a run's data."""

TERMS = WorkerTerms(
    group="default",
    pid="p",
    room=lambda _: 1,
    served=lambda: [("deploy", 1)],
    wants=lambda *_: False,
    lease_ms=60_000,
    ended=lambda _: None,
)


def run(id: str) -> ProtocolRequest:
    lineage = {
        "resonate:origin": id,
        "resonate:branch": id,
        "resonate:parent": id,
        "resonate:scope": "global",
    }
    tags = {**lineage, "resonate:target": "poll://any@default"}
    data = {"id": id, "timeoutAt": FAR, "param": {"headers": {}, "data": CALL}, "tags": tags}
    return ProtocolRequest("promise.create", data)


def take(room: int, *left: str) -> ProtocolRequest:
    data = {"addresses": ["poll://any@default"], "pid": "p", "ttl": 60_000, "room": room, "left": left}
    return ProtocolRequest("hitl.take", {**data, "functions": ["deploy@1"]})


def ids(answer: Any) -> list[str]:
    return [each["task"]["id"] for each in json.loads(bytes(answer.data))["tasks"]]


def test_tasks_are_taken_beside_other_requests(client: PostgresClient) -> None:
    created, taken, rest = client.call_many([run("a"), take(5), take(5)])
    assert created.status == taken.status == rest.status == 200
    assert (ids(taken), ids(rest)) == (["a"], [])


def test_what_a_worker_has_left_to_others_is_not_taken_again(client: PostgresClient) -> None:
    _, _, taken, rest = client.call_many([run("a"), run("b"), take(5, "a"), take(5)])
    assert (ids(taken), ids(rest)) == (["b"], ["a"])


def test_tasks_are_taken_beside_a_request_that_fails(client: PostgresClient) -> None:
    broken = ProtocolRequest("promise.create", {**run("b").data, "timeoutAt": "never"})
    _, refused, taken = client.call_many([run("a"), broken, take(5)])
    assert refused.status == 400
    assert ids(taken) == ["a"]


def test_what_a_worker_has_taken_when_it_stops_is_released_at_once(
    client: PostgresClient, database: str
) -> None:
    client.call_many([run("a")])

    async def stop_while_taking() -> None:
        connection = PostgresConnection(database, TERMS, 0)
        taking = asyncio.create_task(connection._take(1, ["deploy@1"]))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.to_thread(wait_until, offered)
        connection.close()

    def offered() -> bool:
        [answer] = client.call_many([ProtocolRequest("task.get", {"id": "a"})])
        task = json.loads(bytes(answer.data))["task"]
        return bool(task["state"] == "pending" and task["version"] == 1)

    asyncio.run(asyncio.wait_for(stop_while_taking(), 20))


def test_a_session_that_began_on_an_empty_database_settles_without_reading_all_that_waits(
    database: str,
) -> None:
    """Before statistics of real runs exist: a plan of then would be kept until they do."""
    with psycopg.connect(database) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        connection.execute("SET enable_hashjoin = off; SET enable_mergejoin = off")
        connection.execute(
            "PREPARE cascade(text) AS DELETE FROM resonate.callbacks WHERE awaiter_id = $1"
            " AND awaited_id IN (SELECT id FROM resonate.promises WHERE state = 'pending')"
        )
        plan = [line for (line,) in connection.execute("EXPLAIN EXECUTE cascade('a')")]
    scans = [line for line in plan if "Scan" in line]
    assert "callbacks" in scans[0].partition(" on ")[2], plan
