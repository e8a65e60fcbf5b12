"""Posting to a URL: accepted, failed for now, or failed permanently.

A URL of the settings may be in a private network; that of a callback is checked (callbacks.py). It may
contain a secret, as Slack's do, so errors name only its host. Redirects are not followed, because they would
let others choose the URL.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.errors import certificate_fault
from hitl_cli.notify.messages import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

TIMEOUT_S = 15.0

AGAIN_LATER = (408, 425, 429)
"""Client errors that are temporary (RFC 9110, RFC 6585, RFC 8470)."""

NO_URL = "the address is not a valid URL."

KEPT_S = 1.0
"""How long an unused connection stays open. Servers close theirs after two seconds or more, and a message
that is sent at that moment would have to be sent again."""

LONGEST_WAIT_MS = 86_400_000
"""A longer Retry-After of a receiver is cut to this."""


class Connections:
    """Connections that are kept open for the messages of one owner, in one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Return the session that keeps them."""
        if self._session is None:
            self._session = _session(None)
        return self._session

    async def close(self) -> None:
        """Close them."""
        if self._session is not None:
            await self._session.close()
            self._session = None


kept: ContextVar[Connections] = ContextVar("kept")
"""The connections of the owner of the message that is being sent. Without one, each post has its own."""


@asynccontextmanager
async def _session_for(connector: aiohttp.BaseConnector | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the session for a post: the kept one, or a new one for a `connector`."""
    connections = kept.get(None)
    if connections is not None and connector is None:
        yield connections.session()
    else:
        async with _session(connector) as session:
            yield session


def _session(connector: aiohttp.BaseConnector | None) -> aiohttp.ClientSession:
    """Return a new session, which keeps no cookies."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=connector or aiohttp.TCPConnector(keepalive_timeout=KEPT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    connector: aiohttp.BaseConnector | None = None,
) -> None:
    """Post JSON. Raises DeliveryFailed unless it was accepted. A `connector` is closed afterwards."""
    import aiohttp

    try:
        host = urlsplit(url).hostname or "it"
    except ValueError:
        raise DeliveryFailed(NO_URL, for_good=True) from None
    sent = {"Content-Type": "application/json", "User-Agent": "hitl", **(headers or {})}
    try:
        async with (
            _session_for(connector) as session,
            session.post(url, data=body, headers=sent, allow_redirects=False) as answer,
        ):
            _judge(answer.status, host, answer.headers)
    except TimeoutError as error:
        raise DeliveryFailed(f"{host} did not respond within {TIMEOUT_S:.0f} s.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # aiohttp.InvalidURL is a ValueError, and so are the errors of an invalid host and of a certificate
        if isinstance(error, ValueError) and certificate_fault(error) is None:
            raise DeliveryFailed(NO_URL, for_good=True) from None
        why = reason_in(error) or type(error).__name__
        raise DeliveryFailed(f"{host} cannot be reached: {why}.") from None


def _judge(status: int, host: str, headers: Mapping[str, str]) -> None:
    """Raise DeliveryFailed unless a status means that a message was accepted."""
    if 200 <= status < 300:  # noqa: PLR2004 - successful (RFC 9110)
        return
    if 300 <= status < 400:  # noqa: PLR2004
        raise DeliveryFailed(f"{host} redirects to another URL ({status}): name that URL instead.")
    if 400 <= status < 500 and status not in AGAIN_LATER:  # noqa: PLR2004
        raise DeliveryFailed(f"{host} refused it ({status}).", for_good=True)
    seconds = headers.get("Retry-After", "")  # a date is ignored
    known = seconds.isascii() and seconds.isdecimal()
    after_ms = min(int(seconds[:9]) * 1_000, LONGEST_WAIT_MS) if known else None
    raise DeliveryFailed(f"{host} cannot accept it now ({status}).", after_ms=after_ms)


def reason_in(error: BaseException | None) -> str | None:
    """Return why a connection failed, in the system's words; None for another error."""
    if refused := certificate_fault(error):
        return refused
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            if error.errno and error.strerror.startswith("Connect call failed"):  # asyncio's wording
                return os.strerror(error.errno)
            return error.strerror
        error = error.__cause__ or error.__context__
    return None
