"""From a server's URL to what speaks to it: a client for people's commands, connections for workers.

A URL is `sqlite:///path` (the embedded engine; `sqlite:////path` is absolute) or `http(s)://host`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine.trace import Trace
from hitl_cli.errors import BadServer

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client


def connect(url: str, token: str | None = None) -> Client:
    """Return a client for people's commands. Raises BadInput, Unreachable."""
    if is_http(url):
        from hitl_cli.client.http import HttpClient

        return HttpClient(url, token)
    return EmbeddedClient(database_path(url), trace=named_trace())


def named_trace() -> Trace | None:
    """Return the trace that HITL_TRACE names, if it is set: of every file that this process opens."""
    path = os.environ.get("HITL_TRACE")
    return Trace(Path(path)) if path else None


def file_url(path: Path) -> str:
    """Return the URL that names a file, whatever characters its path has."""
    return f"sqlite:///{quote(str(path))}"


def _split(url: str) -> SplitResult:
    """Return the parts of a URL. Raises BadInput."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadServer(f"{url!r} is not a URL: {error}.") from error


def is_http(url: str) -> bool:
    """Whether the URL is of a server over HTTP. Raises BadInput for one that names no host."""
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        return False
    if not parts.hostname:
        raise BadServer(f"{url!r} names no host: write http://host or http://host:port.")
    return True


def database_path(url: str) -> Path:
    """Return the file that a `sqlite:///` URL names. Raises BadInput for any other URL."""
    parts = _split(url)
    if parts.scheme != "sqlite":
        kind = f"{parts.scheme}://" if parts.scheme else repr(url)
        raise BadServer(f"{kind} is not a kind of server hitl knows: use sqlite:///path or http(s)://host.")
    path = unquote(parts.path.removeprefix("/"))
    if parts.query or parts.fragment:
        raise BadServer(f"{url!r} has a '?' or a '#' in it: write them as %3F and %23.")
    if parts.netloc or not path or "\0" in path:
        raise BadServer(f"{url!r} names no file: write sqlite:///relative/path or sqlite:////absolute/path.")
    return Path(path).expanduser().absolute()
