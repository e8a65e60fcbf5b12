"""Instants: ISO 8601 in UTC for programs, the local time zone for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from hitl_cli.errors import BadInput
from hitl_cli.format.durations import is_duration, parse_duration

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last instant that ISO 8601 writes with four digits."""


def instant(ms: int) -> datetime:
    """Return an instant (ms since the epoch) in UTC."""
    return EPOCH + timedelta(milliseconds=min(max(ms, 0), LAST_MS))


def iso(ms: int) -> str:
    """Return an instant (ms since the epoch) as `2026-11-21T03:04:05.678Z`."""
    return instant(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_DAY = len("2026-12-24")
"""Most characters of a day; an instant has more."""


def moment(text: str, now: int, *, code: str, end_of_day: bool = True, zone: tzinfo | None = None) -> int:
    """Return an instant that a person types, in ms since the epoch. Raises BadInput with a code.

    The text is a day (its end, unless `end_of_day` is false), an instant, or a duration from now. Without a
    time zone in it, `zone` is used, or that of this process. An instant that is too late to represent becomes
    the last possible one, which callers then check.
    """
    text = text.strip()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return now + _duration(text, code)
    at = at if at.tzinfo is not None or zone is None else at.replace(tzinfo=zone)
    try:
        at += timedelta(days=1 if len(text) <= _DAY and end_of_day else 0)
        return round(at.astimezone().timestamp() * 1_000)
    except (ValueError, OverflowError):  # beyond the years 1 to 9999, here or in UTC
        return 0 if at.year == 1 else LAST_MS


def _duration(text: str, code: str) -> int:
    """Return a duration in ms. Raises BadInput with a code if it is too long or is not a duration."""
    try:
        return parse_duration(text)
    except BadInput as error:
        why = (
            str(error)
            if is_duration(text)
            else f"{text!r} is not a day such as 2026-12-24, an instant such as 2026-12-24T12:00 or a"
            " duration such as 2d."
        )
        raise BadInput(why, code=code) from error


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
    """Return a sentence with its instant, written by `iso`, replaced by local time."""
    return text if at is None else text.replace(iso(at), local(at), 1)
