"""The write-ahead log of the file: kept short, without the dangers of SQLite's own automatic way.

SQLite copies the log into the file ("checkpoint") after a commit, while others go on writing. Then a
log that is written to without a pause never begins anew; and SQLite before 3.51.3 can, very rarely,
lose what a writer puts into a log that begins anew in that moment (sqlite.org/wal.html, "the WAL-reset
bug"). Here the log is copied while nobody else writes: all of it, and the next commit begins it anew.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

LOG_BYTES = 16 * 1024 * 1024
"""Size from which the log is copied into the file: a few thousand decisions, or 30 ms of copying.
It keeps that size when it begins anew, because to overwrite a file is quicker than to extend it."""

READERS_WAIT_S = 0.05
"""How long the copying waits for readers of older states. They take milliseconds; one that takes
longer than this is not waited for, and the log grows until it has ended."""

RETRY_S = 1.0
"""How long to leave a log alone that could not be made short."""

FAR_OVER = 2
"""So many times too long, the log is also emptied by force: readers that take turns without a gap
keep it from beginning anew."""

EMPTYING_WAIT_MS = 200
"""How long that may hold up the writers."""


class WriteAheadLog:
    """The log behind one connection. Not for use within a transaction."""

    def __init__(self, db: sqlite3.Connection, database: str) -> None:
        """Take the care for the log over from SQLite. Raises sqlite3.Error."""
        self._db = db
        self._database = database
        self._not_before = 0.0
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")

    def keep_short(self, size: int) -> None:
        """Copy a log of `size` bytes into the file if it is too long, unless somebody else is writing.

        Whatever hinders it now will have gone at a later commit. Raises sqlite3.Error, and then
        nothing is lost: the log is as it was.
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
        """Copy the log while holding the lock for writing. Return whether all of it was copied.

        A second connection copies, because one that is in a transaction cannot.
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
        """Wait a moment for those who read from the log, and cut it to nothing."""
        self._db.execute(f"PRAGMA busy_timeout = {EMPTYING_WAIT_MS}")
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self._db.execute("PRAGMA busy_timeout = 0")


def _copied_all(db: sqlite3.Connection) -> bool:
    """Copy what can be copied of the log, and return whether that was the rest of it."""
    busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return not busy and frames == copied
