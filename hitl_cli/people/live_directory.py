"""The people of a settings file, kept up to date in a long-running process."""

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

type Stamp = tuple[int, int, int]


class LiveDirectory:
    """Reads a settings file again when it has changed. Asking for it costs one `stat`.

    If the file cannot be read, that is logged once, and the last people that could be read stay in use.
    """

    def __init__(
        self,
        file: Path,
        read: Callable[[], Directory],
        gateway: str | None = None,
        changed: Callable[[Directory], None] | None = None,
    ) -> None:
        """Read the file. `gateway` overrides its URL. Raises BadInput.

        After a change, `changed` is called with the new people, in a thread of its own.
        """
        self._file = file
        self._read = read
        self._gateway = gateway
        self._changed = changed
        stamp = stamp_of(file)
        self._known = self._in_file()
        self._stamp = (stamp, *map(stamp_of, self._known.files))

    def __call__(self) -> Directory:
        """Return the people that the file has now."""
        stamp = (stamp_of(self._file), *map(stamp_of, self._known.files))
        if stamp[0] is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._known = self._in_file()
                self._stamp = (stamp[0], *map(stamp_of, self._known.files))
            except BadInput as error:
                logger.error("%s The previous people stay in use until this is fixed.", logged(error))  # noqa: TRY400
            else:
                if self._changed is not None:
                    Thread(target=self._changed, args=(self._known,), daemon=True).start()
        return self._known

    def reached_at(self, gateway: str) -> LiveDirectory:
        """Return the same, with another gateway URL."""
        return LiveDirectory(self._file, self._read, gateway, self._changed)

    def _in_file(self) -> Directory:
        found = self._read()
        return found if self._gateway is None else msgspec.structs.replace(found, gateway=self._gateway)


def stamp_of(file: Path) -> Stamp | None:
    """Return a stamp that differs once the file has changed; None if there is no file."""
    try:
        found = os.stat(file)  # noqa: PTH116 - called for each request
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
