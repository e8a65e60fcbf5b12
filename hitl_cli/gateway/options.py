"""What a gateway is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.engine.http.hosts import is_loopback
from hitl_cli.people.contacts import Directory

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound here
"""Where a gateway listens at all addresses, which nobody reaches it by."""


class Options(Struct, frozen=True, kw_only=True):
    """What a gateway is told.

    `url` is where people reach it, without a slash at the end; `person` is who acts where nobody need sign
    in, which is on this machine alone; `group` and `workflow` are for runs that are started and name none;
    `announced_in` is the file by which it makes itself known on this machine; `example_routes` asks for the
    pattern's own routes beyond this machine.
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
    plain_links: bool = False
    sign_in: bool = False
    trust_header: str | None = None
    trust_from: Sequence[Network] = ()
    live: Callable[[], Directory] | None = None

    @property
    def people(self) -> Directory:
        """How people are reached now: the settings may have changed."""
        return self.directory if self.live is None else self.live()

    def reached_at(self, listens: str) -> str:
        """Return where people reach it, which listens at a URL: its own address where none was set."""
        given = urlsplit(self.url)
        if given.hostname in EVERYWHERE:
            return f"http://127.0.0.1:{urlsplit(listens).port}"
        return listens if given.port == 0 else self.url

    @property
    def base(self) -> str:
        """The path under which people reach it, without a slash at the end: empty at the root of a host."""
        return urlsplit(self.url).path.rstrip("/")

    def without_base(self, path: str) -> str:
        """Return a path as handlers know it: a proxy may have removed what it is under, or left it."""
        rest = path.removeprefix(self.base)
        return rest if rest != path and rest[:1] in ("", "/", "?") else path

    @property
    def is_local(self) -> bool:
        """Whether it listens on this machine alone, and gives out no other address."""
        return is_loopback(self.host) and is_loopback(urlsplit(self.url).hostname or "")

    @property
    def serves_example_routes(self) -> bool:
        """Whether it answers to the routes of the pattern: where it is asked to, and on this machine."""
        return self.example_routes or self.is_local
