"""Which occurrences of a schedule are due: the database does not read cron expressions of hitl.

The rule is the engine's (hitl_cli/engine/machine.py, process_schedule).
"""

from __future__ import annotations

from itertools import islice

import msgspec
from msgspec import Struct

from hitl_cli.engine import cron

OCCURRENCES_LIMIT = 100
"""Occurrences of one schedule that are fired in one transaction; the rest follow in the next."""

FIRE = "SELECT hitl.fire(%s, %s, %s, %s)"
"""The statement that fires; its values are those of `firing`."""

type Firing = tuple[str, int, list[int], int]
"""A schedule, the next occurrence that was known, the occurrences to fire, and the next one after them."""


class _Due(Struct, frozen=True, rename="camel"):
    id: str
    cron: str
    catch_up: str
    next_run_at: int


_due = msgspec.json.Decoder(list[_Due])


def firings(due: str | bytes | msgspec.Raw, now: int) -> list[Firing]:
    """Return what to fire, from the answer of hitl.tick()."""
    return [_firing(schedule, now) for schedule in _due.decode(due)]


def _firing(schedule: _Due, now: int) -> Firing:
    try:
        if schedule.catch_up == "last":
            due = [cron.last_until(schedule.cron, now)]
        else:
            every = cron.occurrences(schedule.cron, schedule.next_run_at, now)
            due = list(islice(every, OCCURRENCES_LIMIT))
        return schedule.id, schedule.next_run_at, due, cron.next_after(schedule.cron, due[-1])
    except cron.UnknownZone:  # of a process that knows it: perhaps that looks before an hour has passed
        return schedule.id, schedule.next_run_at, [], now + cron.HOUR_MS
