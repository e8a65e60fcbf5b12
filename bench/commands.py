"""`hitl pending` with 1,000 requests waiting among 100,000 finished, against importing its libraries alone.

    python -m bench.commands [--resonate-sql FILE]

Of those that wait, each tenth needs two approvals, and has one. With the schema of resonate-pg they are in a
PostgreSQL of our own, and psycopg is among the libraries; else they are in a file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.peer import Options
from bench.peers.hitl_postgres import HitlPostgres
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import encode
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules
from hitl_cli.runs.run import RunSpec, create_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.protocol import Client

WAITING = 1_000
FINISHED = 100_000
QUORUM_EVERY = 10
PAIRS = 15
BATCH = 2_000
YEAR_MS = 365 * 86_400_000
REVIEWER = Actor(person="reviewer", via="bench")
HITL = str(Path(sys.executable).with_name("hitl"))


def fill(client: Client, count: int, *, finished: bool, prefix: str, quorum: bool = True) -> None:
    """Create runs that have asked a person, and end them where `finished`."""
    until = client.now() + YEAR_MS
    for at in range(0, count, BATCH):
        ids = [f"{prefix}-{n:06}" for n in range(at, min(at + BATCH, count))]
        requests = [create_request(RunSpec(id=id), "default", until, "bench") for id in ids]
        questions = [
            Question(
                prompt=f"Release **{id}**?\n\nIt has 3 changes.",
                details={"changes": 3, "diff": f"https://example.org/{id}"},
                to=("reviewer", "group:ops"),
                approvals=2 if quorum and n % QUORUM_EVERY == 0 else 1,
                on_deadline="reject",
            )
            for n, id in enumerate(ids)
        ]
        tags = {"resonate:external": "true", "resonate:scope": "global"}
        requests += [
            ProtocolRequest(
                "promise.create",
                {
                    "id": f"{id}:1",
                    "timeoutAt": until,
                    "param": encode(msgspec.to_builtins(question)),
                    "tags": asked | tags | {"resonate:origin": id, "resonate:parent": id},
                },
            )
            for id, question in zip(ids, questions, strict=True)
            for asked in [question.tags(key=None, workflow="approval")]
        ]
        if finished:
            settled = {"state": "resolved", "value": encode(True)}
            requests += [
                ProtocolRequest("promise.settle", {"id": each, **settled})
                for id in ids
                for each in (f"{id}:1", id)
            ]
        client.call_many(requests)
        for id, question in zip(ids, questions, strict=True):
            if question.approvals > 1 and not finished:
                Inbox(client, REVIEWER).decide(f"{id}:1", DecisionInput(verdict="approve"))


def seconds(command: list[str], env: dict[str, str], said: bytes = b"", folder: Path | None = None) -> float:
    """Return the wall time of a command, run in a folder."""
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, input=said, cwd=folder, capture_output=True)
    return time.perf_counter() - began


def hook_seconds(client: Client, env: dict[str, str]) -> float:
    """Return the wall time of a coding agent's hook whose calls a rule decides, as a median."""
    rule = NewRule(where={"tool": "Bash", "input.command": "git status*"})
    Rules(client, REVIEWER).add(rule, life_ms=3_600_000)
    call: dict[str, object] = {
        "session_id": "s",
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "cwd": "/",
    }
    call |= {"tool_input": {"command": "git status"}}
    said = [msgspec.json.encode(call | {"tool_use_id": f"t{number}"}) for number in range(PAIRS)]
    return statistics.median(seconds([HITL, "hook", "claude"], env, one) for one in said)


def sign_ms(env: dict[str, str]) -> tuple[float, float]:
    """Return the wall ms of `hitl approve` and, of the pairs, how much longer `--sign` takes; as medians."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        key = place / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        public = Path(f"{key}.pub").read_text().strip()
        (place / "hitl.toml").write_text(f"[people.reviewer]\nssh = ['{public}']\n")
        own = {**env, "HITL_AS": "reviewer", "HITL_SSH_KEY": str(key)}
        single = (number for number in range(WAITING) if number % QUORUM_EVERY)
        ids = [f"new-{number:06}:1" for number in islice(single, 2 * PAIRS)]
        times = [
            seconds([HITL, "approve", id, *sign], own, folder=place)
            for id, sign in zip(ids, ([], ["--sign"]) * PAIRS, strict=True)
        ]
    plain, signed = times[::2], times[1::2]
    more = statistics.median(one - other for one, other in zip(signed, plain, strict=True))
    return statistics.median(plain) * 1_000, more * 1_000


@contextlib.contextmanager
def server(resonate_sql: Path | None) -> Iterator[tuple[str, Client]]:
    """Run a server, and return its URL and a client of it."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        if resonate_sql is None:
            path = Path(folder) / "hitl.db"
            with EmbeddedClient(path) as client:
                yield f"sqlite:///{path}", client
            return
        from hitl_cli.postgres.client import PostgresClient

        with HitlPostgres().serve(Path(folder), Options(resonate_sql.absolute(), None, Path())) as running:
            url = running.config["dsn"]
            with PostgresClient(url) as client:
                yield url, client


def main() -> None:
    """Measure in pairs, one after the other, and print the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resonate-sql", type=Path, metavar="FILE")
    given = parser.parse_args()
    with server(given.resonate_sql) as (url, client):
        fill(client, FINISHED, finished=True, prefix="old")
        fill(client, WAITING, finished=False, prefix="new")
        if given.resonate_sql is not None:
            import psycopg

            with psycopg.connect(url, autocommit=True) as db:
                db.execute("VACUUM ANALYZE")  # which the server does by itself within minutes
        env = {**os.environ, "HITL_SERVER": url}
        libraries = "typer, rich.table" + (", psycopg" if given.resonate_sql else "")
        imports = [sys.executable, "-c", f"import {libraries}"]
        for name, command in (
            ("hitl pending", [HITL, "pending"]),
            ("hitl pending --all --json", [HITL, "pending", "--all", "--json"]),
            ("hitl pending --sort due", [HITL, "pending", "--sort", "due"]),
            ("hitl status", [HITL, "status"]),
            ("hitl history", [HITL, "history"]),
            ("hitl show", [HITL, "show", "new-000001:1"]),
        ):
            seconds(command, env)
            pairs = [(seconds(command, env), seconds(imports, env)) for _ in range(PAIRS)]
            ratio = statistics.median(one / other for one, other in pairs)
            wall = statistics.median(one for one, _ in pairs)
            print(f"{name}: {ratio:.2f} times the imports alone ({wall * 1_000:.0f} ms)", flush=True)
        plain_ms, more_ms = sign_ms(env)
        print(f"hitl approve: {plain_ms:.0f} ms, with --sign {more_ms:.0f} ms more", flush=True)
        print(f"hitl hook claude, decided by a rule: {hook_seconds(client, env) * 1_000:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
