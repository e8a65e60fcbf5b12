"""Requests that programs put over the API and that are decided there, beside the file's own.

    python -m bench.asking [-S URL] [--requests N] [--rounds N] [--clients N]

A request is put and approved: by `Inbox` in this process, one after another; by one client of `hitl gateway`;
and by several clients at once. Each round measures all, and the ratios are of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.gateway import cpu_ms, serving
from hitl_cli.client.connect import connect
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question

DAY_MS = 86_400_000
DETAILS = {"order": 7, "customer": "C-1", "amount": 120}
YES = DecisionInput(verdict="approve")


def by_itself(server: str, prefix: str, count: int) -> tuple[float, float]:
    """Return requests put and decided a second in this process, and the CPU of one in ms."""
    with connect(server, None) as client:
        inbox = Inbox(client, Actor(person="lead", via="bench"))
        began, before = time.perf_counter(), time.process_time()
        for n in range(count):
            question = Question(prompt="Refund?", details=DETAILS, to=("lead",))
            asked = inbox.ask(question, id=f"{prefix}-{n}", deadline_ms=DAY_MS)
            inbox.decide(asked.id, YES, whole=True)
        return count / (time.perf_counter() - began), (time.process_time() - before) * 1_000 / count


async def over_the_api(
    url: str, pid: int, prefix: str, count: int, clients: int
) -> tuple[float, float, float]:
    """Return the same over the API, with the gateway's CPU; and the median time of both calls in ms."""
    left = iter(range(count))
    took: list[float] = []

    async def put_and_decide(session: aiohttp.ClientSession) -> None:
        for n in left:
            began = time.perf_counter()
            asked = {"id": f"{prefix}-{n}", "prompt": "Refund?", "details": DETAILS, "to": ["lead"]}
            async with session.post(f"{url}/api/v1/requests", json=asked) as response:
                assert response.status == 201, await response.text()
            path = f"{url}/api/v1/requests/{prefix}-{n}/decision"
            async with session.post(path, json={"verdict": "approve"}) as response:
                assert response.status == 200, await response.text()
            took.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        began, before = time.perf_counter(), cpu_ms(pid)
        await asyncio.gather(*(put_and_decide(session) for _ in range(clients)))
        seconds = time.perf_counter() - began
    return count / seconds, (cpu_ms(pid) - before) / count, statistics.median(took) * 1_000


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-S", "--server", help="its URL (default: a file)")
    parser.add_argument("--requests", type=int, default=1_000, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=16)
    given = parser.parse_args()
    count, found = given.requests, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = given.server or f"sqlite:///{folder}/hitl.db"
        with connect(server, None):
            pass
        with serving(folder, server, person="lead") as (url, pid):
            asyncio.run(over_the_api(url, pid, "warm", 100, given.clients))
            for n in range(given.rounds):
                own = by_itself(server, f"own-{n}", count)
                one = asyncio.run(over_the_api(url, pid, f"one-{n}", count, 1))
                many = asyncio.run(over_the_api(url, pid, f"many-{n}", count, given.clients))
                found.append((own, one, many))
    own_rate, own_cpu = (statistics.median(each[0][k] for each in found) for k in range(2))
    print(f"put and decided in this process: {own_rate:,.0f}/s, {own_cpu:.2f} ms of CPU each")
    for place, clients in ((1, 1), (2, given.clients)):
        rate, cpu, p50 = (statistics.median(each[place][k] for each in found) for k in range(3))
        ratio = statistics.median(each[place][0] / each[0][0] for each in found)
        print(
            f"over the API, {clients} at a time: {rate:,.0f}/s ({ratio:.2f} of that), gateway {cpu:.2f} ms of"
            f" CPU each ({cpu / own_cpu:.1f} times), p50 {p50:.1f} ms"
        )


if __name__ == "__main__":
    main()
