"""A copy of the file as of one instant, made while other processes use it.

The copy is read in one read transaction. In WAL mode it does not block writers, and a commit of another
process does not restart it, as it would restart SQLite's own backup. Meanwhile the log grows, because it
cannot be reset before the copy is made.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.engine import disk
from hitl_cli.engine.errors import AlreadyThere, BackupFailed
from hitl_cli.engine.store import explain, opened_as_it_is

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_PAGES = 2_560
"""Pages copied between two calls of `progress`: 10 MB."""

SPARE_BYTES = 16 * 1024 * 1024
"""Free space that must remain on the disk, because others may be writing to it."""

TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name"

type Progress = Callable[[int, int], None]
"""Called with the bytes copied so far, and the total."""


class Backup(Struct, frozen=True):
    """A checked copy: its size in bytes, and the number of rows of each table."""

    path: Path
    size: int
    rows: dict[str, int]


def back_up(source: Path, target: Path, *, replace: bool, progress: Progress) -> Backup:
    """Copy the database to a temporary file, check the copy, and only then give it its name.

    On return the copy is on disk, readable by its owner alone, and needs no other file beside it. Raises
    FileUnusable (the source), AlreadyThere, BackupFailed.
    """
    _check_target(source, target, replace=replace)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with opened_as_it_is(source) as db:
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
            _copy(db, part, progress)
            rows = _counted(db)
            db.execute("COMMIT")
            _verify(part, rows)
            disk.sync(part)
            _give_name(part, target, replace=replace)
            disk.sync(target.parent)
        except sqlite3.Error as error:
            raise BackupFailed(explain(error, part)) from error
        except OSError as error:
            raise BackupFailed(f"{target} cannot be written: {error.strerror}.") from error
        finally:
            for leftover in (part, part.with_name(part.name + "-journal")):
                leftover.unlink(missing_ok=True)
    return Backup(target, target.stat().st_size, rows)


def _check_target(source: Path, target: Path, *, replace: bool) -> None:
    """Check that the target may be written. Raises AlreadyThere, BackupFailed."""
    if target.is_dir():
        raise BackupFailed(f"{target} is a folder: name a file in it.")
    taken = [source.with_name(source.name + end) for end in ("", "-wal", "-shm", "-journal")]
    if target.resolve() in [path.resolve() for path in taken] or (
        target.exists() and source.exists() and target.samefile(source)
    ):
        raise BackupFailed(f"{target} is the database itself: name another file.")
    if target.exists() and not replace:
        raise AlreadyThere(f"{target} exists already.")
    if target.with_name(target.name + "-wal").exists():
        raise BackupFailed(
            f"{target} is a database in use ({target.name}-wal is beside it): name another file."
        )


def _copy(db: sqlite3.Connection, part: Path, progress: Progress) -> None:
    """Copy the content of the database at this moment; the connection stays in its read transaction."""
    db.execute("BEGIN")
    pages, page_size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    free = shutil.disk_usage(part.parent).free
    if free < pages * page_size + SPARE_BYTES:
        raise BackupFailed(
            f"the disk that holds {part.parent} has {free:,} bytes left, and the copy takes"
            f" {pages * page_size:,}."
        )
    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        target.execute("PRAGMA journal_mode = OFF")  # a failed copy is deleted
        target.execute("PRAGMA synchronous = OFF")
        db.backup(
            target,
            pages=STEP_PAGES,
            progress=lambda _, left, count: progress((count - left) * page_size, count * page_size),
        )
        # otherwise reading the copy would create a log beside it
        target.execute("PRAGMA journal_mode = DELETE")


def _verify(part: Path, rows: dict[str, int]) -> None:
    """Raise BackupFailed unless the copy is intact and has these rows."""
    with closing(sqlite3.connect(part, isolation_level=None)) as db:
        db.execute("PRAGMA query_only = ON")
        found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise BackupFailed(f"the database is damaged, and so is its copy, which was deleted: {found}.")
        if _counted(db) != rows:
            raise BackupFailed("the copy lacks rows of the database, and was deleted.")


def _counted(db: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    tables = db.execute(TABLES).fetchall()
    return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in tables}


def _give_name(part: Path, target: Path, *, replace: bool) -> None:
    """Rename the finished copy, in one step. Raises AlreadyThere."""
    if not replace:
        try:
            target.hardlink_to(part)
        except FileExistsError as error:
            raise AlreadyThere(f"{target} exists already.") from error
        except OSError:  # a file system without hard links
            if target.exists():
                raise AlreadyThere(f"{target} exists already.") from None
        else:
            return
    part.replace(target)
