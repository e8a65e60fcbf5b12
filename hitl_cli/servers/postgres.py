"""`postgresql://host/database`: a database with the schema of resonate-pg, by the extra `postgres`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.connect import split_url

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


def connect(url: str, token: str | None) -> Client:  # noqa: ARG001 - the URL says who connects
    """Return a client of the database. Raises BadServer, Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    require_psycopg()
    from hitl_cli.postgres.client import PostgresClient

    return PostgresClient(url)


def file(url: str) -> None:
    """Return None: the files of the server are elsewhere. Raises BadServer."""
    split_url(url)


def exists(url: str) -> bool:
    """Return True: to ask a server creates nothing. Raises BadServer."""
    split_url(url)
    return True


def worker_link(url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:  # noqa: ARG001
    """Return a worker's connections to the database. Raises BadServer, Unreachable."""
    from hitl_cli.postgres.extra import require_psycopg

    require_psycopg()
    from hitl_cli.postgres.worker_link import postgres_link

    return postgres_link(url, terms)
