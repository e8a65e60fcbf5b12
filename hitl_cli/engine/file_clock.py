"""The time of the file: never before an instant that it has answered at, and never at a standstill.

Where the computer's clock is behind that instant (it was set back, or was far ahead by mistake), the
file's time goes on from there and passes a little more slowly, until the clock has caught up.
"""

from __future__ import annotations

from msgspec import Struct

SLOWED_PERCENT = 99
"""How fast the file's time passes while the clock is behind. Slow enough to be caught up with (an hour
takes four days), and no lease, timer or deadline is off by more than the hundredth part."""


class Instant(Struct, frozen=True):
    """An instant of the file, ms since the epoch, and since when it no longer follows the clock."""

    now: int
    slow_from: int | None = None
    """The file's time when the clock was found to be behind it; None while it follows the clock."""
    slow_wall: int | None = None
    """What the clock showed then."""


def following(last: Instant, wall: int) -> Instant:
    """Return the instant that it is when the clock shows `wall`, after the last one."""
    if wall >= last.now:
        return Instant(wall)
    if last.slow_from is None or last.slow_wall is None or wall < last.slow_wall:
        return Instant(last.now, last.now, wall)
    passed = (wall - last.slow_wall) * SLOWED_PERCENT // 100
    return Instant(max(last.now, last.slow_from + passed), last.slow_from, last.slow_wall)
