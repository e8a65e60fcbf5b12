"""The people of a settings file as it is now, for a process that runs for long."""

from __future__ import annotations

import logging
import os
from threading import Thread
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.errors import BadInput, logged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hitl_cli.people.contacts import Directory

logger = logging.getLogger(__name__)

type _Stamp = tuple[int, int, int]


class LiveDirectory:
    """Reads a settings file again when it has changed. To ask costs one `stat`, and no thread waits for it.

    What cannot be read, or is gone, is logged once; until it can, what was read last holds.
    """

    def __init__(
        self,
        file: Path,
        read: Callable[[], Directory],
        gateway: str | None = None,
        changed: Callable[[Directory], None] | None = None,
    ) -> None:
        """Read it. `gateway` holds instead of what the file says. Raises BadInput.

        `changed` is called, in a thread of its own, with what is read after a change.
        """
        self._file = file
        self._read = read
        self._gateway = gateway
        self._changed = changed
        self._stamp = _stamp_of(file)
        self._known = self._in_file()

    def __call__(self) -> Directory:
        """Return the people whom the file has now."""
        stamp = _stamp_of(self._file)
        if stamp not in (None, self._stamp):
            self._stamp = stamp
            try:
                self._known = self._in_file()
            except BadInput as error:
                logger.error("%s Until then the people that were read last are used.", logged(error))  # noqa: TRY400
            else:
                if self._changed is not None:
                    Thread(target=self._changed, args=(self._known,), daemon=True).start()
        return self._known

    def reached_at(self, gateway: str) -> LiveDirectory:
        """Return the same, with the URL of another gateway."""
        return LiveDirectory(self._file, self._read, gateway, self._changed)

    def _in_file(self) -> Directory:
        found = self._read()
        return found if self._gateway is None else msgspec.structs.replace(found, gateway=self._gateway)


def _stamp_of(file: Path) -> _Stamp | None:
    """Return what is another one once a file has changed; None where there is none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - asked for each request
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
