"""Instants as people and machines read them: ISO 8601, UTC, whatever TZ is set to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last instant that ISO 8601 writes with four digits."""


def instant(ms: int) -> datetime:
    """Return an instant (ms since the epoch) in UTC."""
    return EPOCH + timedelta(milliseconds=min(max(ms, 0), LAST_MS))


def iso(ms: int) -> str:
    """Return an instant (ms since the epoch) as `2026-11-21T03:04:05.678Z`."""
    return instant(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
