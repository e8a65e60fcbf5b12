"""Keeps the write-ahead log of the file short, without the risks of SQLite's automatic checkpoints.

SQLite copies the log into the file ("checkpoint") after a commit, while others go on writing. Then a log that
is written to continuously never restarts. Also, SQLite before 3.51.3 can, very rarely, lose a write at the
moment when the log restarts (sqlite.org/wal.html, "the WAL-reset bug"). Here the log is copied while nobody
else writes: all of it, and the next commit restarts it.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

LOG_BYTES = 16 * 1024 * 1024
"""Size from which the log is copied into the file: a few thousand decisions, or 30 ms of copying. The file
keeps its size, because overwriting is faster than extending."""

READERS_WAIT_S = 0.05
"""How long to wait for readers of older states. They take milliseconds. For a longer one the log grows until
the reader has ended."""

RETRY_S = 1.0
"""Pause after a failed attempt to shorten the log."""

FAR_OVER = 2
"""If the log is this many times too long, it is emptied with a lock: overlapping readers can keep it from
restarting."""

EMPTYING_WAIT_MS = 200
"""How long this may block writers."""


class WriteAheadLog:
    """The log of one connection. Do not use it within a transaction."""

    def __init__(self, db: sqlite3.Connection, database: str) -> None:
        """Take over checkpoints from SQLite. Raises sqlite3.Error."""
        self._db = db
        self._database = database
        self._not_before = 0.0
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")

    def keep_short(self, size: int) -> None:
        """Copy a log of `size` bytes into the file if it is too long and nobody else is writing.

        If that fails now, a later commit tries again. Raises sqlite3.Error, with the log unchanged.
        """
        if size <= LOG_BYTES:
            self._not_before = 0.0
            return
        if time.monotonic() < self._not_before:
            return
        whole = self.copy()
        self._not_before = time.monotonic() + RETRY_S
        if whole and size > FAR_OVER * LOG_BYTES:
            self._empty()

    def copy(self) -> bool:
        """Copy the log while holding the write lock. Return whether all of it was copied.

        It uses a second connection, because a connection cannot copy within a transaction.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            with closing(sqlite3.connect(self._database, timeout=0, isolation_level=None)) as other:
                other.execute("PRAGMA synchronous = FULL")
                other.execute("PRAGMA fullfsync = ON")
                end = time.monotonic() + READERS_WAIT_S
                while not (whole := _copied_all(other)) and time.monotonic() < end:
                    time.sleep(READERS_WAIT_S / 10)
        finally:
            self._db.execute("ROLLBACK")
        return whole

    def _empty(self) -> None:
        """Wait a moment for readers of the log, and truncate it."""
        self._db.execute(f"PRAGMA busy_timeout = {EMPTYING_WAIT_MS}")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._db.execute("PRAGMA busy_timeout = 0")


def _copied_all(db: sqlite3.Connection) -> bool:
    """Copy as much of the log as possible. Return whether it was all."""
    busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and frames == copied
