"""Sizes as people read them: `312 B`, `4.1 MB`."""

from __future__ import annotations

STEP = 1_000


def format_size(size: int) -> str:
    """Return a number of bytes in the unit that leaves one to three digits before the point."""
    if size < STEP:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= STEP
        if value < STEP - 0.05:
            return f"{value:.1f} {unit}"
    return f"{value / STEP:.1f} TB"
