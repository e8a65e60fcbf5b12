"""Computes due occurrences of schedules, because the database cannot read hitl's cron expressions."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from hitl_cli.engine import cron
from hitl_cli.inspected import inspected

FIRE = "SELECT hitl.fire(%s, %s, %s, %s)"
"""The statement that fires; its values are a Firing."""

type Firing = tuple[str, int, list[int], int]
"""A schedule, the next occurrence that was known, the occurrences to fire, and the next one after them."""


class _Due(Struct, frozen=True, rename="camel"):
    id: str
    cron: str
    catch_up: str
    next_run_at: int


_due = msgspec.json.Decoder(inspected(list[_Due]))


def firings(due: str | bytes | msgspec.Raw, now: int) -> list[Firing]:
    """Return the firings for the answer of hitl.tick()."""
    return [
        (one.id, one.next_run_at, *cron.due_now(one.cron, one.next_run_at, now, one.catch_up))
        for one in _due.decode(due)
    ]
