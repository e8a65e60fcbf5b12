"""The clock of this process. It is its own module because every command needs it, and few need the engine."""

from __future__ import annotations

import time

_set_ms: int | None = None


def now_ms() -> int:
    """Return the wall clock in ms since the epoch, or the time that a test has set."""
    return time.time_ns() // 1_000_000 if _set_ms is None else _set_ms


def set_clock(ms: int | None) -> None:
    """Set the time of this process, in ms since the epoch; None for the wall clock. For tests."""
    global _set_ms  # noqa: PLW0603 - a process has one clock
    _set_ms = ms
