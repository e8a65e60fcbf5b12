"""What the handlers of a gateway share.

Its memory is only a cache: all state is on the server or in signed tokens, and is read again after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.client.connect import connect
from hitl_cli.client.pool import ClientPool
from hitl_cli.errors import BadInput, HitlError, cannot_listen, logged
from hitl_cli.format.terminal import printable
from hitl_cli.gateway.auth.access import Access
from hitl_cli.gateway.auth.bearer_tokens import BearerTokens
from hitl_cli.gateway.auth.endings import Endings
from hitl_cli.gateway.auth.rate_limit import RateLimit
from hitl_cli.gateway.auth.sessions import Cookies
from hitl_cli.gateway.decision_waiters import DecisionWaiters
from hitl_cli.gateway.decisions import Decisions
from hitl_cli.gateway.event_broadcaster import EventBroadcaster
from hitl_cli.gateway.lists import Lists
from hitl_cli.gateway.mcp_endpoint import McpEndpoint
from hitl_cli.gateway.scrape import Scrape
from hitl_cli.gateway.templating import Renderer
from hitl_cli.inbox import Inbox
from hitl_cli.worker.housekeeping import COUNT_EVERY_S, Housekeeper
from hitl_cli.worker.server_check import ServerCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiohttp.web import Request

    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.client.protocol import Client
    from hitl_cli.gateway.options import Options
    from hitl_cli.people.actor import Actor

logger = logging.getLogger(__name__)

MINUTE_MS = 60_000

DUE_EVERY_S = 1.0
"""How often a gateway settles requests whose deadline has passed."""

BAD_LINKS = 30
"""Invalid links per minute from one network before it is refused."""

BAD_TOKENS = 20
"""Invalid tokens per minute from one network before it is refused."""

LOOKBACK_THREADS = 2
"""Concurrent reads of history and stats. With many decisions, each takes seconds."""

SIGN_IN_MS = 15 * MINUTE_MS

SIGN_INS = 60
"""Attempts to sign in per 15 minutes from one network, which a whole office may share."""

MAILS = 5
"""Sign-in mails per 15 minutes to one person, so that others cannot flood their mailbox."""


class Gateway:
    """What the handlers of one gateway share."""

    def __init__(self, options: Options, clock: Callable[[], int] | None = None) -> None:
        """Read the keys. Raises BadInput. The server is connected at the first request.

        `clock` is the server's clock unless it is given.
        """
        self.options = options
        self.url = options.url
        """Its public URL; with port 0, once it listens."""
        self.bridge = ClientPool(self._open)
        self.clock = clock = clock or self.bridge.now
        self.lookback = ClientPool(self._open, LOOKBACK_THREADS)
        """For slow reads of history and stats, so that decisions do not wait for them."""
        self.lists = Lists(self._open, self.bridge)
        """For lists of open requests: `lists.run(actor, work)`."""
        self.decisions = Decisions(self._open, self.bridge)
        """For decisions on one request: `decisions.decide(actor, id, said)`."""
        self.renderer = Renderer(clock, options.base)
        self.bearers = BearerTokens(self.bridge, RateLimit(BAD_TOKENS, MINUTE_MS, clock, options.trust_from))
        public = urlsplit(options.url)
        self.cookies = Cookies(https=public.scheme == "https", base=options.base, port=public.port)
        self.endings = Endings(self.bridge)
        self.access = Access(options, self.keys, self.bearers, self.cookies, clock, self.endings)
        self.bad_links = RateLimit(BAD_LINKS, MINUTE_MS, clock, options.trust_from)
        self.sign_ins = RateLimit(SIGN_INS, SIGN_IN_MS, clock, options.trust_from)
        self.mails_to = RateLimit(MAILS, SIGN_IN_MS, clock)
        self.stopping = asyncio.Event()
        """Set when the gateway stops; ends the streams."""
        self._going_on: set[asyncio.Task[None]] = set()
        self.feed = EventBroadcaster(self._open, clock, self.stopping, lambda: self.options.people.visibility)
        self.waiters = DecisionWaiters(self.feed, self.bridge, self.go_on, self.stopping)
        """The HTTP requests that wait for a decision."""
        self.mcp = McpEndpoint(self)
        self.check = ServerCheck(self._open)
        self.scrape = None if options.metrics is None else Scrape(self, options.metrics)
        """Its metrics; None if they are not served."""
        self.metrics_url: str | None = None
        self.housekeeper = Housekeeper(self._open, lambda: options.people, COUNT_EVERY_S)
        self._keys = load_keys(options.keys, clock())
        self._complaint = ""

    def _open(self) -> Client:
        return connect(self.options.server, self.options.token)

    def own_pool(self) -> ClientPool:
        """Return a thread with a client of its own, for one long read. The caller closes it."""
        return ClientPool(self._open, threads=1)

    async def inbox[T](
        self, actor: Actor, work: Callable[[Inbox], T], *, pool: ClientPool | None = None
    ) -> T:
        """Run `work` with an actor's inbox in a thread, and return its result."""
        return await (pool or self.bridge).run(lambda client: work(Inbox(client, actor)))

    def keys(self) -> Keys:
        """Return the current signing keys, which another process may have rotated.

        If they cannot be read, log it and return the last ones.
        """
        try:
            self._keys = load_keys(self.options.keys, self.clock())
        except BadInput as error:
            if str(error) != self._complaint:
                logger.error("%s The previous keys stay in use until this is fixed.", logged(error))  # noqa: TRY400
            self._complaint = str(error)
        else:
            self._complaint = ""
        return self._keys

    async def prepare(self) -> None:
        """Prepare for the first page, so that it is not slow: compile templates, connect, and read a list."""
        await asyncio.to_thread(self.renderer.prepare)
        with contextlib.suppress(HitlError, OSError):  # housekeeping logs that the server is away
            await self.lists.prepare()

    async def fire_deadlines(self) -> None:
        """Settle overdue requests until the gateway stops, because there may be no other process."""
        while not self.stopping.is_set():
            with contextlib.suppress(HitlError, OSError):  # housekeeping logs that the server is away
                await self.bridge.run(lambda client: client.fire_due())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DUE_EVERY_S):
                    await self.stopping.wait()

    def start_metrics(self) -> None:
        """Serve the metrics, if the options have an address. Raises BadInput if it cannot be used."""
        if self.scrape is not None and self.options.metrics is not None:
            try:
                self.metrics_url = self.scrape.start()
            except OSError as error:
                raise cannot_listen(self.options.metrics.shown, error, "--metrics") from error

    def go_on(self, work: Coroutine[None, None, None]) -> None:
        """Run work in the background, and log a failure.

        Unfinished work is dropped when the gateway stops.
        """
        task = asyncio.get_running_loop().create_task(work)
        self._going_on.add(task)
        task.add_done_callback(self._gone)

    async def drop(self) -> None:
        """Cancel background work, before the things that it uses are closed."""
        going_on = tuple(self._going_on)
        for task in going_on:
            task.cancel()
        await asyncio.gather(*going_on, return_exceptions=True)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._going_on.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            work = getattr(task.get_coro(), "__qualname__", "work").removeprefix("_")
            said = f"{type(error).__name__}: {printable(logged(error))}"
            logger.error("background task %s failed: %s", work, said)

    def stop(self) -> None:
        """Stop the gateway. Must be called in its event loop."""
        self.stopping.set()


GATEWAY = web.AppKey("gateway", Gateway)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves a request."""
    return request.app[GATEWAY]
