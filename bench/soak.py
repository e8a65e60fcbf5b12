"""A day in fast motion: 100,000 requests asked, reminded, decided and pruned. Memory and disk must stay flat.

    python -m bench.soak [--requests N] [--waves N] [--resonate-sql FILE]

A worker, a gateway and a webhook, each a process of its own, on one file; with the schema of resonate-pg on a
PostgreSQL of our own. This program moves the clock of the worker, the gateway and the database. In each wave,
runs ask a reviewer, and an hour passes, so that all are reminded. People list and decide them at the gateway.
Half an hour later, what finished two hours ago is pruned. The command fails if the worker, the gateway or
what is stored is more than a fifth larger in the last quarter of the waves than in the second, or if a
notification is missing or sent twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from bench.gateway import cpu_ms, resident_kb
from bench.webhook import receiving
from hitl_cli.admin.maintenance import prune
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import call, search
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.gateway.background import background_gateway
from hitl_cli.gateway.options import Options
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory, NotificationSettings
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from hitl_cli.worker.process import run_worker
from hitl_cli.worker.run import WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from bench.webhook import Count
    from hitl_cli.client.protocol import Client

HOUR_MS = 3_600_000
REMIND_MS = HOUR_MS
PRUNED_AFTER_MS = 2 * HOUR_MS
PEOPLE = 20
PAGE = 50
PATIENCE_S = 300.0
LOOK_S = 0.05
FLAT = 1.2
APP = str(Path(__file__).with_name("flows.py"))


class Clock:
    """The real clock, moved on by what the processes share."""

    def __init__(self, ahead: Count) -> None:
        self._ahead = ahead
        self._time_ns = time.time_ns

    def __call__(self) -> int:
        """Return ms since the epoch."""
        return self._time_ns() // 1_000_000 + self._ahead.value

    def install(self) -> None:
        """Make it the clock of this process."""
        time.time_ns = lambda: self() * 1_000_000
        time.time = lambda: self() / 1_000


def work(url: str, hook: str, keys: Path, ahead: Count) -> None:
    """Be a worker whose reviewer has a webhook."""
    Clock(ahead).install()
    directory = Directory(people={"reviewer": Contact(webhook=hook)}, gateway="http://hitl.example.org")
    reach = NotificationSettings(directory=directory, keys=keys)
    run_worker(WorkerOptions(server=url, apps=(APP,), reach=reach), lambda _: None, lambda _: None)


def serve(url: str, keys: Path, ahead: Count, said: Any) -> None:
    """Be a gateway, and say where."""
    Clock(ahead).install()
    gateway = background_gateway(
        Options(server=url, keys=keys, person="reviewer", port=0, url="http://127.0.0.1:0")
    )
    gateway.start()
    said.send(gateway.url)
    said.recv()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what} did not happen within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)


async def decide_all(url: str) -> int:
    """Have people list and decide, until nothing is open; return how many decisions were made."""
    made = 0

    async def person(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal made
        while True:
            async with session.get(f"{url}/api/v1/requests?for=me&limit={PAGE}") as page:
                items = (await page.json())["items"]
            if not items:
                return
            for item in items[number % len(items) :: PEOPLE]:
                address = f"{url}/api/v1/requests/{item['id']}/decision"
                async with session.post(address, json={"verdict": "approve"}) as answer:
                    if answer.status != 200:
                        raise SystemExit(f"a decision failed: {await answer.text()}")
                    made += (await answer.json())["fresh"]

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(person(session, number) for number in range(PEOPLE)))
    return made


class FileStore:
    """A database file."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self.url = f"sqlite:///{folder}/hitl.db"
        self.client: Client = EmbeddedClient(folder / "hitl.db", clock=clock)

    def move(self, ahead_ms: int) -> None:
        """Do nothing: its clock is that of the processes."""

    def size(self) -> int:
        """Return its size in bytes."""
        return sum(file.stat().st_size for file in self._folder.glob("hitl.db*") if file.is_file())


class DatabaseStore:
    """An installed database."""

    def __init__(self, url: str) -> None:
        from hitl_cli.postgres.client import PostgresClient
        from tests.moved_database import make_movable

        make_movable(url)
        self.url = url
        self._client = PostgresClient(url)
        self.client: Client = self._client

    def move(self, ahead_ms: int) -> None:
        """Set the clock of the database."""
        from tests.moved_database import move

        move(self.url, ahead_ms)

    def size(self) -> int:
        """Return its size in bytes, without the log.

        A wave is an hour and a half for hitl, but seconds for autovacuum, which looks once a minute.
        """
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        found: int = self._client.value("SELECT pg_database_size(current_database())")
        return found


@contextlib.contextmanager
def stored(folder: Path, resonate_sql: Path | None, clock: Clock) -> Iterator[FileStore | DatabaseStore]:
    """Give what stores the requests."""
    if resonate_sql is None:
        yield FileStore(folder, clock)
        return
    from bench.peer import Options as PeerOptions
    from bench.peers.hitl_postgres import HitlPostgres

    options = PeerOptions(resonate_sql.absolute(), None, Path())
    with HitlPostgres().serve(folder, options) as running:
        yield DatabaseStore(running.config["dsn"])


class Soak:
    """The processes, and what was seen of them after each wave."""

    def __init__(
        self, folder: Path, store: FileStore | DatabaseStore, ahead: Count, hook: str, heard: Count
    ) -> None:
        self.store, self.ahead, self.heard = store, ahead, heard
        self.url, self.client = store.url, store.client
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._gateway, theirs = context.Pipe()
        keys = folder / "keys"
        for target, args in (
            (work, (self.url, hook, keys, self.ahead)),
            (serve, (self.url, keys, self.ahead, theirs)),
        ):
            self._processes.append(context.Process(target=target, args=args, daemon=True))
            self._processes[-1].start()
        self.gateway_url = self._gateway.recv()
        self.seen: list[tuple[float, float, float]] = []

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
            process.join()
        self.client.close()

    def move(self, ms: int) -> None:
        """Let time pass."""
        self.store.move(self.ahead.value + ms)
        self.ahead.value += ms

    def open(self) -> int:
        """Return how many requests are open. Looking fires what is due."""
        return len(search(self.client, state="pending", tags=EXTERNAL))

    def idle(self) -> bool:
        """Whether no task is held or waits; looking fires what is due."""
        held = [call(self.client, "task.search", state=state, limit=1) for state in ("acquired", "pending")]
        return not any(msgspec.json.decode(answer.data)["tasks"] for answer in held)

    def wave(self, number: int, size: int) -> None:
        """Ask, remind, decide and prune."""
        told = self.heard.value
        specs = [RunSpec(id=f"w{number}-{n}", workflow="reminded") for n in range(size)]
        Runs(self.client, Actor(person="", via="bench")).start_many(specs)
        until(lambda: self.open() == size, f"wave {number}: asking")
        until(lambda: self.heard.value == told + size and self.idle(), f"wave {number}: notifying")
        self.move(REMIND_MS)
        until(lambda: self.heard.value == told + 2 * size and self.idle(), f"wave {number}: reminding")
        made = asyncio.run(decide_all(self.gateway_url))
        if made != size:
            sys.exit(f"wave {number}: {made:,} decisions counted, of {size:,}")
        until(lambda: not search(self.client, state="pending", root=True), f"wave {number}: completing")
        until(self.idle, f"wave {number}: ending")
        self.move(REMIND_MS // 2)
        prune(self.url, PRUNED_AFTER_MS)
        worker, gateway = (process.pid or 0 for process in self._processes)
        seen = (resident_kb(worker) / 1_024, resident_kb(gateway) / 1_024, self.store.size() / 2**20)
        self.seen.append(seen)
        used = (cpu_ms(worker), cpu_ms(gateway))
        print(
            f"wave {number}: worker {seen[0]:.0f} MB, gateway {seen[1]:.0f} MB, stored {seen[2]:.1f} MB; CPU:"
            f" worker {used[0] / 1_000:.0f} s, gateway {used[1] / 1_000:.0f} s; sent {self.heard.value:,}",
            flush=True,
        )


def grown(seen: list[tuple[float, float, float]]) -> list[str]:
    """Return the values that grew from the second to the last quarter of the waves."""
    quarter = max(len(seen) // 4, 1)
    wrong = []
    for at, name in enumerate(("worker", "gateway", "stored data")):
        before = statistics.median(each[at] for each in seen[quarter : 2 * quarter])
        after = statistics.median(each[at] for each in seen[-quarter:])
        if after > before * FLAT:
            wrong.append(f"{name} grew from {before:.0f} to {after:.0f} MB")
    return wrong


def main() -> None:
    """Run all waves, and print what has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--waves", type=int, default=100)
    parser.add_argument("--resonate-sql", type=Path, metavar="FILE")
    given = parser.parse_args()
    began = time.perf_counter()
    ahead: Count = multiprocessing.get_context("spawn").Value("q", 0)
    clock = Clock(ahead)
    clock.install()  # pruning goes by the computer's clock
    with (
        tempfile.TemporaryDirectory(prefix="hitl-bench-") as name,
        receiving() as (hook, heard),
        stored(Path(name), given.resonate_sql, clock) as store,
    ):
        soak = Soak(Path(name), store, ahead, hook, heard)
        try:
            for number in range(given.waves):
                soak.wave(number, given.requests // given.waves)
        finally:
            soak.close()
    wrong = grown(soak.seen)
    print(
        "; ".join(wrong)
        or f"flat: {given.requests:,} requests asked, reminded, decided and pruned in"
        f" {time.perf_counter() - began:,.0f} s"
    )
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
