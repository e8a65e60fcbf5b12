"""A trace: what was asked and answered, in the order of the commits, from all processes of a file.

The format is that of the specification's valid/README.md, so that its checkers can judge a trace.
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
    """A request's data and the whole answer to it. `now` is ms since the epoch."""

    kind: str
    now: int
    req: Raw
    res: Raw


_encode = msgspec.json.Encoder().encode


class Trace:
    """Appends to the file at `path`, which every process that has the database open may do."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def append(self, tx: Transaction, seen: Sequence[Observation]) -> None:
        """Append what a transaction answered, just before it commits. Raises StorageFailed.

        The write lock is held, so the order is that of the commits. The database remembers the length:
        what a process wrote and then could not commit is cut off by the next that writes.
        """
        if not seen:
            return
        # What was asked may have line breaks between its parts.
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
