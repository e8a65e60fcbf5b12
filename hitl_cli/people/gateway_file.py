"""Announces a running gateway on this machine to commands that use the same server.

The gateway locks a file while it serves: next to the database, or in the user's data folder for other
servers. The file has the gateway's URL. A killed gateway has lost the lock, so its file is ignored; the next
gateway that announces itself in the same folder removes it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

PLACE = r"https?://[^/?#@]+(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?"
"""The URL of a gateway. Its path consists of characters that no proxy rewrites."""

PAGE = r"/(?:history|stats|sign-in|runs(?:/[^/]+)?|[rl]/[^/]+)/?"
"""The end of the URL of a page, which people copy from their browser."""

SUFFIX = ".gateway"
"""The end of the name of each such file."""

LONGEST = 4_096
"""Largest file, in bytes."""

LOCK_S = 0.5
"""How long to try to get the lock: readers hold it for microseconds, another gateway as long as it runs."""


class _Announced(Struct, frozen=True, kw_only=True):
    """The URL of a gateway, and the machine that its loopback addresses belong to."""

    url: str
    machine: str


@contextmanager
def announced(path: Path | None, url: str) -> Iterator[None]:
    """Announce a gateway's URL within a block, unless another gateway is already announced."""
    file = None if path is None else _locked(path)
    if path is None or file is None:
        yield
        return
    try:
        _remove_abandoned(path)
        os.ftruncate(file, 0)
        os.write(file, msgspec.json.encode(_Announced(url=url, machine=_machine())))
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def running(path: Path) -> str | None:
    """Return the URL of the gateway announced in a file; None if it does not run, or not for this machine."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # no gateway holds the lock
        said = msgspec.json.decode(os.read(file, LONGEST), type=inspected(_Announced))
    except (OSError, msgspec.DecodeError, UnicodeError):
        return None  # a file system without locks, or a file that is being written
    finally:
        os.close(file)
    from hitl_cli.engine.http.hosts import is_loopback

    here = not is_loopback(urlsplit(said.url).hostname or "") or said.machine == _machine()
    return said.url if here and is_place(said.url) else None


def is_place(url: str) -> bool:
    """Whether a text can be the URL of a gateway."""
    import re

    return url.isprintable() and re.fullmatch(PLACE, url) is not None


def without_page(url: str) -> str | None:
    """Return the URL of the gateway that has a page (its URL); None if the URL is not of a page."""
    import re

    found = re.search(f"{PAGE}$", url)
    return None if found is None else url[: found.start()]


def page_of(gateway: str, request: str) -> str:
    """Return the URL of a request's page (by its id) on a gateway (its URL)."""
    return f"{gateway}/r/{quote(request, safe='')}"


def run_page(gateway: str, run: str) -> str:
    """Return the URL of a run's page (by its id) on a gateway (its URL)."""
    return f"{gateway}/runs/{quote(run, safe='')}"


def unblock_link(gateway: str, request: str) -> str:
    """Return the link of Resonate's example: opening it approves, if no sign-in is needed."""
    return f"{gateway}/unblock-workflow?promise_id={quote(request, safe='')}"


def _locked(path: Path) -> int | None:
    """Return the file, open and locked; None if another gateway holds it or it cannot be locked."""
    until = time.monotonic() + LOCK_S
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
                    return file  # still the file at this path, not one that was removed meanwhile
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(file)
                    return None
                time.sleep(LOCK_S / 50)
            os.close(file)
    except OSError as error:
        logger.info("gateway not announced in %s, commands need --url to find it: %s", path, error.strerror)
        return None


def _remove_abandoned(own: Path) -> None:
    """Remove the files of killed gateways: the unlocked ones in this gateway's folder."""
    for path in own.parent.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # another gateway has it locked, or is removing it
            if path != own:
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file that a gateway has left. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino != os.fstat(file).st_ino:
            return
        said = os.read(file, LONGEST)
        if said:
            msgspec.json.decode(said, type=inspected(_Announced))
        os.ftruncate(file, 0)  # a reader in between sees no gateway in it
        path.unlink()
    except (msgspec.DecodeError, UnicodeError):
        return  # it is not a gateway's
    finally:
        os.close(file)


def _machine() -> str:
    """Return an id that processes share if they share loopback addresses; a reboot changes it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/net').readlink()}"
    except OSError:
        import platform

        return platform.node()
