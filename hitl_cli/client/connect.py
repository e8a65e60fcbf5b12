"""From a server's URL to a client: each URL scheme has a driver.

A URL is `sqlite:///path` (the embedded engine; `sqlite:////path` is absolute), `http(s)://host`,
`postgresql://host/database`, or has a scheme that a plugin adds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable
from urllib.parse import quote, urlsplit

from hitl_cli import plugins
from hitl_cli.errors import BadInput, BadServer, BadUsage, Unreachable

if TYPE_CHECKING:
    from collections.abc import Collection
    from urllib.parse import SplitResult

    from hitl_cli.client.protocol import Client
    from hitl_cli.engine.trace import Trace


_SHOWN_OPTIONS = ("host", "port", "dbname", "user")
"""Options of a URL that say which server it is."""

_FORMS = {"sqlite": "/path", "http": "host", "https": "host", "postgresql": "host/database"}
"""The URLs of hitl's own drivers: by scheme, what follows it."""

_HINTS = {
    "nats": "resonate-nats cannot list requests. Use sqlite:///path, http(s)://host or"
    " postgresql://host/database.",
    "mysql": "use the http(s)://host of the Resonate Server that stores its data there.",
    "resonate": "a Resonate Server has an address such as http://host:8001.",
}
"""Schemes that people expect to work: what to use instead."""


@runtime_checkable
class Driver(Protocol):
    """A kind of server: an object or a module with these functions. Each raises BadServer for a wrong URL.

    It is registered as an entry point of the group `hitl.servers`, named after the scheme of its URLs. To
    support workers it must also be a `WorkerDriver` (hitl_cli/sdk/worker_link.py).
    """

    def connect(self, url: str, token: str | None) -> Client:
        """Return a client for commands. Raises Unreachable."""

    def file(self, url: str) -> Path | None:
        """Return the database file that the URL names; None if the server is not a file."""

    def exists(self, url: str) -> bool:
        """Whether connecting would create nothing."""


def connect(url: str, token: str | None = None) -> Client:
    """Return a client for commands. Raises BadServer, Unreachable."""
    return driver_of(url).connect(url, token)


def connect_existing(url: str, token: str | None = None) -> Client:
    """Return a client as `connect` does, but do not create a missing file; for commands that read or decide.

    Raises BadServer, Unreachable.
    """
    driver = driver_of(url)
    if not driver.exists(url):
        where = driver.file(url) or url
        raise Unreachable(
            f"no database at {where}. To create it, start `hitl worker`; to use another one, pass --server.",
            code="file-unusable",
        )
    return driver.connect(url, token)


def check_takes(url: str, token: str | None) -> None:
    """Raise BadUsage if a token is given for a server that takes none. Raises BadServer."""
    if token is None or (driver_of(url).file(url) is None and split_url(url).scheme != "postgresql"):
        return
    what = "PostgreSQL" if split_url(url).scheme == "postgresql" else "a database file"
    raise BadUsage(f"{shown_url(url)} is {what}, which takes no token: leave it out, or name another server.")


def driver_of(url: str) -> Driver:
    """Return the driver for a URL. Raises BadServer if there is none."""
    scheme = split_url(url).scheme
    plugin = plugins.find("hitl.servers", scheme) if scheme else None
    driver = plugins.load(plugin, _is_driver) if plugin is not None else None
    if driver is None:
        raise BadServer(_unsupported(url, scheme))
    if named_trace() is not None and driver.file(url) is None:
        raise BadUsage(
            f"--trace records a database file, and {shown_url(url)} is a server: leave out --trace and"
            " HITL_TRACE."
        )
    return driver


def check_supported(url: str) -> None:
    """Raise BadServer for a URL that no driver supports."""
    scheme = split_url(url).scheme
    if scheme not in _FORMS and plugins.find("hitl.servers", scheme) is None:
        raise BadServer(_unsupported(url, scheme))


def _unsupported(url: str, scheme: str) -> str:
    """Return why there is no driver for a URL, and what to write instead. A password in it is not shown."""
    from difflib import get_close_matches

    forms = "use sqlite:///path, http(s)://host or postgresql://host/database."
    if "://" in url or scheme in _HINTS:
        near = get_close_matches(scheme, _FORMS, n=1)
        hint = _HINTS.get(scheme) or (f"did you mean {near[0]}://{_FORMS[near[0]]}?" if near else forms)
        return f"{scheme}:// is not a supported server: {hint}"
    if "@" in url:
        return f"the address of the server has no scheme such as http://: {forms}"
    if "/" in url or url.endswith((".db", ".sqlite")):
        return f"{url!r} is not the address of a server: for a file, use sqlite:///{url}."
    return f"{url!r} is not the address of a server: did you mean http://{url}?"


def _is_driver(found: object) -> TypeGuard[Driver]:
    return isinstance(found, Driver)


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL. Raises BadServer."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadServer(f"{shown_url(url)!r} is not a URL: {error}.") from error


def shown_url(url: str, options: Collection[str] = _SHOWN_OPTIONS) -> str:
    """Return a URL for people and logs: without a password, and with no other options than these."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "sqlite":
        return url
    path, _, query = rest.partition("?")
    authority, slash, path = path.partition("#")[0].partition("/")
    who, at, host = authority.rpartition("@")
    if "@" in (path if at else rest) or "@" in who:  # the rest of a password that has such characters
        return f"{scheme}://…"
    named = "&".join(each for each in query.split("&") if each.partition("=")[0] in options)
    return f"{scheme}://{who.partition(':')[0]}{at}{host}{slash}{path}{'?' if named else ''}{named}"


def absolute(path: str) -> Path:
    """Return the absolute path of a file; `~` is the home folder. Raises BadInput if there is none."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise BadInput(
            f"{path} needs a home folder, and this user has none: set HOME, or give an absolute path."
        ) from error


def file_url(path: Path) -> str:
    """Return the URL of a file, with special characters quoted."""
    return f"sqlite:///{quote(str(path))}"


def named_trace() -> Trace | None:
    """Return the trace file that HITL_TRACE names; None if it is not set."""
    path = os.environ.get("HITL_TRACE")
    if not path:
        return None
    from hitl_cli.engine.trace import Trace

    return Trace(Path(path))
