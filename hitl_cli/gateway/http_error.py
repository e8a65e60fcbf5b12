"""Errors with an HTTP status of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput, HitlError, NotAllowed, NotFound, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

CODES = {
    400: BadInput.code,
    401: "unauthenticated",
    403: NotAllowed.code,
    404: NotFound.code,
    405: "method-not-allowed",
    408: "request-timeout",
    412: "changed-since",
    413: TooLarge.code,
    415: "unsupported-media-type",
    421: "wrong-host",
    429: "too-many-requests",
    503: "unavailable",
}
"""Codes of errors that say no more than their status."""


class HttpError(HitlError):
    """An HTTP request that is refused with a `status`."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(message, code=code or CODES.get(status))
        self.status = status
        self.headers = dict(headers or {})
