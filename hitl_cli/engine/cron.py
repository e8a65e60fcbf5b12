"""When a schedule fires: five-field cron expressions, in UTC. Instants are ms since the epoch.

The calendar is cronsim's; spec/01-protocol/validation.lean says what the protocol needs of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIELDS = 5

NEVER = 2**62
"""An instant that does not come, for an expression that has run out of dates."""

LAST_YEAR_MS = 253_370_764_800_000
"""The first instant of the year 9999, which is as far as the calendar goes."""


def is_cron(expression: str) -> bool:
    """Whether the expression can be read and denotes an instant at all."""
    from cronsim import CronSimError

    if len(expression.split()) != FIELDS:
        return False
    try:
        return next_after(expression, 0) < NEVER
    except CronSimError:
        return False


def next_after(expression: str, at: int) -> int:
    """Return the first instant after `at`; NEVER if there is none."""
    from cronsim import CronSim

    if at >= LAST_YEAR_MS:
        return NEVER
    found = next(CronSim(expression, datetime.fromtimestamp(at // 1_000, UTC)), None)
    return NEVER if found is None else int(found.timestamp()) * 1_000


def last_until(expression: str, at: int) -> int:
    """Return the last instant at or before `at`. There must be one."""
    from cronsim import CronSim

    # Backwards from one second later, because the search never returns what it starts at.
    start = datetime.fromtimestamp(min(at, LAST_YEAR_MS) // 1_000 + 1, UTC)
    return int(next(CronSim(expression, start, reverse=True)).timestamp()) * 1_000


def occurrences(expression: str, first: int, until: int) -> Iterator[int]:
    """Yield the instants from `first`, which is one, to `until`, in order."""
    at = first
    while at <= until:
        yield at
        at = next_after(expression, at)
