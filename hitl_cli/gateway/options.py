"""The options of a gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.engine.http.hosts import is_loopback
from hitl_cli.metrics.options import MetricsOptions
from hitl_cli.people.contacts import Directory

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound here
"""Addresses to listen on all interfaces; clients cannot connect to them."""


class Options(Struct, frozen=True, kw_only=True):
    """The options of a gateway.

    `url` is its public URL, without a slash at the end. `person` acts where no sign-in is needed, which is
    only on this machine. `group` and `workflow` are the defaults for runs to start. `announced_in` is a file
    with its URL for other commands on this machine. `mcp` serves /mcp. `access_log` logs each HTTP request.
    `metrics` is where to serve them. `undo` lets people undo a decision on a page for some seconds.
    `example_routes` serves the example routes to other machines too.
    """

    server: str
    keys: Path
    announced_in: Path | None = None
    person: str
    host: str = "127.0.0.1"
    port: int = defaults.GATEWAY_PORT
    url: str = "http://127.0.0.1:5001"
    token: str | None = None
    directory: Directory = Directory()
    group: str = defaults.GROUP
    workflow: str = defaults.WORKFLOW
    example_routes: bool = False
    mcp: bool = True
    undo: bool = True
    plain_links: bool = False
    sign_in: bool = False
    trust_header: str | None = None
    access_log: bool = False
    metrics: MetricsOptions | None = None
    trust_from: Sequence[Network] = ()
    live: Callable[[], Directory] | None = None

    @property
    def people(self) -> Directory:
        """The contacts and groups, as the settings are now."""
        return self.directory if self.live is None else self.live()

    def reached_at(self, listens: str) -> str:
        """Return the gateway's public URL; by default the URL at which it listens."""
        given = urlsplit(self.url)
        if given.hostname in EVERYWHERE:
            return f"http://127.0.0.1:{urlsplit(listens).port}"
        return listens if given.port == 0 else self.url

    @property
    def base(self) -> str:
        """The base path, without a slash at the end; empty at the root of a host."""
        return urlsplit(self.url).path.rstrip("/")

    def without_base(self, path: str) -> str:
        """Return a path without the base path, which a proxy may or may not have stripped."""
        rest = path.removeprefix(self.base)
        return rest if rest != path and rest[:1] in ("", "/", "?") else path

    @property
    def is_local(self) -> bool:
        """Whether it listens only on this machine, and its public URL is local too."""
        return is_loopback(self.host) and is_loopback(urlsplit(self.url).hostname or "")

    @property
    def serves_example_routes(self) -> bool:
        """Whether it serves the example routes: by an option, or because it is local."""
        return self.example_routes or self.is_local
