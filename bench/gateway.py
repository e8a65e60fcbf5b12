"""`hitl gateway` under a crowd: 500 people who list and decide 10,000 requests, and 5,000 open streams.

    python -m bench.gateway [SERVER] [--requests N] [--people N] [--streams N] [--seconds N]
    python -m bench.gateway [SERVER] --requests 100000 --first

SERVER is a file, with `-S URL` an empty database that is prepared for hitl, and with `--resonate-sql FILE`
(the schema of resonate-pg) a PostgreSQL of our own. With `--first`, only the first page is measured: right
after a start, while the gateway reads what is open, and after that.

Needs wrk (https://github.com/wg/wrk; `apt install wrk`), which asks as fast as it is answered. Each request
is decided twice, by an approval and by a rejection, of which one must win: what the server has in the end,
and how often it said that another was first, tells whether any decision was lost or counted twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from msgspec import Struct

from bench.commands import HITL, fill
from bench.commands import server as served
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import search

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 2
PATHS = ("/api/v1/requests?limit=20", "/api/v1/requests?limit=20&for=me", "/", "/r/run-000000:1")
CROWD = Path(__file__).with_name("crowd.lua")
EXTERNAL = {"resonate:external": "true"}
DECISIONS_WATCHED = 50
FIRST = ("/", "/api/v1/requests?limit=20")
PATIENCE_S = 60.0
OPENED_S = 0.5
"""How long a person takes to open the first page after the start."""
LOOK_S = 0.25
IDLE_MS_S = 25
STILL = 10
"""A gateway that uses less CPU than that a second, so often in a row, has read what is open."""


class Result(Struct, frozen=True):
    """Results of wrk: latencies in ms. `refused` counts 409s, `odd` all statuses but 200 and 409."""

    requests: int
    seconds: float
    p50: float
    p99: float
    longest: float
    refused: int
    odd: int
    broken: int
    cpu_ms: float = 0
    """CPU of the gateway for each request."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@contextmanager
def serving(folder: Path, server: str, person: str = "reviewer") -> Iterator[tuple[str, int]]:
    """Run a gateway of a server, with its files in a folder; yield its URL and process id."""
    keys = str(folder / "keys")
    env = {**os.environ, "HITL_SERVER": server, "HITL_KEYS": keys, "HITL_AS": person}
    command = [HITL, "gateway", "--port", "0"]
    with subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" on ")[1].split()[0], process.pid
        finally:
            process.terminate()


def wrk(url: str, people: int, seconds: int, *script: str) -> str:
    """Return what wrk prints."""
    command = ["wrk", f"-t{THREADS}", f"-c{people}", f"-d{seconds}s", "--timeout", "30s", "--latency"]
    done = subprocess.run(
        [*command, *(["-s", str(CROWD)] if script else []), url, *(["--", *script] if script else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def cpu_ms(pid: int) -> float:
    """Return the CPU time that a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) * 1_000 / os.sysconf("SC_CLK_TCK")


class Floor(Struct, frozen=True):
    """The cost of requests that need no server: requests a second, and the gateway's CPU."""

    rate: float
    cpu_ms: float


def floor(url: str, pid: int, people: int) -> Floor:
    """Measure /health."""
    before = cpu_ms(pid)
    lines = wrk(f"{url}/health", people, 5).splitlines()
    asked = int(next(line for line in lines if "requests in" in line).split()[0])
    rate = float(next(line for line in lines if "Requests/sec" in line).split()[1])
    return Floor(rate, (cpu_ms(pid) - before) / asked)


def alone(url: str, pid: int, path: str, seconds: int = 3) -> str:
    """Return the cost of one kind of request, sent by 50 people."""
    before = cpu_ms(pid)
    lines = wrk(f"{url}{path}", 50, seconds).splitlines()
    asked = int(next(line for line in lines if "requests in" in line).split()[0])
    return f"GET {path}: {(cpu_ms(pid) - before) / asked:.2f} ms of CPU"


def suspend(url: str) -> None:
    """Leave the runs in a database as a worker does. Otherwise each is offered again every five seconds."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as db:
        db.execute("UPDATE resonate.tasks SET state = 'suspended'")
        db.execute("DELETE FROM resonate.outbox")
        db.execute("VACUUM ANALYZE")


def took_ms(url: str) -> float:
    """Return how long a page takes."""
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
        page.read()
    return (time.perf_counter() - began) * 1_000


def first_page(url: str) -> str:
    """Return how long the first page takes when nobody else asks."""
    time.sleep(OPENED_S)
    took = [took_ms(f"{url}/") for _ in range(20)]
    later = statistics.median(took[1:])
    return f"the first page alone: {took[0]:.0f} ms right after the start, then {later:.0f} ms (p50)"


def first_pages(url: str, pid: int) -> Iterator[str]:
    """Yield how long the first pages take, one after the other, from the start on."""
    time.sleep(OPENED_S)
    for path in FIRST:
        yield f"GET {path}: {took_ms(url + path):.0f} ms right after the start"
    began, took, still = time.monotonic(), [], 0
    while still < STILL and time.monotonic() - began < PATIENCE_S:
        took.append(took_ms(f"{url}/"))
        before = cpu_ms(pid)
        time.sleep(LOOK_S)
        still = still + 1 if cpu_ms(pid) - before < LOOK_S * IDLE_MS_S else 0
    loaded = time.monotonic() - began
    took.sort()
    p50, p90, longest = took[len(took) // 2], took[int(len(took) * 0.9)], took[-1]
    yield f"GET / for {loaded:.0f} s, while it reads: p50 {p50:.0f}, p90 {p90:.0f}, longest {longest:.0f} ms"
    for path in FIRST:
        before = cpu_ms(pid)
        later = statistics.median(took_ms(url + path) for _ in range(50))
        yield f"GET {path}: then {later:.0f} ms (p50), {(cpu_ms(pid) - before) / 50:.1f} ms of CPU"
    yield f"the gateway has {resident_kb(pid) / 1_024:.0f} MB"


def crowd(url: str, pid: int, folder: Path, server: str, people: int, seconds: int) -> list[Result]:
    """List and decide all requests, in as many rounds as needed, and return the results of each."""
    results: list[Result] = []
    with connect(server, None) as client:
        while left := [promise.id for promise in search(client, state="pending", tags=EXTERNAL)]:
            ids = folder / "ids"
            ids.write_text("\n".join(left) + "\n")
            before = cpu_ms(pid)
            said = wrk(url, people, seconds, str(ids), "approve", "reject")
            line = next(line for line in said.splitlines() if line.startswith("result "))
            result = msgspec.json.decode(line.removeprefix("result "), type=Result)
            used = (cpu_ms(pid) - before) / result.requests
            results.append(msgspec.structs.replace(result, cpu_ms=used))
    return results


def check(server: str, results: list[Result], requests: int) -> list[str]:
    """Return what is wrong with the final state; empty if each request was decided once."""
    with connect(server, None) as client:
        settled = sum(len(search(client, state=state, tags=EXTERNAL)) for state in ("resolved", "rejected"))
    wrong = []
    if settled != requests:
        wrong.append(f"{settled:,} of {requests:,} are decided")
    refused = sum(result.refused for result in results)
    if refused > requests:
        wrong.append(f"{refused:,} were told that another was first, of at most {requests:,}")
    odd, broken = sum(result.odd for result in results), sum(result.broken for result in results)
    if odd or broken:
        wrong.append(f"{odd:,} answers were neither, and {broken:,} did not come")
    return wrong


def resident_kb(pid: int) -> int:
    """Return the memory that a process has, kB."""
    return int(
        next(
            line.split()[1]
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
    )


async def streams(url: str, pid: int, ids: list[str], count: int) -> str:
    """Open streams, decide some requests, and see that each stream tells of each."""
    before = resident_kb(pid)
    heard = [0] * count
    took: list[float] = []
    told = asyncio.Condition()

    async def listen(session: aiohttp.ClientSession, index: int, ready: asyncio.Event) -> None:
        async with session.get(f"{url}/api/v1/events") as response:
            ready.set()
            async for line in response.content:
                if line.startswith(b"event: request.decided"):
                    async with told:
                        heard[index] += 1
                        told.notify_all()

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        readies = [asyncio.Event() for _ in range(count)]
        tasks = [asyncio.create_task(listen(session, n, ready)) for n, ready in enumerate(readies)]
        await asyncio.gather(*(ready.wait() for ready in readies))
        per_stream = (resident_kb(pid) - before) / count
        for number, id in enumerate(ids, 1):
            began = time.perf_counter()
            async with session.post(
                f"{url}/api/v1/requests/{id}/decision", json={"verdict": "approve"}
            ) as response:
                assert response.status == 200, await response.text()
            async with told, asyncio.timeout(PATIENCE_S):
                await told.wait_for(lambda number=number: min(heard) >= number)  # type: ignore[misc]
            took.append(time.perf_counter() - began)
        for task in tasks:
            task.cancel()
    took.sort()
    doubled = sum(each > len(ids) for each in heard)
    return (
        f"{count:,} streams: each told of each of {len(ids)} decisions; until the last one was told"
        f" p50 {took[len(took) // 2]:.2f} s, longest {took[-1]:.2f} s; {per_stream:.0f} kB each;"
        f" {doubled} were told twice"
    )


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-S", "--server", help="its URL (default: a file)")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--seconds", type=int, default=20, help="of each round (default 20)")
    parser.add_argument("--resonate-sql", type=Path, metavar="FILE")
    parser.add_argument("--first", action="store_true", help="only the first page")
    given = parser.parse_args()
    if shutil.which("wrk") is None and not given.first:
        sys.exit("wrk is not there: apt install wrk, or see https://github.com/wg/wrk.")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        server = given.server or f"sqlite:///{folder}/hitl.db"
        if given.resonate_sql is not None:
            server, _ = ends.enter_context(served(given.resonate_sql))
        with connect(server, None) as client:
            fill(client, given.requests, finished=False, prefix="run", quorum=False)
        if given.resonate_sql is not None:
            suspend(server)
        with serving(folder, server) as (url, pid):
            if given.first:
                for line in first_pages(url, pid):
                    print(line, flush=True)
                return
            print(first_page(url))
            for path in PATHS:
                print(alone(url, pid, path), flush=True)
            quick = floor(url, pid, given.people)
            results = crowd(url, pid, folder, server, given.people, given.seconds)
            for result in results:
                print(
                    f"{given.people} people: {result.requests:,} lists and decisions, {result.rate:,.0f}/s"
                    f" (1 to {quick.rate / result.rate:.1f} of {quick.rate:,.0f}/s for /health); gateway"
                    f" {result.cpu_ms:.2f} ms of CPU each (1 to {result.cpu_ms / quick.cpu_ms:.1f});"
                    f" p50 {result.p50:.0f} ms, p99 {result.p99:.0f} ms, longest {result.longest:.0f} ms;"
                    f" {result.refused:,} told that another was first",
                    flush=True,
                )
            wrong = check(server, results, given.requests)
            print(
                "; ".join(wrong) or f"each of the {given.requests:,} was decided once, none lost or doubled"
            )
            with connect(server, None) as client:
                fill(client, DECISIONS_WATCHED, finished=False, prefix="watched", quorum=False)
            ids = [f"watched-{n:06}:1" for n in range(DECISIONS_WATCHED)]
            print(asyncio.run(streams(url, pid, ids, given.streams)))
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
