"""Messages posted to http(s):// addresses.

The file is the queue. Taking a message records in the file when it may be taken next, so that several servers
do not post it twice. A notice of a settled promise is deleted after a 2xx response. An address that fails is
retried with a growing delay, without delaying others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import socket
from itertools import islice
from typing import TYPE_CHECKING

import aiohttp
import yarl
from msgspec import Struct

from hitl_cli.engine import machine
from hitl_cli.engine.http.hosts import is_callable, is_public
from hitl_cli.engine.records import MessageHead
from hitl_cli.engine.server import FAR, execute_message, unblock_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.abc import ResolveResult

    from hitl_cli.engine.commit_loop import CommitLoop
    from hitl_cli.engine.doorbell import Bell
    from hitl_cli.engine.http.hosts import Address
    from hitl_cli.engine.http.metrics import Metrics
    from hitl_cli.engine.server import Batch
    from hitl_cli.engine.store import Transaction

logger = logging.getLogger(__name__)

POSTS_MAX = 256
"""Posts at a time, the same as the Resonate Server's."""

POSTS_PER_ADDRESS = 16
"""Posts at a time to one address, so that a slow address leaves room for others."""

CONNECT_S = 10.0
POST_S = 180.0
"""Timeout of a post: its receiver may run the workflow before it answers."""

LEASE_MS = 30_000
"""How long a message that is being posted, or a posted task that nobody has acquired, is not posted again."""

BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 600.0
SLACK_S = 0.005
"""Added to a message's delay, so that the delay of its address is over by then."""

ADDRESSES_LIMIT = 100
"""Addresses read in one batch."""

LOOK_LIMIT = 100
"""Messages of a kind that one batch reads for an address."""

FAILING_MAX = 10_000
"""Addresses whose failures are remembered."""


type _Key = tuple[str, object]


class _Post(Struct, frozen=True):
    """A message that is being posted: of a task on offer, or of a settled promise."""

    address: str
    body: bytes
    task: tuple[str, int] | None = None
    promise: int = 0

    @property
    def key(self) -> _Key:
        """The identity of the message."""
        return self.address, self.promise if self.task is None else self.task


class _Endpoint(Struct):
    """What is known of an address."""

    posting: int = 0
    failures: int = 0
    until: float = 0.0


class PushRules(Struct, frozen=True):
    """Where messages may be posted to: a client must not use the server to reach internal addresses."""

    origins: frozenset[str] | None = None
    """If given, messages are posted to these only."""
    public_only: bool = False
    """Whether messages are posted to public addresses only."""

    def refuses(self, url: str) -> str | None:
        """Return why nothing is posted to a URL, as far as the URL alone shows, or None."""
        try:
            parsed = yarl.URL(url)
            origin, host = str(parsed.origin()), parsed.host or ""
        except ValueError:
            return "it is not a URL"
        if self.origins is not None:
            return None if origin in self.origins else "--push-to does not name it"
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None  # a name: its addresses are checked after it is resolved
        return None if self.allows(address) else f"nothing is posted to {host}"

    def allows(self, address: Address) -> bool:
        """Whether messages may be posted to an IP address."""
        if self.origins is not None:
            return True
        return is_public(address) if self.public_only else is_callable(address)


class _Resolver(aiohttp.ThreadedResolver):
    """Resolves names to the addresses that the rules allow."""

    def __init__(self, rules: PushRules) -> None:
        super().__init__()
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the allowed addresses of a name. Raises OSError if there is none."""
        allowed = [
            result
            for result in await super().resolve(host, port, family)
            if self._rules.allows(ipaddress.ip_address(result["host"].partition("%")[0]))
        ]
        if not allowed:
            raise OSError(None, f"nothing is posted to the address of {host}")
        return allowed


class Pusher:
    """All posts of a server."""

    def __init__(self, commit_loop: Callable[[], CommitLoop], rules: PushRules, metrics: Metrics) -> None:
        """Post the messages in the batches of the loop that `commit_loop` returns, once there is one."""
        self._commit_loop = commit_loop
        self._rules = rules
        self._metrics = metrics
        self._head = MessageHead()
        self._session: aiohttp.ClientSession | None = None
        self._posting: dict[_Key, asyncio.Task[None]] = {}
        self._endpoints: dict[str, _Endpoint] = {}
        self._dirty = True
        self._cursor = ""
        self.due = FAR
        # Posts that ended, for the next batch to record: successful (None), or to be retried after seconds.
        self._ended: list[tuple[_Post, float | None]] = []
        # What the batch in hand has found.
        self._found: list[_Post] = []
        self._next = ("", False, FAR)

    def __len__(self) -> int:
        """Return how many posts are in progress."""
        return len(self._posting)

    async def start(self, url: str) -> None:
        """Begin to post. `url` is where receivers acquire tasks."""
        self._head = MessageHead(server_url=url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=POSTS_MAX, resolver=_Resolver(self._rules), use_dns_cache=False
            ),
            timeout=aiohttp.ClientTimeout(total=POST_S, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def stop(self, grace_s: float) -> None:
        """Begin no more posts, and cancel those that have not ended after `grace_s`."""
        session, self._session = self._session, None
        tasks = list(self._posting.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if session is not None:
            await session.close()

    def rung(self, bell: Bell | None) -> None:  # noqa: ARG002
        """Read the file for messages in the next batch."""
        self._dirty = True

    def writing(self) -> bool:
        """Whether the next batch must write the outcome of posts."""
        return bool(self._ended)

    def waiting(self, now: int) -> bool:
        """Whether the next batch must hand out messages even if its requests only read."""
        return self._dirty or self.writing() or self.due <= now

    # One batch

    def hand_out(self, tx: Transaction) -> None:
        """Read the messages that can be posted now. They are posted by `commit`."""
        self._found = []
        for post, again_s in self._ended:
            due = tx.now + int((again_s or 0.0) * 1_000)
            if post.task is None and again_s is None:
                tx.drop_unblock(post.address, post.promise)
            elif post.task is None:
                tx.keep_unblock(post.address, post.promise, due)
            elif again_s is not None:
                tx.offer_at(*post.task, post.address, due)
        self._next = self._cursor, False, self.due
        offered = any(_is_pushed(address) for address in tx.offered)
        if self._session is not None and (self._dirty or offered or self.due <= tx.now):
            self._look(tx)

    def commit(self) -> None:
        """Post the messages of the batch, which is on disk."""
        self._ended = []
        self._cursor, self._dirty, self.due = self._next
        for post in self._found:
            self._endpoints.setdefault(post.address, _Endpoint()).posting += 1
            self._posting[post.key] = asyncio.get_running_loop().create_task(self._post(post))
        if self._dirty:
            self._commit_loop().soon()
        offers = sum(1 for post in self._found if post.task is not None)
        self._metrics.executes(offers)
        self._metrics.unblocks(len(self._found) - offers)

    def put_off(self, batch: Batch) -> None:
        """Leave the messages of this batch to a later one, because it handed out nothing."""
        if self.due <= batch.now:
            self._dirty = True
            self.due = FAR
        if any(_is_pushed(address) for address in batch.offered):
            self._dirty = True
            self._commit_loop().soon()

    def _look(self, tx: Transaction) -> None:
        """Take messages for one address after another, from where the last batch ended."""
        moment = asyncio.get_running_loop().time()
        free = POSTS_MAX - len(self._posting)
        cursor, more = "", self._cursor != ""
        for n, address in enumerate(tx.push_addresses(self._cursor)):
            if n == ADDRESSES_LIMIT or free <= 0:
                more = n > 0 and free > 0
                break
            cursor = address
            endpoint = self._endpoints.get(address) or _Endpoint()
            if moment < endpoint.until:
                continue
            at_once = 1 if endpoint.failures else POSTS_PER_ADDRESS
            free -= self._take(tx, address, min(free, at_once - endpoint.posting))
        else:
            cursor = ""
        self._next = cursor, more, tx.next_push() or FAR

    def _take(self, tx: Transaction, address: str, room: int) -> int:
        """Take messages for one address, and return how many."""
        if room <= 0:
            return 0
        began = len(self._found)
        offers = (
            (task, promise) for task, promise in tx.offers(address, "") if not machine.is_due(promise, tx.now)
        )
        seen = []
        for task, promise in islice(offers, LOOK_LIMIT):
            if len(self._found) - began >= room:
                break
            seen.append(task.seq)
            body = execute_message(task, promise, self._head)
            self._find(_Post(address, body, task=(promise.id, task.version)))
        for seq in seen:
            tx.put_off_task(seq, tx.now + LEASE_MS)
        seen = []
        for promise in islice(tx.unblocks(address), LOOK_LIMIT):
            if len(self._found) - began >= room:
                break
            seen.append(promise.seq)
            self._find(_Post(address, unblock_message(promise), promise=promise.seq))
        for seq in seen:
            tx.keep_unblock(address, seq, tx.now + LEASE_MS)
        return len(self._found) - began

    def _find(self, post: _Post) -> None:
        if post.key not in self._posting:
            self._found.append(post)

    # Between the batches

    async def _post(self, post: _Post) -> None:
        """Post one message, and keep the outcome for the next batch."""
        endpoint = self._endpoints[post.address]
        again_s: float | None = 0.0
        try:
            failure = self._rules.refuses(post.address) or await self._send(post)
            again_s = self._judge(post, endpoint, failure)
        finally:
            endpoint.posting -= 1
            del self._posting[post.key]
            if not endpoint.posting and not endpoint.failures:
                self._endpoints.pop(post.address, None)
            self._ended.append((post, again_s))
            self._dirty = True
            self._commit_loop().soon()

    async def _send(self, post: _Post) -> str | None:
        """Return why a post failed, or None."""
        if self._session is None:
            return "the server is stopping"
        headers = {"Content-Type": "application/json"}
        url = yarl.URL(post.address)
        try:
            async with self._session.post(
                url, data=post.body, headers=headers, allow_redirects=False
            ) as answer:
                return None if answer.status < 300 else f"it answered {answer.status}"  # noqa: PLR2004
        except TimeoutError:
            return "it did not answer in time"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error) or type(error).__name__

    def _judge(self, post: _Post, endpoint: _Endpoint, failure: str | None) -> float | None:
        """Count a post. Return None if it succeeded, otherwise in how many seconds to retry it."""
        self._metrics.delivery(failure is None)
        if failure is None:
            endpoint.failures = 0
            endpoint.until = 0.0
            return None
        if not endpoint.failures:
            logger.warning("message to %s not delivered, retrying: %s", post.address, failure)
        endpoint.failures += 1
        backoff_s = min(BACKOFF_MIN_S * 2.0 ** min(endpoint.failures - 1, 20), BACKOFF_MAX_S)
        backoff_s *= random.uniform(0.5, 1.0)  # noqa: S311 - so that not all come back at once
        endpoint.until = max(endpoint.until, asyncio.get_running_loop().time() + backoff_s)
        if len(self._endpoints) > FAILING_MAX:
            self._endpoints = {address: one for address, one in self._endpoints.items() if one.posting}
        return backoff_s + SLACK_S


def _is_pushed(address: str) -> bool:
    """Whether messages for an address are posted."""
    return address.startswith("http")


def origins(urls: Sequence[str]) -> frozenset[str]:
    """Return the origins of http(s) URLs. Raises ValueError for any other text."""
    found = set()
    for url in urls:
        parsed = yarl.URL(url)
        if parsed.scheme not in ("http", "https"):
            raise ValueError(url)
        found.add(str(parsed.origin()))
    return frozenset(found)
