"""Whether the driver of PostgreSQL is installed."""

from __future__ import annotations

from importlib.util import find_spec

from hitl_cli.errors import BadServer


def require_psycopg() -> None:
    """Raise BadServer where it is not."""
    if find_spec("psycopg") is None:
        raise BadServer(
            "a PostgreSQL server needs the extra postgres: install resonate-hitl[postgres] (no psycopg here)."
        )
