"""A database stops, restarts, or cuts connections: commands, workers and gateways go on after it."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.wire import encode
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.conftest import HITL, NOBODY, PATIENCE_S, Hitl, WorkerProcess, wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.streams import Reader
from tests.postgres.cluster import cluster
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.cluster import Cluster

AWAY_S = 5

APP = """
import asyncio
from datetime import timedelta
from pathlib import Path

from hitl_cli import ask, workflow


@workflow
async def quick(ctx, id):
    return await ctx.run(once, id)


async def once(ctx, id):
    with Path("ran").open("a") as file:
        file.write(f"{id}\\n")
    await asyncio.sleep(0.02)
    return id


@workflow
async def slow(ctx, id):
    return await ctx.run(slowly, id)


async def slowly(ctx, id):
    with Path("ran").open("a") as file:
        file.write(f"{id}\\n")
    await asyncio.sleep(3)
    return id


@workflow
async def asks(ctx, id):
    decision = await ask(ctx, "Go on?")
    await ctx.run(once, id)
    return decision.approved
"""


@pytest.fixture(scope="module")
def mortal() -> Iterator[Cluster]:
    """A server that tests stop and start again."""
    with cluster() as running:
        running.prepare_template()
        yield running


@pytest.fixture(autouse=True)
def scene(hitl: Hitl, mortal: Cluster) -> None:
    hitl.use(mortal.create_installed())
    (hitl.folder / "app.py").write_text(APP)


def ran(hitl: Hitl) -> list[str]:
    """Return the ids of the runs whose step has begun, as often as it has."""
    file = hitl.folder / "ran"
    return file.read_text().split() if file.exists() else []


@contextmanager
def away(server: Cluster) -> Iterator[None]:
    """Crash a server, let a client notice, and start the server again."""
    server.stop("immediate")
    with socket.create_server(("127.0.0.1", server.port)) as nobody:
        nobody.settimeout(PATIENCE_S)
        nobody.accept()[0].close()
    yield
    server.start()


# Commands that wait


def in_terminal(hitl: Hitl, *args: str) -> Terminal:
    """Start a command where it says that it waits."""
    return Terminal([HITL, *args], hitl.env, hitl.folder)


@pytest.mark.parametrize("command", [("wait", "a"), ("start", "a", "--wait")])
def test_a_run_is_waited_for_through_a_restart(hitl: Hitl, mortal: Cluster, command: tuple[str, ...]) -> None:
    with hitl.client() as client:
        Runs(client, NOBODY).start(RunSpec(id="a"))
    with in_terminal(hitl, *command) as terminal:
        terminal.shows("waiting for a (")
        with away(mortal):
            pass
        with hitl.client() as client:
            settled = {"id": "a", "state": "resolved", "value": encode({"done": True})}
            as_promise(client.call_many([ProtocolRequest("promise.settle", settled)])[0])
        assert terminal.end() == 0
        assert '{"done":true}' in terminal.screen()


def test_a_request_is_waited_for_through_a_restart(hitl: Hitl, mortal: Cluster) -> None:
    asking = WorkerProcess([HITL, "ask", "Deploy?", "--id", "d", "--json"], hitl.env, hitl.folder)
    hitl.workers.append(asking)
    hitl.waiting()
    with away(mortal):
        pass
    hitl.ok("approve", "d")
    assert asking.end() == 0
    assert json.loads("".join(asking.lines))["outcome"] == "approved"


def test_requests_are_watched_through_a_restart(hitl: Hitl, mortal: Cluster) -> None:
    watching = WorkerProcess([HITL, "pending", "--watch", "--json"], hitl.env, hitl.folder)
    hitl.workers.append(watching)
    assert json.loads(watching.said("[]")) == []
    with away(mortal):
        pass
    hitl.ok("ask", "Deploy?", "--id", "d", "--no-wait")
    assert json.loads(watching.said("Deploy?"))[0]["id"] == "d"


# A restart under load


def start_many(hitl: Hitl, workflow: str, count: int) -> list[str]:
    """Start runs, and return their ids."""
    ids = [f"{workflow}{number}" for number in range(count)]
    told = "".join(json.dumps({"id": id, "args": [id]}) + "\n" for id in ids)
    hitl.ok("start", "--stdin", "--workflow", workflow, stdin=told)
    return ids


def all_end(hitl: Hitl, ids: list[str]) -> None:
    """Wait until runs have ended, and check that each has its own result."""
    for id in ids:
        assert hitl.json("wait", id, "--timeout", f"{PATIENCE_S:.0f}s")["result"] in (id, True)


@pytest.mark.long
def test_five_seconds_without_a_server_lose_nothing_and_repeat_no_step(hitl: Hitl, mortal: Cluster) -> None:
    hitl.ok("ask", "Later?", "--id", "later", "--no-wait")
    workers = [hitl.worker("--app", "app.py") for _ in range(2)]
    gateway = begin_gateway(hitl)
    hitl.workers.append(gateway)
    with Reader(gateway) as reader:
        reader.wait_for("ready")
        slow = start_many(hitl, "slow", 5)
        wait_until(lambda: len(ran(hitl)) == len(slow))
        quick = start_many(hitl, "quick", 100)
        mortal.stop("immediate")
        assert gateway.get("/ready").status == 503
        assert gateway.get("/api/v1/requests").status == 503
        hitl.fails(6, "approve", "later", code="server-unreachable")
        threading.Event().wait(AWAY_S)  # so long that the steps in hand end meanwhile
        mortal.start()
        wait_until(lambda: gateway.get("/ready").status == 200)
        hitl.ok("approve", "later")
        reader.wait_for("look")
        all_end(hitl, slow + quick)
        assert sorted(id for id in ran(hitl) if id.startswith("slow")) == slow
        hitl.ok("ask", "Back?", "--id", "back", "--no-wait")
        reader.wait_for("request.asked", "back")
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_worker_without_its_server_can_be_stopped(hitl: Hitl, mortal: Cluster) -> None:
    worker = hitl.worker("--app", "app.py")
    mortal.stop("immediate")
    worker.complained("cannot be reached")
    assert worker.stop() == 0
    mortal.start()


# A connection that is cut

END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
ROLES = {
    "listener": "application_name = 'hitl worker' AND query ~ 'tick|LISTEN|care|announce'",
    "lanes": "application_name = 'hitl worker' AND query ~ 'hitl.(take|many)'",
    "others": "application_name = 'hitl'",
}


def cut(hitl: Hitl, which: str = "true") -> int:
    """End the connections of a role, and return how many there were."""
    with psycopg.connect(hitl.url, autocommit=True) as connection:
        return len(connection.execute(f"{END} AND {which}".encode()).fetchall())


@pytest.mark.parametrize("role", ROLES)
def test_a_connection_of_a_worker_that_is_cut_is_opened_again(hitl: Hitl, role: str) -> None:
    hitl.worker("--app", "app.py")
    all_end(hitl, start_many(hitl, "quick", 20))
    wait_until(lambda: cut(hitl, ROLES[role]))
    all_end(hitl, start_many(hitl, "quick", 40))
    hitl.ok("ask", "Now?", "--id", "q", "--deadline", "1s", "--no-wait")
    wait_until(lambda: hitl.json("show", "q")["state"] != "pending", 10)


def test_the_stream_of_a_gateway_that_is_cut_goes_on(hitl: Hitl) -> None:
    gateway = begin_gateway(hitl)
    hitl.workers.append(gateway)
    with Reader(gateway) as reader:
        reader.wait_for("ready")
        assert cut(hitl)
        hitl.ok("ask", "Deploy?", "--id", "d", "--no-wait")
        wait_until(lambda: [one for one in reader.seen if one.name == "look" or one.data.get("id") == "d"])
        hitl.ok("ask", "Again?", "--id", "e", "--no-wait")
        reader.wait_for("request.asked", "e")
        assert gateway.get("/api/v1/requests").status == 200


@pytest.mark.parametrize("command", [("wait", "a"), ("ask", "Go?", "--id", "b")])
def test_a_command_that_waits_outlasts_a_cut(hitl: Hitl, command: tuple[str, ...]) -> None:
    hitl.worker("--app", "app.py")
    hitl.ok("start", "a", "--workflow", "asks", "--args", '["a"]')
    hitl.waiting()
    waiting = WorkerProcess([HITL, *command, "--json"], hitl.env, hitl.folder)
    hitl.workers.append(waiting)
    listens = "application_name = 'hitl' AND query ~ 'LISTEN|tick|many' AND state = 'idle'"
    wait_until(lambda: cut(hitl, listens))
    if command[0] == "ask":
        hitl.waiting(2)
        hitl.ok("approve", "b")
    hitl.ok("approve", "a")
    assert waiting.end() == 0, waiting.errors


def test_connections_that_are_cut_all_the_time_lose_nothing(hitl: Hitl) -> None:
    workers = [hitl.worker("--app", "app.py") for _ in range(2)]
    asks = start_many(hitl, "asks", 30)
    hitl.waiting(30)
    stop = threading.Event()
    cuts = []

    def keep_cutting() -> None:
        while not stop.wait(0.1):
            cuts.append(cut(hitl, "application_name = 'hitl worker'"))

    cutting = threading.Thread(target=keep_cutting)
    cutting.start()
    try:
        for id in asks:
            hitl.ok("approve", id)
        quick = start_many(hitl, "quick", 50)
        wait_until(lambda: sum(cuts) > 10)
    finally:
        stop.set()
        cutting.join()
    all_end(hitl, asks + quick)
    assert [worker.stop() for worker in workers] == [0, 0]
