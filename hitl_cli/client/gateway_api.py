"""Requests to the HTTP API of a gateway (docs/reference/api.md).

Each call opens its own connection, so there is nothing to close, and any thread can call.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from hitl_cli.client.connect import shown_url
from hitl_cli.errors import (
    BadInput,
    BadServer,
    Conflict,
    HitlError,
    NotAllowed,
    NotCovered,
    NotDone,
    NotFound,
    TimedOut,
    TooLarge,
    Unreachable,
    certificate_fault,
)
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_S = 30.0
"""How long the gateway may take for a response, besides the time that it was asked to wait."""

ERRORS: dict[int, type[HitlError]] = {
    400: BadInput,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    410: TimedOut,
    413: TooLarge,
    422: Conflict,
}

UNAUTHENTICATED = 401

NOT_COVERED = ("not-covered", "approval-expired", "approval-used")
"""The codes of NotCovered."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457), as the gateway sends them, with the extra fields that commands print."""

    detail: str
    code: str = "failed"
    lines: tuple[str, ...] = ()
    exit_code: int | None = None
    at: int | None = None
    hint: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would send the token to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return None: the response is an error."""


class _Https(urllib.request.HTTPSHandler):
    """Reads the certificates of authorities once they are needed: that takes 20 ms."""

    def __init__(self) -> None:
        urllib.request.AbstractHTTPHandler.__init__(self)

    @cached_property
    def _ready(self) -> urllib.request.HTTPSHandler:
        return urllib.request.HTTPSHandler()

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open a request."""
        return self._ready.https_open(req)


class GatewayApi:
    """The API of one gateway, with a token or none."""

    def __init__(self, gateway: str, token: str | None, *, program: bool = False) -> None:
        """`gateway` is its URL. Raises BadServer for one that is not `http(s)://…`.

        A `program` gets its token from `hitl token`, and not from `hitl login`.
        """
        parts = urlsplit(gateway)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadServer(f"{shown_url(gateway)!r} is not the URL of a gateway: use http(s)://host.")
        self._api = f"{gateway.rstrip('/')}/api/v1"
        self.url = shown_url(gateway.rstrip("/"))
        self._headers = {"Accept": "application/json", "User-Agent": "hitl"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._program = program
        self._opener = urllib.request.build_opener(_NoRedirects, _Https)

    def send[T](
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Any = (),
        *,
        body: Any = None,
        wait_s: float = 0.0,
    ) -> T:
        """Send one request, and return the response. Raises HitlError, as the gateway answered it."""
        with self._opened(method, path, query, body, wait_s + ANSWER_S) as response:
            raw = response.read()
        try:
            return msgspec.json.decode(raw, type=inspected(kind))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(f"{self.url} did not answer as a gateway of hitl: {error}.") from error

    def lines(self, path: str, query: Any = ()) -> Iterator[bytes]:
        """Yield the lines of a response while they come. Raises HitlError, as the gateway answered it."""
        with self._opened("GET", path, query, None, ANSWER_S) as response:
            yield from response

    @contextmanager
    def _opened(
        self, method: str, path: str, query: Any, body: Any, timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and yield its response. Raises HitlError, also while the response is read."""
        url = self._api + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else msgspec.json.encode(body)
        headers = self._headers | ({} if data is None else {"Content-Type": "application/json"})
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - checked in __init__
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                yield response
        except urllib.error.HTTPError as error:
            raise _error_in(error.code, error.read(), self.url, program=self._program) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            why = certificate_fault(error) or getattr(why, "strerror", None) or why  # without its number
            raise Unreachable(
                f"the gateway at {self.url} cannot be reached: {why}.",
                hint="Check that it is running, and that its address is right.",
            ) from error


class _Description(Struct, frozen=True):
    """The title in the OpenAPI document of a service."""

    info: dict[str, Any]


def is_gateway(url: str) -> bool:
    """Whether a gateway of hitl answers at a URL."""
    try:
        return GatewayApi(url, None).send("GET", "/openapi.json", _Description).info.get("title") == "hitl"
    except HitlError:
        return False


def _error_in(status: int, raw: bytes, where: str, *, program: bool) -> HitlError:
    """Return the error in a response."""
    try:
        problem = msgspec.json.decode(raw, type=inspected(Problem))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unreachable(f"{where} did not answer as a gateway of hitl: status {status}.")
    kind = NotCovered if problem.code in NOT_COVERED else ERRORS.get(status, Unreachable)
    if problem.exit_code == NotDone.exit_code:
        kind = NotDone
    said = problem.detail
    if program and status == UNAUTHENTICATED:
        said = f"{where} needs a token." if problem.code == "unauthenticated" else said
        said = (
            f"{said} Set HITL_TOKEN: `hitl token create --as agent --can ask` makes a token, at the gateway."
        )
    error = kind(said, problem.lines, code=problem.code)
    error.at, error.hint = problem.at, problem.hint or error.hint
    if problem.exit_code is not None:
        error.exit_code = problem.exit_code
    elif status == UNAUTHENTICATED:  # as of a server that refuses a token
        error.exit_code = Unreachable.exit_code
        error.hint = "" if program else f"Sign in again: hitl login {where}"
    return error
