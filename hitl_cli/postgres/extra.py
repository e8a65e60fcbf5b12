"""Checks that the driver of PostgreSQL is installed."""

from __future__ import annotations

from importlib import import_module

from hitl_cli.errors import extra


def require_psycopg() -> None:
    """Raise MissingExtra if the driver is not installed."""
    with extra("postgres"):
        import_module("psycopg")
