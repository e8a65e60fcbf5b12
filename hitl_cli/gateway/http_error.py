"""Requests that are refused before anybody is asked to do what they want."""

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
"""Code of an answer that is no more than its status says."""


class HttpError(HitlError):
    """A request that is not answered as it stands; `status` says why."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(message, code=code or CODES.get(status))
        self.status = status
        self.headers = dict(headers or {})
