"""The time of the file. It never goes back and never stops.

If the computer's clock is behind the latest time in the file (because it was set back, or was ahead by
mistake), the file's time continues from there, a little more slowly, until the clock has caught up.
"""

from __future__ import annotations

from msgspec import Struct

SLOWED_PERCENT = 99
"""Speed of the file's time while the clock is behind. It lets the clock catch up (an hour takes four days),
and keeps leases, timers and deadlines right to one percent."""


class Instant(Struct, frozen=True):
    """A time of the file in ms since the epoch, and when it stopped following the clock."""

    now: int
    slow_from: int | None = None
    """The file's time when the clock was found to be behind; None while it follows the clock."""
    slow_wall: int | None = None
    """The clock's time at that moment."""


def following(last: Instant, wall: int) -> Instant:
    """Return the file's time after `last`, when the clock shows `wall`."""
    if wall >= last.now:
        return Instant(wall)
    if last.slow_from is None or last.slow_wall is None or wall < last.slow_wall:
        return Instant(last.now, last.now, wall)
    passed = (wall - last.slow_wall) * SLOWED_PERCENT // 100
    return Instant(max(last.now, last.slow_from + passed), last.slow_from, last.slow_wall)
