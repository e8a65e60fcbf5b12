"""Bells: with them a process learns within milliseconds that another one has committed something for it.

The folder `x.db-bells` is next to the file `x.db`. A waiting process binds a Unix datagram socket in it,
named after what it waits for. A process that commits sends one byte to the sockets concerned. Nothing
depends on bells: a ring can be lost, and there is no bell if the path is too long or the folder is
read-only. Each process also reads the file every `POLL_S`.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

POLL_S = 0.5
"""How long a lost ring can go unnoticed, in seconds."""

QUIET_POLL_S = 0.02
"""The same if there is no bell."""

WATCHERS = ""
"""The group of processes that only watch for changes and take no messages."""

PUSHERS = "http:"
"""The group of processes that post messages to http(s):// addresses."""

STILL_NS = 1_000_000_000
"""How long a folder must be unchanged before its listing is cached. A folder's modification time has a
resolution of some milliseconds, so two changes in a row can look like one."""

SOCKET_PATH_MAX = 100
"""Bytes that every system allows in a socket's address (Linux 107, macOS 103)."""


def bells_folder(database: Path) -> Path:
    """Return the folder of the bells of a database."""
    return database.with_name(database.name + "-bells")


class Bell:
    """A socket that other processes ring. Wait on `fileno()`, then clear it with `answer()`."""

    def __init__(self, database: Path, group: str, name: str) -> None:
        """Hang a bell for a `group` (WATCHERS, or a worker group) under a unique `name`."""
        self.group = group
        self.name = name
        self.place = _quoted(group), _quoted(name)
        self._path = bells_folder(database) / "~".join(self.place)
        self._socket = _bind(self._path)
        self.left = False
        """Whether this is a forked process, and the bell its parent's: it is silent here, and stays there."""
        _known.add(self)

    def says(self, text: str) -> None:
        """Store a text next to the bell, for `Ringer.said`. Nothing depends on it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                _note_of(self._path).write_text(text, encoding="utf-8")

    @property
    def poll_s(self) -> float:
        """How long to wait for a ring before reading the file anyway, in seconds."""
        return QUIET_POLL_S if self._socket is None else POLL_S

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 without a socket."""
        return -1 if self._socket is None else self._socket.fileno()

    def wait(self, timeout_s: float) -> None:
        """Return after a ring, after `timeout_s`, or when the file must be read anyway."""
        wait_s = max(0.0, min(timeout_s, self.poll_s))
        if self._socket is None:
            time.sleep(wait_s)
            return
        ready = select.poll()  # unlike select, it knows any number of descriptors
        ready.register(self._socket, select.POLLIN)
        ready.poll(wait_s * 1_000)
        self.answer()

    def answer(self) -> None:
        """Clear the rings so far."""
        if self._socket is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._socket.recv(16)

    def leave(self) -> None:
        """Leave the bell to the parent of this process: of two that read a socket, one misses a ring."""
        self.left = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Remove the bell."""
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)
            _note_of(self._path).unlink(missing_ok=True)


_known: weakref.WeakSet[Bell] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for bell in list(_known):
        bell.leave()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Ringer:
    """Rings the bells of one database."""

    def __init__(self, database: Path) -> None:
        self._folder = bells_folder(database)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._listed_at = -1
        self._bells: list[tuple[str, str]] = []

    def ring(
        self,
        addresses: Iterable[str],
        *,
        watchers: bool,
        everyone: bool = False,
        but: Container[tuple[str, str]] = (),
    ) -> None:
        """Ring the bells of the addresses, of the watchers, or of all workers.

        `but` has the caller's own bells, which are not rung.
        """
        groups = {_bell_of(address) for address in addresses}
        if not (groups or watchers or everyone):
            return
        # The first process to wake gets the work, so ring in a different order each time.
        for group, name in sorted(self._list(), key=lambda _: os.urandom(4)):
            concerned = everyone or (group, "") in groups or (group, name) in groups
            if (watchers if group == WATCHERS else concerned) and (group, name) not in but:
                self._send(group, name)

    def hears(self, group: str) -> bool:
        """Return whether a live process takes messages for the group."""
        wanted = _quoted(group)
        return any(self._send(wanted, name) for other, name in list(self._list()) if other == wanted)

    def count(self, group: str) -> int:
        """Return the number of bells of the group. One of a killed process may be included."""
        return sum(1 for other, _ in self._list() if other == _quoted(group))

    def said(self) -> list[tuple[str, str | None]]:
        """Return the group of every worker, with the text next to its bell, if any."""
        found: list[tuple[str, str | None]] = []
        for group, name in list(self._list()):
            if group not in (WATCHERS, _quoted(PUSHERS)) and self._send(group, name):
                try:
                    text = _note_of(self._folder / f"{group}~{name}").read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError):
                    text = None
                found.append((unquote(group), text))
        return found

    def close(self) -> None:
        """Release the socket."""
        self._socket.close()

    def _list(self) -> list[tuple[str, str]]:
        """Return the group and name of every bell; the folder is read only if it has changed."""
        try:
            changed_at = self._folder.stat().st_mtime_ns
        except OSError:
            return []
        if changed_at != self._listed_at:
            still = time.time_ns() - changed_at > STILL_NS
            self._listed_at = changed_at if still else -1
            parts = [entry.partition("~") for entry in os.listdir(self._folder)]  # noqa: PTH208 - names only
            self._bells = [(group, name) for group, mark, name in parts if mark]
        return self._bells

    def _send(self, group: str, name: str) -> bool:
        """Ring one bell, or delete it if its process has ended. Return whether its process is alive."""
        path = self._folder / f"{group}~{name}"
        try:
            with _reachable(path) as address:
                self._socket.sendto(b"!", address)
        except BlockingIOError:
            return True  # its buffer is full of rings, so it will wake up
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            _note_of(path).unlink(missing_ok=True)
            return False
        except OSError:
            return False
        return True


def _bell_of(address: str) -> tuple[str, str]:
    """Return the group and name of an address's bell; the name is empty for any worker of the group."""
    if not address.startswith("poll://"):
        return _quoted(PUSHERS), ""
    kind, _, rest = address.removeprefix("poll://").partition("@")
    group, _, name = rest.partition("/")
    return _quoted(group), _quoted(name) if kind == "uni" else ""


def _note_of(bell: Path) -> Path:
    """Return the file of the text next to a bell; no bell has such a name."""
    return bell.with_name(bell.name.replace("~", "!"))


def _quoted(text: str) -> str:
    """Return the text as a part of a file name, without '~', which separates group and name."""
    return quote(text, safe="").replace("~", "%7E")


def _bind(path: Path) -> socket.socket | None:
    """Return a socket bound to the path; None if that is not possible."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(False)
    try:
        path.parent.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        path.unlink(missing_ok=True)
        with _reachable(path) as address:
            bell.bind(address)
    except OSError:
        bell.close()
        return None
    return bell


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Give a socket address for the path; for a long path through the descriptor of its folder."""
    if len(os.fsencode(path)) <= SOCKET_PATH_MAX or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
