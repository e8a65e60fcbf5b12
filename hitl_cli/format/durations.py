"""Durations as people write them: `90s`, `1h30m`, `30d` (as in the resonate CLI, plus days and weeks)."""

from __future__ import annotations

import re
from datetime import timedelta

from hitl_cli.errors import BadInput

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
LONGEST_MS = 100 * 366 * UNITS_MS["d"]

type Duration = str | timedelta
"""A text like `90s`, `1h30m` or `2d`, or a timedelta."""

_PART = r"(\d+(?:\.\d+)?)(ms|[smhdw])"


def parse_duration(text: str) -> int:
    """Return the duration in ms. Raises BadInput."""
    parts = _parts(text)
    if not parts:
        raise bad_duration(f"{text!r} is not a duration: write it like 90s, 1h30m or 30d.")
    exact = sum(float(number) * UNITS_MS[unit] for number, unit in parts)
    total = round(exact) if exact <= LONGEST_MS else 0
    if not 0 < total <= LONGEST_MS:
        raise bad_duration(f"{text!r} is not a valid duration: it must be more than 0 and at most 100 years.")
    return total


def is_duration(text: str) -> bool:
    """Whether a text has the form of a duration, even one that is too long."""
    return bool(_parts(text))


def _parts(text: str) -> list[tuple[str, str]]:
    """Return the numbers and units of a duration; nothing for another text."""
    plain = text.strip().lower()
    parts: list[tuple[str, str]] = re.findall(_PART, plain)
    return parts if "".join(map("".join, parts)) == plain else []


def duration_ms(duration: Duration) -> int:
    """Return a duration, given as text or timedelta, in ms. Raises BadInput."""
    if isinstance(duration, str):
        return parse_duration(duration)
    if not isinstance(duration, timedelta):
        raise bad_duration(
            f"{duration!r} is not a duration: write it like 90s, 1h30m or 30d, or as a timedelta."
        )
    ms = round(duration / timedelta(milliseconds=1))
    if not 0 < ms <= LONGEST_MS:
        raise bad_duration(
            f"{duration!s} is not a valid duration: it must be more than 0 and at most 100 years."
        )
    return ms


def bad_duration(message: str) -> BadInput:
    """Return the error for an invalid duration."""
    return BadInput(message, code="bad-duration")


def format_age(ms: int) -> str:
    """Return an age, without milliseconds."""
    return format_duration(ms // UNITS_MS["s"] * UNITS_MS["s"])


def format_duration(ms: int) -> str:
    """Return a duration in at most two units: `45s`, `3m 20s`, `2d 4h`."""
    seconds = max(ms, 0) // 1_000
    if seconds < 1:
        return f"{max(ms, 0)}ms" if 0 < ms < UNITS_MS["s"] else "0s"
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
        if len(parts) == 2 or (parts and not count):  # noqa: PLR2004
            break
    return " ".join(parts)
