"""What can be known of a file without changing anything in it: `hitl doctor` judges it.

Each look reads an index, or stops after `BUDGET_S`: a million promises must not make it slow.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.engine.doorbell import Ringer
from hitl_cli.engine.store import APPLICATION_ID, migrations, opened_as_it_is

if TYPE_CHECKING:
    from collections.abc import Iterator

BUDGET_S = 2.0
"""How long one look at a large file may take before it is given up."""

LOOK_STEPS = 10_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""

NAMES = 5
"""Ids that are named of what there may be many."""

COUNT_WAITING = "SELECT count(*) FROM promises WHERE state = 'pending' AND open = 1"
OLDEST_WAITING = (
    "SELECT id, created_at FROM promises WHERE state = 'pending' AND open = 1 ORDER BY seq LIMIT 1"
)
COUNT_RUNS = "SELECT count(*) FROM promises WHERE root = 1"
COUNT_PROMISES = "SELECT count(*) FROM promises"
COUNT_TASKS = "SELECT state, count(*) FROM tasks WHERE state <> 'fulfilled' GROUP BY state"
OFFERS = (
    "SELECT address, count(*), min(due) FROM tasks WHERE state = 'pending' AND due <= ? GROUP BY address"
)
LAPSED = "SELECT count(*), min(due) FROM tasks WHERE state = 'acquired' AND due <= ?"
STRANDED = (
    "SELECT p.id FROM tasks t JOIN promises p ON p.seq = t.seq"
    " WHERE t.state = 'suspended' AND p.state = 'pending'"
    " AND t.seq NOT IN (SELECT awaiter FROM callbacks) LIMIT ?"
)
COUNT_UNFETCHED = "SELECT count(*) FROM unblocks"


class Offered(Struct, frozen=True):
    """Tasks that are on offer to an address, and since when (ms since the epoch)."""

    address: str
    count: int
    since: int
    heard: bool
    """Whether a process takes messages for the address."""


class Counts(Struct, frozen=True, kw_only=True):
    """How much there is. None stands for what took too long to count."""

    promises: int | None
    runs: int | None
    waiting: int | None
    tasks: dict[str, int] | None
    """Those that have not ended, by state."""
    unfetched: int | None


class Facts(Struct, frozen=True, kw_only=True):
    """A file as it is. Sizes are bytes, instants ms since the epoch, modes those of stat."""

    path: Path
    size: int
    log_size: int
    free_in_file: int
    shrinks: bool
    """Whether `prune` can make the file smaller."""
    mode: int
    folder_mode: int
    owned: bool
    """Whether it belongs to who looks."""
    file_system: str | None
    disk_free: int
    format: int
    newest_format: int
    writable: bool
    lock: str | None
    """What kept it from being locked for writing, if anything did."""
    damage: list[str] | None
    """What the check found; None where it was not done to its end."""
    now: int
    """The latest instant that anything in the file happened at."""
    counts: Counts | None
    """None where the file has an older format, which the next command will upgrade."""
    oldest_waiting: tuple[str, int] | None
    offered: list[Offered]
    lapsed: tuple[int, int] | None
    """How many leases lapsed and were not taken back, and when the first did."""
    stranded: list[str] | None
    """Some of the tasks that are suspended and that nothing will resume."""
