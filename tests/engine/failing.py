"""A connection to the file on which a statement fails, or after which nothing is done any more."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.engine.store import Store


class Killed(BaseException):
    """The process is no more: nothing it would do next is done."""


class Failing:
    """A connection whose n-th statement fails.

    `how` is "a bug" or "the disk", and all goes on after that statement; or "killed", and nothing is done
    from there on; or "killed after": nothing is done after the next commit.
    """

    def __init__(self, db: sqlite3.Connection, at: int, how: str) -> None:
        self._db = db
        self._left = at
        self._how = how
        self.failed = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if self.failed and self._how.startswith("killed"):
            raise Killed
        self._left -= 1
        if self._how == "killed after" and sql == "COMMIT":
            self._db.execute(sql)
            self.failed = True
        elif self._how != "killed after" and self._left == 0:
            self.failed = True
        else:
            return self._db.execute(sql, values)
        raise self._error()

    def _error(self) -> BaseException:
        match self._how:
            case "a bug":
                return RuntimeError("a bug")
            case "the disk":
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                return error
            case _:
                return Killed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@contextmanager
def failing(store: Store, at: int, how: str) -> Iterator[Failing]:
    """Have the n-th statement from now fail."""
    real = store._db
    broken = Failing(real, at, how)
    store._db = broken  # type: ignore[assignment]
    try:
        yield broken
    finally:
        store._db = real
