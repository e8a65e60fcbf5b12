"""What a gateway is told, and what its handlers ask through: nothing is kept here between two requests.

Everything is on the server, or in what is signed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web
from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.connect import connect
from hitl_cli.directory import Directory
from hitl_cli.engine.server import now_ms
from hitl_cli.gateway.access import Access
from hitl_cli.gateway.bridge import Bridge
from hitl_cli.gateway.feed import Feed
from hitl_cli.gateway.templating import Renderer
from hitl_cli.keys import load_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aiohttp.web import Request

    from hitl_cli.client import Client
    from hitl_cli.gateway.access import Network
    from hitl_cli.keys import Keys


class Options(Struct, frozen=True, kw_only=True):
    """What a gateway is told.

    `url` is where people reach it, without a slash at the end; `person` is who acts where nobody need sign
    in, which is on this machine alone; `group` and `workflow` are for runs that are started and name none.
    """

    server: str
    keys: Path
    person: str
    host: str = "127.0.0.1"
    port: int = 5001
    url: str = "http://127.0.0.1:5001"
    token: str | None = None
    directory: Directory = Directory()
    group: str = defaults.GROUP
    workflow: str = defaults.WORKFLOW
    plain_links: bool = False
    sign_in: bool = False
    trust_header: str | None = None
    trust_from: Sequence[Network] = ()


class Gateway:
    """What the handlers of one gateway share."""

    def __init__(self, options: Options, clock: Callable[[], int] = now_ms) -> None:
        """Read the keys. Raises BadInput. The server is opened when it is first asked something."""
        self.options = options
        self.clock = clock
        self.bridge = Bridge(self._open)
        self.renderer = Renderer(clock)
        self.access = Access(self)
        self.stopping = asyncio.Event()
        """Set once the gateway is to stop: streams end then."""
        self.feed = Feed(self._open, clock, self.stopping)
        self.keys()

    def _open(self) -> Client:
        return connect(self.options.server, self.options.token)

    def keys(self) -> Keys:
        """Return the keys as they are now: another process may have rotated them."""
        return load_keys(self.options.keys, self.clock())

    def stop(self) -> None:
        """Have it take no more requests. Must be called in its event loop."""
        self.stopping.set()


GATEWAY = web.AppKey("gateway", Gateway)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves a request."""
    return request.app[GATEWAY]
