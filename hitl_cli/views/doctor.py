"""The findings of `hitl doctor` as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import Json
    from hitl_cli.engine.inspection import Inspection
    from hitl_cli.postgres.facts import Facts, Work
    from hitl_cli.settings import Setting

type Level = Literal["ok", "warning", "error"]


class Finding(Struct, frozen=True):
    """A check: its level, its result, and what to do."""

    name: str
    level: Level
    text: str
    advice: str | None = None


def settings_document(chosen: Iterable[tuple[str, Setting]]) -> list[Json]:
    """Return the settings, each with the source of its value."""
    return [{"name": name, "value": one.value, "source": one.source} for name, one in chosen]


def database_document(facts: Facts) -> Json:
    """Return the facts about a PostgreSQL database, with null for facts that could not be read."""
    found, work = facts.installed, facts.work
    return {
        "server": found.name,
        "postgres": found.server_version,
        "version": found.version,
        "problems": found.problems,
        "user": facts.user,
        "tls": facts.tls,
        "verified": facts.verified,
        "bytes": facts.size,
        "connections_left": facts.connections_left,
        "read_only": facts.read_only,
        "pg_cron": work and work.cron,
        "now": work and iso(work.now),
        **_work_document(work),
    }


def file_document(file: Inspection) -> Json:
    """Return the facts about a database file, with null for facts that were not counted or checked."""
    return {
        "path": str(file.path),
        "format": file.format,
        "bytes": file.size,
        "bytes_free": file.free_in_file,
        "log_bytes": file.log_size,
        "disk_free_bytes": file.disk_free,
        "file_system": file.file_system,
        "damage": file.damage,
        "now": iso(file.now),
        **_work_document(file),
    }


def _work_document(work: Inspection | Work | None) -> dict[str, Json]:
    """Return the promises and tasks of a server."""
    counts = work and work.counts
    oldest = work and work.oldest_waiting
    return {
        "promises": counts and counts.promises,
        "runs": counts and counts.runs,
        "waiting": counts and counts.waiting,
        "tasks": counts and counts.tasks,
        "unfetched": counts and counts.unfetched,
        "oldest_waiting": oldest and {"id": oldest[0], "created_at": iso(oldest[1])},
        "offered": [
            {
                "address": offer.address,
                "tasks": offer.count,
                "since": iso(offer.since),
                "listening": offer.heard,
            }
            for offer in (work.offered if work else ())
        ],
    }
