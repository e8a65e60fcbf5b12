"""Instants: ISO 8601 in UTC for programs, the local time zone for people."""

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


def local(ms: int, zone: str | None = None) -> str:
    """Return an instant (ms since the epoch) as `2026-11-21 04:04:05 CET`.

    `zone` is an IANA name; None is the zone of this process.
    """
    at = _here(ms)
    if zone is not None:
        from zoneinfo import ZoneInfo

        at = instant(ms).astimezone(ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"


def local_minute(ms: int) -> str:
    """Return an instant as one word, for lists that are split at spaces: `2026-11-21T04:04+01:00`."""
    return _here(ms).isoformat(timespec="minutes")


def _here(ms: int) -> datetime:
    """Return an instant in the zone of this process."""
    try:
        return instant(ms).astimezone()
    except (OverflowError, ValueError):  # beyond the year 9999 in that zone
        return instant(ms)


def localized(text: str, at: int | None) -> str:
    """Return a sentence that has an instant, written by `iso`, with the instant in the local time zone."""
    return text if at is None else text.replace(iso(at), local(at), 1)
