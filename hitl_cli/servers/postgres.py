"""`postgresql://host/database`: a database with the schema of resonate-pg, by the extra `postgres`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.connect import shown_url, split_url
from hitl_cli.errors import BadServer

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.engine.prune import Progress, Pruned
    from hitl_cli.postgres.facts import Facts
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


def connect(url: str, token: str | None) -> Client:  # noqa: ARG001 - the URL says who connects
    """Return a client of the database. Raises BadServer, Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    _check(url)
    require_psycopg()
    from hitl_cli.postgres.client import PostgresClient

    return PostgresClient(url)


def file(url: str) -> None:
    """Return None: the files of the server are elsewhere. Raises BadServer."""
    _check(url)


def exists(url: str) -> bool:
    """Return True: connecting creates nothing. Raises BadServer."""
    _check(url)
    return True


def worker_link(url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:  # noqa: ARG001
    """Return a worker's connections to the database. Raises BadServer, Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    _check(url)
    require_psycopg()
    from hitl_cli.postgres.worker_link import postgres_link

    return postgres_link(url, terms)


def facts(url: str, group: str, *, full: bool) -> Facts:
    """Return the facts about the database, for hitl doctor. Raises BadServer, Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    _check(url)
    require_psycopg()
    from hitl_cli.postgres.facts import facts as look

    return look(url, group, full=full)


def backup_commands(url: str, file: Path) -> tuple[str, ...]:
    """Return the commands that copy the database and check the copy. Raises BadServer."""
    from hitl_cli.postgres.backup import commands

    _check(url)
    return commands(url, file)


def prune(url: str, older_ms: int, progress: Progress, *, dry_run: bool) -> Pruned:
    """Remove the runs that ended `older_ms` ago or earlier; with `dry_run` none. Raises Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    _check(url)
    require_psycopg()
    from hitl_cli.postgres.prune import prune as remove

    return remove(url, older_ms, progress, dry_run=dry_run)


def _check(url: str) -> None:
    """Raise BadServer for a URL whose password ends too early: the rest of it would be shown as the host."""
    split_url(url)
    if shown_url(url).endswith("://…"):
        raise BadServer(
            "the URL of the server cannot be read: in its password write @ as %40, / as %2F, ? as %3F."
        )
