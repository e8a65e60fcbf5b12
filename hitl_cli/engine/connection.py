"""How a connection to the file ends without harm to other processes, other threads, or a forked child.

SQLite's last connection to a file removes the log. Which one is the last, it learns from POSIX locks, and a
process loses those as soon as it closes any descriptor of the file: a program that uses hitl and also reads
`hitl.db` itself no longer has a lock. So `disk.LogFile` holds a lock on the log that is not lost this way. A
connection that ends while another one holds that lock does not remove the log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hitl_cli.engine import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Connection:
    """One connection of this process to a file. One thread at a time uses it."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        """Take over a connection that has the log open. If it raises FileMoved or OSError, it is closed."""
        self._db = db
        self._path = path
        try:
            self.place = disk.Place(path)
            self.log_file = disk.LogFile(path)
        except BaseException:
            _close_only(db)
            raise
        self.lock = threading.RLock()
        """Held while the connection is used, so that no other thread closes it."""
        self._closed = False
        self.left = False
        """Whether it was closed because the file is no longer at its path, or because the process forked."""
        with _known_lock:
            _known.add(self)

    def check(self) -> None:
        """Raise FileMoved if `leave` was called, or its log is gone. The caller holds its lock."""
        if self.left:
            raise self.place.moved()
        self.place.check()

    def close(self) -> None:
        """Close it, and remove the log if nobody else has it open."""
        with self.lock:
            if self._closed:
                return
            if self.left:
                self._let_go()
                return
            if self.place.is_left():
                self.leave_alone()
                return
            self._closed = True
            self.log_file.close()
            close_beside_others(self._db, self._path)

    def leave(self) -> None:
        """Close a file that is no longer at its path, or has lost its log: all connections of this process.

        While one of them is open, SQLite gives a new connection the index of the removed log.
        """
        with _known_lock:
            same = [one for one in _known if one.place.file == self.place.file]
        for one in same:
            one.leave_alone()

    def leave_alone(self) -> None:
        """Close this connection, after copying into the file what only its removed log still has."""
        with self.lock:
            if self._closed:
                return
            if not self.left and self.place.may_copy(self.log_file):
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._let_go()

    def _let_go(self) -> None:
        """Close it without touching the log at its path."""
        self._closed = self.left = True
        self.log_file.close()
        _close_only(self._db)

    def forked(self, *, used: bool) -> None:
        """Mark it in a forked process, which must open the file again: the locks are the parent's."""
        if self._closed:
            return
        if used or self._db.in_transaction:
            self._closed = True
            _leaked.append(self._db)  # while it is in use, even closing it is unsafe
        self.lock = threading.RLock()  # the former lock may be held by a thread that the fork did not copy
        self.left = True


def close_inherited(path: Path) -> None:
    """Close a forked process's connections of its parent, before it opens the file.

    While one of them is open, SQLite takes no lock for a new connection.
    """
    file = disk.identity(path)
    with _known_lock:
        inherited = [one for one in _known if one.left and one.place.file == file]
    for one in inherited:
        one.close()


def close_beside_others(db: sqlite3.Connection, path: Path) -> None:
    """Close a connection to the file; remove the log only if nobody else has it open."""
    if disk.log_in_use(path):
        _close_only(db)
    else:
        db.close()


def _close_only(db: sqlite3.Connection) -> None:
    """Close a connection without copying or removing the log."""
    db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
    db.close()


# A fork copies the locks of SQLite that other threads hold, and nothing unlocks them in the child

FORK_WAIT_S = 5.0
"""How long a fork waits until other threads do not use the file. A transaction takes milliseconds."""

_known: weakref.WeakSet[Connection] = weakref.WeakSet()
_opening: set[threading.RLock] = set()
_known_lock = threading.Lock()
_fork_lock = threading.Lock()
_waited_for: list[threading.RLock] = []
_leaked: list[sqlite3.Connection] = []


@contextmanager
def opening() -> Iterator[None]:
    """Delay a fork in another thread until a connection is open."""
    lock = threading.RLock()
    with lock:
        with _known_lock:
            _opening.add(lock)
        try:
            yield
        finally:
            with _known_lock:
                _opening.remove(lock)


def _before_fork() -> None:
    """Take the locks of all connections in use, and keep other threads from opening one."""
    _fork_lock.acquire()
    end = time.monotonic() + FORK_WAIT_S
    tried: set[threading.RLock] = set()
    _known_lock.acquire()
    while new := {*_opening, *(one.lock for one in _known)} - tried:
        _known_lock.release()  # a thread that opens or leaves a connection needs it to finish
        try:
            _waited_for.extend(lock for lock in new if lock.acquire(timeout=max(end - time.monotonic(), 0)))
            tried |= new
        finally:
            _known_lock.acquire()


def _after_fork() -> None:
    for lock in _waited_for:
        lock.release()
    _waited_for.clear()
    _known_lock.release()
    _fork_lock.release()


def _after_fork_in_child() -> None:
    used = {one for one in _known if one.lock not in _waited_for}
    _after_fork()
    _opening.clear()
    for one in list(_known):
        one.forked(used=one in used)  # without SQLite, which the child may never use


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
