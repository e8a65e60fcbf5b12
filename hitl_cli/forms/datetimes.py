"""Converts times between the formats of browsers and people and RFC 3339. A time without a zone is in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time

_LOCAL = re.compile(r"(?:(\d{4}-\d{2}-\d{2})[T ])?(\d{2}:\d{2})(?::(\d{2}(?:\.\d+)?))?", re.ASCII)

_FINEST = 1_000
"""Digits of a fraction that every browser's input supports: milliseconds."""


def with_zone(text: str, zone: str = "Z") -> str:
    """Return a time, or a date and time, as RFC 3339 in UTC if it has no zone; any other text unchanged.

    Another `zone`, or an empty one, replaces the `Z`.
    """
    found = _LOCAL.fullmatch(text)
    if found is None:
        return text
    date, minute, seconds = found.groups()
    return f"{f'{date}T' if date else ''}{minute}:{seconds or '00'}{zone}"


def without_zone(text: str, *, dated: bool) -> str | None:
    """Return a time in UTC without its zone, for a browser's input; None if the input cannot show it."""
    try:
        if dated:
            read = datetime.fromisoformat(with_zone(text))
        else:
            read = datetime.combine(datetime(2000, 1, 1), time.fromisoformat(with_zone(text)))  # noqa: DTZ001
        at = read.astimezone(UTC) if read.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
    if at is None or at.microsecond % _FINEST:
        return None
    exact = "milliseconds" if at.microsecond else "seconds" if at.second else "minutes"
    plain = at.replace(tzinfo=None)
    return plain.isoformat(timespec=exact) if dated else plain.time().isoformat(timespec=exact)
