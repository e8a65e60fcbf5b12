"""Inspects a file for `hitl doctor`, without changing it.

Each query uses an index or stops after `BUDGET_S`, so that a million promises do not make it slow.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec import Struct

from hitl_cli.engine import disk
from hitl_cli.engine.doorbell import Ringer
from hitl_cli.engine.store import FORMAT, opened_as_it_is

BUDGET_S = 2.0
"""How long one query on a large file may take, in seconds."""

QUICK_CHECK_BYTES = 512 * 1024 * 1024
"""Largest file that is checked by default: it takes about a second, more on a slow disk."""

LOOK_STEPS = 10_000
"""SQLite instructions between two looks at the clock: about a millisecond."""

NAMES = 5
"""Most ids that are listed."""

COUNT_WAITING = "SELECT count(*) FROM promises WHERE state = 'pending' AND open = 1"
OLDEST_WAITING = (
    "SELECT id, created_at FROM promises WHERE state = 'pending' AND open = 1 ORDER BY seq LIMIT 1"
)
COUNT_RUNS = "SELECT count(*) FROM promises WHERE root = 1"
COUNT_PROMISES = "SELECT count(*) FROM promises"
COUNT_TASKS = "SELECT state, count(*) FROM tasks WHERE state <> 'fulfilled' GROUP BY state"
OFFERS = "SELECT address, count(*), min(due) FROM tasks WHERE state = 'pending' AND due <= ? GROUP BY address"
LAPSED = "SELECT count(*), min(due) FROM tasks WHERE state = 'acquired' AND due <= ?"
STRANDED = (
    "SELECT p.id FROM tasks t JOIN promises p ON p.seq = t.seq"
    " WHERE t.state = 'suspended' AND p.state = 'pending'"
    " AND t.seq NOT IN (SELECT awaiter FROM callbacks) LIMIT ?"
)
COUNT_UNFETCHED = "SELECT count(*) FROM unblocks"


class Offered(Struct, frozen=True):
    """The tasks on offer to an address, and since when, in ms since the epoch."""

    address: str
    count: int
    since: int
    heard: bool
    """Whether a process listens for the address."""


class Counts(Struct, frozen=True, kw_only=True):
    """The number of records. None if counting took too long."""

    promises: int | None
    runs: int | None
    waiting: int | None
    tasks: dict[str, int] | None
    """Unfinished tasks by state."""
    unfetched: int | None


class Inspection(Struct, frozen=True, kw_only=True):
    """The state of a file. Sizes are in bytes, instants in ms since the epoch, modes as in stat."""

    path: Path
    size: int
    log_size: int
    free_in_file: int
    shrinks: bool
    """Whether `prune` can shrink the file."""
    mode: int
    folder_mode: int
    owned: bool
    """Whether the current user owns it."""
    file_system: str | None
    disk_free: int
    format: int
    newest_format: int
    writable: bool
    lock: str | None
    """Why it could not be locked for writing; None if it could."""
    damage: list[str] | None
    """The damage found; None if the check was not completed."""
    now: int
    """The latest time in the file."""
    counts: Counts | None
    """None if the file has an older format, which the next command will upgrade."""
    oldest_waiting: tuple[str, int] | None
    offered: list[Offered]
    lapsed: tuple[int, int] | None
    """The number of expired leases that were not taken back, and the time of the first."""
    stranded: list[str] | None
    """Some of the suspended tasks that nothing will resume."""


def inspect(path: Path, now: int, *, full: bool = False) -> Inspection:
    """Return the state of a file; with `full` without a time limit.

    `now` is the machine's clock in ms since the epoch. Raises FileUnusable.
    """
    with opened_as_it_is(path) as db:
        budget_s = math.inf if full else BUDGET_S
        found = db.execute("PRAGMA user_version").fetchone()[0]
        newest = FORMAT
        current = found == newest
        page_size, pages, free, vacuum = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
        )
        latest = db.execute("SELECT now FROM clock").fetchone()[0] if found else 0
        status = path.stat()
        log = disk.look(disk.log_of(path))
        lapsed = db.execute(LAPSED, (max(now, latest),)).fetchone() if current else (0, 0)
        stranded = _rows(db, budget_s, STRANDED, NAMES) if current else []
        return Inspection(
            path=path,
            size=page_size * pages,
            log_size=log.st_size if log is not None else 0,
            free_in_file=page_size * free,
            shrinks=bool(vacuum),
            mode=status.st_mode,
            folder_mode=path.parent.stat().st_mode,
            owned=status.st_uid == os.geteuid(),
            file_system=file_system(path),
            disk_free=shutil.disk_usage(path.parent).free,
            format=found,
            newest_format=newest,
            writable=os.access(path, os.W_OK) and os.access(path.parent, os.W_OK),
            lock=_why_locked(db),
            damage=_damage(db, budget_s, full=full)
            if full or page_size * pages <= QUICK_CHECK_BYTES
            else None,
            now=latest,
            counts=_counts(db, budget_s) if current else None,
            oldest_waiting=db.execute(OLDEST_WAITING).fetchone() if current else None,
            offered=_offered(db, path, max(now, latest), budget_s) if current else [],
            lapsed=lapsed if lapsed[0] else None,
            stranded=None if stranded is None else [id for (id,) in stranded],
        )


def _rows(db: sqlite3.Connection, budget_s: float, sql: str, *values: object) -> list[tuple[Any, ...]] | None:
    """Return the rows of a query; None if it takes longer than `budget_s` seconds."""
    end = time.monotonic() + budget_s
    db.set_progress_handler(lambda: time.monotonic() > end, LOOK_STEPS)
    try:
        return db.execute(sql, values).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return None
    finally:
        db.set_progress_handler(None, 0)


def _damage(db: sqlite3.Connection, budget_s: float, *, full: bool) -> list[str] | None:
    """Return the damage that SQLite finds; None if it took too long."""
    found = _rows(db, budget_s, "PRAGMA integrity_check" if full else "PRAGMA quick_check")
    return None if found is None else [text for (text,) in found if text != "ok"]


def _counts(db: sqlite3.Connection, budget_s: float) -> Counts:
    """Return the number of records."""

    def count(sql: str) -> int | None:
        found = _rows(db, budget_s, sql)
        return None if found is None else int(found[0][0])

    tasks = _rows(db, budget_s, COUNT_TASKS)
    return Counts(
        promises=count(COUNT_PROMISES),
        runs=count(COUNT_RUNS),
        waiting=count(COUNT_WAITING),
        tasks=None if tasks is None else dict(tasks),
        unfetched=count(COUNT_UNFETCHED),
    )


def _offered(db: sqlite3.Connection, path: Path, now: int, budget_s: float) -> list[Offered]:
    """Return the tasks on offer by address, the longest waiting first."""
    with closing(Ringer(path)) as ringer:
        return sorted(
            (
                Offered(address, count, since, heard=ringer.hears(group_of(address)))
                for address, count, since in _rows(db, budget_s, OFFERS, now) or []
            ),
            key=lambda offer: offer.since,
        )


def group_of(address: str) -> str:
    """Return the worker group in an address."""
    return address.partition("@")[2].partition("/")[0]


def _why_locked(db: sqlite3.Connection) -> str | None:
    """Return why the file cannot be locked for writing; nothing is written."""
    try:
        db.execute(f"PRAGMA busy_timeout = {int(BUDGET_S * 1_000)}")
        db.execute("PRAGMA query_only = OFF")  # query_only would also forbid the lock
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return str(error)
    finally:
        db.execute("PRAGMA query_only = ON")
    return None


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """Return the type of the file system of a path; None if the system does not tell (not Linux)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    # Spaces in a mount's path are written as \040. The longest matching mount is the right one.
    mounted = [
        (Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), place)), kind)
        for _, place, kind, *_ in map(str.split, lines)
    ]
    resolved = path.resolve()
    over = [(place, kind) for place, kind in mounted if resolved.is_relative_to(place)]
    return max(over, key=lambda found: len(found[0].parts))[1] if over else None
