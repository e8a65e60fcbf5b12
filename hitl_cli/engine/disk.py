"""What SQLite does not do itself: sync the folders of a new file, and detect that a file was replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from hitl_cli.engine.errors import FileMoved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
"""The sync that macOS needs: fsync() there does not reach the disk."""


PART_BYTES = 1024 * 1024
"""How much of the log is written again at once."""


def log_of(database: Path) -> Path:
    """Return the path of the file's write-ahead log."""
    return database.with_name(database.name + "-wal")


def index_of(database: Path) -> Path:
    """Return the path of the log's index, which processes share."""
    return database.with_name(database.name + "-shm")


def open_up(database: Path) -> None:
    """Make the log and its index as writable as the file: a process may have created them read-only."""
    for path in (log_of(database), index_of(database)):
        if path.exists() and not os.access(path, os.W_OK) and os.access(database, os.W_OK):
            # It belongs to another user, or the last process to use it has removed it meanwhile.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                path.chmod(stat.S_IMODE(database.stat().st_mode))


def sync_folders(database: Path) -> None:
    """Sync the folders above a new file, so that the file still exists after a power failure."""
    for folder in database.absolute().parents:
        with contextlib.suppress(PermissionError):  # then the folder is not a new one
            sync(folder)


def sync(path: Path) -> None:
    """Make sure that a file or a folder is on disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        if FULL_SYNC is None:
            os.fsync(file)
        else:
            fcntl.fcntl(file, FULL_SYNC)
    finally:
        os.close(file)


class LogFile:
    """The write-ahead log of an open database, to sync it."""

    def __init__(self, database: Path) -> None:
        """Open it, and hold a lock on it that `log_in_use` detects. Raises OSError."""
        path = log_of(database)
        try:
            self._file: FileIO = path.open("r+b", buffering=0)
        except PermissionError:  # the file is read-only
            self._file = path.open("rb", buffering=0)
        with contextlib.suppress(OSError):  # a file system without such locks
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def sync(self) -> None:
        """Make sure that what any process has written to the log so far is on disk. Raises OSError."""
        if FULL_SYNC is None:
            os.fdatasync(self._file.fileno())
        else:
            fcntl.fcntl(self._file, FULL_SYNC)

    def write_again(self) -> None:
        """Rewrite the content of the log in place. Raises OSError."""
        at = 0
        while part := os.pread(self._file.fileno(), PART_BYTES, at):
            at += os.pwrite(self._file.fileno(), part, at)

    def status(self) -> os.stat_result:
        """Return its status, also after it was removed. Raises OSError."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """Close it."""
        self._file.close()


def log_in_use(database: Path) -> bool:
    """Whether a connection of any process or thread has the log open (`LogFile`)."""
    try:
        with log_of(database).open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file's folder, which does not affect locks of the file.

    Raises OSError.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


class Place:
    """The identity of an open file, its log and its index, to notice when they are moved or replaced."""

    def __init__(self, database: Path) -> None:
        """Remember the files that are open now. Raises FileMoved."""
        self._file = str(database)
        self._log = str(log_of(database))
        self._index = str(index_of(database))
        self._known = tuple(_identity(look(path)) for path in (self._file, self._log, self._index))
        if None in self._known:
            raise self.moved()

    @property
    def file(self) -> tuple[int, int] | None:
        """The identity of the file."""
        return self._known[0]

    def check(self) -> None:
        """Raise FileMoved if the log or its index was replaced. Called before each transaction."""
        if (_identity(look(self._log)), _identity(look(self._index))) != self._known[1:]:
            self.log_bytes()

    def log_bytes(self) -> int:
        """Return the size of the log. Raises FileMoved if it or the file is not the one that is open."""
        file, log = look(self._file), look(self._log)
        if (_identity(file), _identity(log), _identity(look(self._index))) == self._known:
            return 0 if log is None else log.st_size
        if file is None:
            message = f"{self._file} was removed while it was in use. Put it back, or restart."
            raise FileMoved(message, another=False)
        if _identity(file) == self.file:
            raise self.moved()
        if log is not None and _identity(log) == self._known[1]:
            message = (
                f"{self._file} was replaced while it was in use, and {self._log} belongs to the former file."
                f" Stop the processes that use it, then remove {self._log} and the file that ends in -shm."
            )
            raise FileMoved(message, another=False)
        raise FileMoved(
            f"{self._file} was replaced by another file while it was in use. Try again.", another=True
        )

    def moved(self) -> FileMoved:
        """Return the error that the log was removed."""
        return FileMoved(f"{self._log} was removed while it was in use. Try again.", another=True)

    def is_left(self) -> bool:
        """Whether the file at the path is another one, or has another log."""
        try:
            self.log_bytes()
        except FileMoved:
            return True
        return False

    def may_copy(self, log: LogFile) -> bool:
        """Whether the log was removed, and copying the open one into the file overwrites nothing newer.

        Connections that share its index take turns. Without the index, the file must not have changed since
        the log was removed: otherwise another process has opened it with a new log.
        """
        file, at_path = look(self._file), look(self._log)
        if _identity(file) != self.file or file is None:
            return True  # nobody else has it at its path
        if at_path is not None:
            return False
        if _identity(look(self._index)) == self._known[2]:
            return True
        return file.st_mtime_ns <= log.status().st_ctime_ns


def look(path: str | Path) -> os.stat_result | None:
    """Return the status of the file at a path; None if there is none."""
    try:
        return os.stat(path)  # noqa: PTH116 - after every commit, and a Path takes three times as long
    except OSError:
        return None


def identity(path: Path) -> tuple[int, int] | None:
    """Return a value that identifies the file at a path; None if there is none."""
    return _identity(look(path))


def _identity(found: os.stat_result | None) -> tuple[int, int] | None:
    """Return a value that identifies a file; None if there is none."""
    return None if found is None else (found.st_dev, found.st_ino)
