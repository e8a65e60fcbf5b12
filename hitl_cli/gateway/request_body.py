"""Limits on the body of a request: its size, its form, and the time that it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, web

from hitl_cli.gateway.http_error import HttpError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.web import Request, StreamResponse


BODY_MAX = 2 * 1024 * 1024
"""Bytes of a request's body. An answer may have a million, and a form encodes some of them as three."""

BODY_S = 20.0
"""Timeout for a request's body."""


@web.middleware
async def take_body(
    request: Request, handler: Callable[[Request], Awaitable[StreamResponse]]
) -> StreamResponse:
    """Read the whole body before the handler runs. Raises HttpError for one that is malformed or too slow."""
    if request.can_read_body:
        if request.content_type.startswith("multipart/"):
            raise HttpError(415, "send JSON or a form without files (application/x-www-form-urlencoded).")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "send the body uncompressed.", {"Accept-Encoding": "identity"})
        try:
            async with asyncio.timeout(BODY_S):
                await request.read()
            form = await request.post()  # aiohttp caches it; empty if the body is not a form
            for text in (*form.keys(), *form.values()):
                str(text).encode()  # some charsets decode to lone surrogates
        except TimeoutError as error:
            raise HttpError(408, f"the request did not arrive within {BODY_S:.0f} s.") from error
        except ClientPayloadError as error:
            raise HttpError(400, "the request's body is malformed.") from error
        except (LookupError, UnicodeError) as error:
            raise HttpError(400, "the form is not UTF-8 text.") from error
    return await handler(request)
