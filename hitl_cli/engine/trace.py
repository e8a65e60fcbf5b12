"""A trace: the requests and responses of all processes of a file, in the order of the commits.

The format is that of the specification's valid/README.md, so that its checkers can read it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw, Struct

from hitl_cli.engine.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hitl_cli.engine.store import Transaction


class Observation(Struct, frozen=True):
    """A request's data and its whole response. `now` is in ms since the epoch."""

    kind: str
    now: int
    req: Raw
    res: Raw


_encode = msgspec.json.Encoder().encode


class Trace:
    """Appends to the file at `path`, together with the other processes that have the database open."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def append(self, tx: Transaction, seen: Sequence[Observation]) -> None:
        """Append the responses of a transaction, just before it commits. Raises StorageFailed.

        The write lock is held, so the order is that of the commits. The database stores the trace's length:
        lines of a transaction that failed to commit are cut off by the next writer.
        """
        if not seen:
            return
        # Requests may have line breaks between their parts.
        lines = b"".join(msgspec.json.format(_encode(one), indent=-1) + b"\n" for one in seen)
        try:
            opened = os.open(self._path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
            with open(opened, "r+b") as file:  # noqa: PTH123 - a descriptor
                known = tx.rows("SELECT length FROM traces WHERE path = ?", str(self._path))
                end = min([os.fstat(opened).st_size, *(length for (length,) in known)])
                file.truncate(end)
                file.seek(end)
                file.write(lines)
        except OSError as error:
            raise StorageFailed(f"the trace {self._path} cannot be written: {error.strerror}.") from error
        tx.change("INSERT OR REPLACE INTO traces VALUES (?, ?)", (str(self._path), end + len(lines)))
