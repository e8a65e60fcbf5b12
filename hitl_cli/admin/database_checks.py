"""What `hitl doctor` checks of a PostgreSQL database: the connection, the schemas, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hitl_cli.client.connect import Driver
from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.format.sizes import format_size
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hitl_cli.engine.prune import Progress, Pruned
    from hitl_cli.postgres.facts import Facts

UNFIRED_MS = 60_000
"""How long a deadline may be due before it is a problem: workers look once a second."""

SKEW_MS = 5_000
FEW_CONNECTIONS = 10
"""A worker needs up to 6, a gateway as many."""

MANY_PROMISES = 10_000
"""With more promises than this, resonate-pg's job should be unscheduled: it reads all of them each time."""

GUIDE = "docs/guides/postgres.md"


@runtime_checkable
class DatabaseDriver(Driver, Protocol):
    """A driver of a database that is not a file, for maintenance."""

    def facts(self, url: str, group: str, *, full: bool) -> Facts:
        """Return what the database is like. Raises BadServer, Unreachable."""

    def backup_commands(self, url: str, file: Path) -> tuple[str, ...]:
        """Return the commands that copy the database and check the copy. Raises BadServer."""

    def prune(self, url: str, older_ms: int, progress: Progress, *, dry_run: bool) -> Pruned:
        """Remove old runs as `maintenance.prune` does. Raises BadServer, Unreachable."""


def judge_schema(facts: Facts) -> Iterator[Finding]:
    """Check the schemas, their indexes and their role."""
    found = facts.installed
    problems = found.problems
    yield from (Finding("schema", "error", problem) for problem in problems if not found.usable)
    if found.usable:
        yield Finding("schema", "ok", f"hitl's schema has version {found.version}")
    if found.usable and found.bad_indexes:
        names = ", ".join(found.bad_indexes)
        yield Finding("indexes", "warning", f"missing or invalid: {names}", "run hitl postgres install")
    if found.resonate and not facts.role_exists:
        yield Finding(
            "role",
            "warning",
            "the role resonate_worker does not exist, so resonate.sql was not applied to its end",
            "create the role, and apply resonate.sql again",
        )
    elif found.usable:
        more = " (a superuser; resonate_worker is enough)" if facts.superuser else ""
        yield Finding("role", "ok", f"{facts.user} may call hitl's functions{more}")


def judge_connection(facts: Facts) -> Iterator[Finding]:
    """Check TLS, the number of connections, and whether the database takes writes."""
    secure = f"use sslmode=verify-full with sslrootcert ({GUIDE})"
    if facts.tls is None and not facts.local:
        yield Finding("TLS", "warning", "the connection is not encrypted", secure)
    elif facts.tls is None:
        yield Finding("TLS", "ok", "not encrypted; the server is on this computer")
    elif not facts.verified:
        yield Finding("TLS", "warning", f"{facts.tls}, but nothing shows that it is the right server", secure)
    else:
        yield Finding("TLS", "ok", f"{facts.tls}, with the server verified")
    if facts.read_only:
        yield Finding(
            "writes",
            "error",
            "the database is read-only: it is a standby, or its settings say so",
            "use the primary",
        )
    left = f"{facts.connections_left:,} connections left"
    if facts.connections_left < FEW_CONNECTIONS:
        yield Finding("connections", "warning", left, "raise max_connections, or stop something")
    else:
        yield Finding("connections", "ok", left)
    yield Finding("size", "ok", format_size(facts.size))


def judge_work(facts: Facts) -> Iterator[Finding]:
    """Check deadlines, statistics, the clock, and the job of resonate-pg."""
    work = facts.work
    if work is None:
        return
    if work.unfired is not None and work.now - work.unfired[1] > UNFIRED_MS:
        count, first = work.unfired
        yield Finding(
            "deadlines",
            "warning",
            f"{count:,} are due and not fired, the first for {format_age(work.now - first)}",
            "workers fire them: start one with hitl worker",
        )
    if work.stale:
        yield Finding(
            "statistics",
            "warning",
            f"those of {', '.join(work.stale)} are old, so queries may be slow",
            "a hitl worker renews them; or run ANALYZE",
        )
    if work.cron is not None:
        promises = work.counts.promises or 0
        yield Finding(
            "pg_cron",
            "warning" if promises >= MANY_PROMISES else "ok",
            f"its job resonate_process_timeouts ({work.cron}) reads all {promises:,} promises each time",
            "hitl's workers fire deadlines; where one runs, unschedule the job: SELECT"
            " cron.unschedule('resonate_process_timeouts')",
        )
    apart = abs(facts.ahead_ms)
    if apart > SKEW_MS:
        side = "behind" if facts.ahead_ms > 0 else "ahead of"
        yield Finding(
            "clock",
            "warning",
            f"this computer's clock is {format_duration(apart)} {side} the database's, which counts",
            "set the clock",
        )
    else:
        yield Finding("clock", "ok", "as the database's")


JUDGES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (judge_connection, judge_schema, judge_work)
