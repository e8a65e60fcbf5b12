"""When a schedule fires: five-field cron expressions, in UTC or a time zone. Instants are ms since the epoch.

A time zone is written before the fields, as `CRON_TZ=Europe/Berlin 0 2 * * *`. Another server understands
this or refuses it, and never takes it for UTC. When the clocks change, the rules of Debian's cron apply. If
minutes and hours are numbers, it fires once on each day: a time in the skipped hour fires at the end of that
hour, a time in the repeated hour fires the first time. If one of them begins with `*`, it fires whenever the
clocks show the time.

cronsim computes the calendar; spec/01-protocol/validation.lean says what the protocol requires.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = 5

ZONE = "CRON_TZ="
"""Prefix of an expression with a time zone."""

NEVER = 2**62
"""The next instant of an expression without further dates."""

LAST_YEAR_MS = 253_370_764_800_000
"""The first instant of the year 9999, where the calendar ends."""

DAY_S = 86_400
"""Clocks do not change twice within this time."""

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

OCCURRENCES_LIMIT = 100
"""Occurrences of one schedule that are fired in one transaction; the rest follow in the next."""

WIDER = 8
"""How much further to look back each time, for the last occurrence."""


class UnknownZone(ValueError):
    """A time zone that this machine does not know."""


def in_zone(fields: str, zone: str | None) -> str:
    """Return an expression in a time zone; None for UTC."""
    return " ".join(fields.split()) if zone is None else f"{ZONE}{zone} {' '.join(fields.split())}"


def fields_and_zone(expression: str) -> tuple[str, str | None]:
    """Return the fields of an expression and its time zone; None for UTC."""
    first, _, rest = expression.partition(" ")
    return (rest, first.removeprefix(ZONE)) if first.startswith(ZONE) else (expression, None)


def problem(expression: str) -> str | None:
    """Return why an expression is not valid, as a phrase; None if it is valid."""
    from cronsim import CronSimError

    fields, zone = fields_and_zone(expression)
    try:
        if len(fields.split()) == FIELDS and next_after(expression, 0) < NEVER:
            return None
    except UnknownZone:
        return f"{zone!r} is not a known time zone: use a name such as Europe/Berlin"
    except CronSimError:
        pass
    if _is_readable(fields):
        return f"{fields!r} never occurs: these months do not have this day"
    return f"{fields!r} is not a cron expression: use minute, hour, day of month, month, day of week"


def _is_readable(fields: str) -> bool:
    """Whether each field is valid by itself."""
    from cronsim import CronSim, CronSimError

    try:
        minute, hour, day, month, weekday = fields.split()
        for each in (f"{minute} {hour} {day} * {weekday}", f"* * * {month} *"):
            CronSim(each, datetime.fromtimestamp(0, UTC))
    except (CronSimError, ValueError):
        return False
    return True


def next_after(expression: str, at: int) -> int:
    """Return the first occurrence after `at`; NEVER if there is none. Raises UnknownZone."""
    return next(_after(expression, at), NEVER)


def last_until(expression: str, at: int) -> int:
    """Return the last occurrence at or before `at`. There must be one. Raises UnknownZone."""
    end = min(at, LAST_YEAR_MS)
    back = MINUTE_MS
    while (last := next_after(expression, max(end - back, -1))) > end:
        back *= WIDER
    return max(takewhile(lambda instant: instant <= end, _after(expression, last)), default=last)


def occurrences(expression: str, first: int, until: int) -> Iterator[int]:
    """Yield the occurrences from `first`, which is one, to `until`, in order. Raises UnknownZone."""
    return takewhile(lambda at: at <= until, chain([first], _after(expression, first)))


def due_now(expression: str, first: int, now: int, catch_up: str) -> tuple[list[int], int]:
    """Return the occurrences to fire, from `first` until `now`, and when to check the schedule next.

    Of occurrences that passed while no process ran, only the last is fired, unless the schedule has
    `catch_up`. In a time zone that this machine does not know, none is fired, and the next check is an hour
    later: another process may know the zone.
    """
    try:
        if catch_up == "last":
            due = [last_until(expression, now)]
        else:
            due = list(islice(occurrences(expression, first, now), OCCURRENCES_LIMIT))
        return due, next_after(expression, due[-1]) if due else first
    except UnknownZone:
        return [], now + HOUR_MS


def _after(expression: str, at: int) -> Iterator[int]:
    """Yield the occurrences after `at`, in order. Raises UnknownZone."""
    from cronsim import CronSim

    if at >= LAST_YEAR_MS:
        return
    fields, name = fields_and_zone(expression)
    zone = UTC if name is None else _zone(name)
    minute, hour, *_ = fields.split()
    if zone is not UTC and (minute.startswith("*") or hour.startswith("*")):
        yield from (second * 1_000 for second in _whenever_shown(fields, at // 1_000, zone))
        return
    for each in CronSim(fields, datetime.fromtimestamp(at // 1_000, zone)):
        # In the repeated hour, the calendar would continue from the first of the two passes, which is over.
        if (instant := int(each.timestamp()) * 1_000) > at:
            yield (at := instant)


def _whenever_shown(fields: str, at: int, zone: tzinfo) -> Iterator[int]:
    """Yield the seconds after `at` at which the clocks of a zone show a time of the expression."""
    from cronsim import CronSim

    offset = _offset(zone, at)
    while True:
        for shown in CronSim(fields, datetime.fromtimestamp(at + offset, UTC)):
            second = int(shown.timestamp()) - offset
            changed = _change(zone, offset, at, second)
            if changed is not None:
                at, offset = changed - 1, _offset(zone, changed)
                break
            yield second
            at = second
        else:
            return


def _change(zone: tzinfo, offset: int, after: int, until: int) -> int | None:
    """Return the first second in a range at which the offset changes; None if it does not."""
    while after < until:
        found = min(after + DAY_S, until)
        if _offset(zone, found) != offset:
            while found - after > 1:
                middle = (after + found) // 2
                after, found = (middle, found) if _offset(zone, middle) == offset else (after, middle)
            return found
        after = found
    return None


def _offset(zone: tzinfo, second: int) -> int:
    """Return the offset of a zone from UTC at an instant, in seconds."""
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database. Raises UnknownZone."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise UnknownZone(name) from error
