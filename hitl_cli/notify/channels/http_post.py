"""Posting to a URL of the settings, and what its answer means: taken, later perhaps, or never.

The URL comes from whoever runs the worker, never from a request, so it may well be in their own network. It
may carry a secret (Slack's do), so errors name its host alone; and no redirect is followed, which would have
somebody else say where to post.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.notify.messages import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 15.0

AGAIN_LATER = (408, 425, 429)
"""What is not for good, of the statuses that blame the request (RFC 9110, RFC 6585, RFC 8470)."""

NO_URL = "the address in the settings is no URL."

LONGEST_WAIT_MS = 86_400_000
"""The longest that a receiver's Retry-After is believed."""


async def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Post JSON. Raises DeliveryFailed unless it was taken."""
    import aiohttp

    try:
        host = urlsplit(url).hostname or "it"
    except ValueError:
        raise DeliveryFailed(NO_URL, for_good=True) from None
    sent = {"Content-Type": "application/json", "User-Agent": "hitl", **(headers or {})}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.post(url, data=body, headers=sent, allow_redirects=False) as answer,
        ):
            _judge(answer.status, host, answer.headers)
    except TimeoutError as error:
        raise DeliveryFailed(f"{host} did not answer within {TIMEOUT_S:.0f} s.") from error
    except ValueError:  # aiohttp.InvalidURL is one, and what a host that cannot be leads to
        raise DeliveryFailed(NO_URL, for_good=True) from None
    except aiohttp.ClientConnectorCertificateError as error:
        raise DeliveryFailed(f"the certificate of {host} is not one to trust.") from error
    except (aiohttp.ClientError, OSError) as error:
        why = reason_in(error) or type(error).__name__
        raise DeliveryFailed(f"{host} cannot be reached: {why}.") from None


def host_of(url: str) -> str:
    """Return a URL as far as it is no secret: its scheme and its host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}/…"


def _judge(status: int, host: str, headers: Mapping[str, str]) -> None:
    """Raise DeliveryFailed unless a status says that a message was taken."""
    if 200 <= status < 300:  # noqa: PLR2004 - what RFC 9110 calls successful
        return
    if 300 <= status < 400:  # noqa: PLR2004
        raise DeliveryFailed(
            f"{host} says that the address is another one now ({status}): change the settings."
        )
    if 400 <= status < 500 and status not in AGAIN_LATER:  # noqa: PLR2004
        raise DeliveryFailed(f"{host} refused it ({status}).", for_good=True)
    seconds = headers.get("Retry-After", "")  # or a date, which is not read
    known = seconds.isascii() and seconds.isdecimal()
    after_ms = min(int(seconds[:9]) * 1_000, LONGEST_WAIT_MS) if known else None
    raise DeliveryFailed(f"{host} could not take it now ({status}).", after_ms=after_ms)


def reason_in(error: BaseException | None) -> str | None:
    """Return why a connection failed in the operating system's words; None where it was not that."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            if error.errno and error.strerror.startswith("Connect call failed"):  # asyncio's words
                return os.strerror(error.errno)
            return error.strerror
        error = error.__cause__ or error.__context__
    return None
