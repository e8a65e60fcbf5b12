"""Long polls at `hitl gateway`: 10,000 clients that wait for decisions at once.

    python -m bench.polls [-S URL] [--polls N] [--requests N] [--decide N] [--idle S]

Printed are the CPU of a poll that waits until its time is up, the memory of one that waits, the CPU of the
gateway while nothing happens, how long it takes until all who wait for a request know the decision, and until
clients that left are gone.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from bench.gateway import cpu_ms, resident_kb, serving
from hitl_cli.client.connect import connect
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question

DAY_MS = 86_400_000
OPENING = 256
"""Connections that are opened at a time."""

QUIET_S = 0.5
"""The gateway is idle once it has used next to no CPU for so long."""

QUIET_MS = 15.0

BESIDE = 50
"""Files that the gateway opens meanwhile for its threads."""


class Poll:
    """A connection that waits for a decision."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int, id: str, wait: str) -> Poll:
        """Connect, and ask for the decision on a request."""
        poll = cls(*await asyncio.open_connection(host, port))
        head = f"GET /api/v1/requests/{id}?wait={wait} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        poll._writer.write(head.encode())
        return poll

    async def answer(self) -> bytes:
        """Return the body of the response."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return await self._reader.readexactly(int(length.split(b":")[1]))

    def leave(self) -> None:
        """Close the connection."""
        self._writer.transport.abort()


def until_quiet(pid: int) -> None:
    """Return once the gateway has nothing to do."""
    while True:
        before = cpu_ms(pid)
        time.sleep(QUIET_S)
        if cpu_ms(pid) - before <= QUIET_MS:
            return


def until_gone(pid: int, most: int) -> None:
    """Return once the gateway has at most so many files open."""
    while files(pid) > most:
        time.sleep(0.05)


def files(pid: int) -> int:
    """Return how many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


async def opened(host: str, port: int, ids: list[str], count: int, wait: str) -> list[Poll]:
    """Open polls, spread over the requests."""
    polls: list[Poll] = []
    for at in range(0, count, OPENING):
        some = range(at, min(at + OPENING, count))
        polls += await asyncio.gather(*(Poll.open(host, port, ids[n % len(ids)], wait) for n in some))
    return polls


async def measure(url: str, pid: int, ids: list[str], given: argparse.Namespace) -> None:
    """Measure once and print."""
    host, _, port = url.removeprefix("http://").partition(":")
    count: int = given.polls
    with ExitStack() as stack:
        before_kb, before_files, before = resident_kb(pid), files(pid), cpu_ms(pid)
        began = time.perf_counter()
        polls = await opened(host, int(port), ids, count, "60s")
        for poll in polls:
            stack.callback(poll.leave)
        await asyncio.to_thread(until_quiet, pid)
        took = time.perf_counter() - began - QUIET_S
        print(
            f"{count:,} polls wait after {took:.1f} s: {(cpu_ms(pid) - before) / count:.2f} ms of CPU,"
            f" {(resident_kb(pid) - before_kb) / count:.1f} kB and"
            f" {(files(pid) - before_files) / count:.2f} files each",
            flush=True,
        )
        before = cpu_ms(pid)
        await asyncio.sleep(given.idle)
        print(f"idle: {(cpu_ms(pid) - before) / given.idle / 10:.2f} % of a core", flush=True)
        told = []
        for n in range(given.decide):
            began = time.perf_counter()
            await asyncio.to_thread(decide, url, ids[n])
            answers = await asyncio.gather(*(polls[k].answer() for k in range(n, count, len(ids))))
            told.append(time.perf_counter() - began)
            assert all(b'"approved"' in answer for answer in answers)
        print(
            f"{given.decide} decisions, {len(answers)} polls each: until the last is told"
            f" p50 {statistics.median(told) * 1_000:.0f} ms, longest {max(told) * 1_000:.0f} ms",
            flush=True,
        )
        began = time.perf_counter()
        for poll in polls:
            poll.leave()
        await asyncio.to_thread(until_gone, pid, before_files + count // 100 + BESIDE)
        print(f"all left, and are gone after {time.perf_counter() - began:.1f} s", flush=True)
    before = cpu_ms(pid)
    polls = await opened(host, int(port), ids[given.decide :], given.over, "1s")
    await asyncio.gather(*(poll.answer() for poll in polls))
    print(f"a poll whose time is up: {(cpu_ms(pid) - before) / given.over:.2f} ms of CPU in all")
    for poll in polls:
        poll.leave()


def decide(url: str, id: str) -> None:
    """Approve a request."""
    body, head = b'{"verdict": "approve"}', {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v1/requests/{id}/decision", body, head)
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-S", "--server", help="its URL (default: a file)")
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=500, help="that the polls wait for")
    parser.add_argument("--decide", type=int, default=50)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds (default 10)")
    parser.add_argument("--over", type=int, default=1_000, help="polls that wait until their time is up")
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = given.server or f"sqlite:///{folder}/hitl.db"
        ids = [f"waited-{n}" for n in range(given.requests)]
        with connect(server, None) as client:
            inbox = Inbox(client, Actor(person="agent", via="bench"))
            for id in ids:
                inbox.ask(Question(prompt="Deploy?"), id=id, deadline_ms=DAY_MS)
        with serving(folder, server) as (url, pid):
            asyncio.run(measure(url, pid, ids, given))


if __name__ == "__main__":
    main()
