"""Connections of its parent that a forked process has: even to end them would be said to the server."""

from __future__ import annotations

_kept: list[object] = []


def keep(connection: object) -> None:
    """Keep a connection that is not used here, so that nothing closes it."""
    _kept.append(connection)
