"""Requests that are refused before anybody is asked to do what they want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import HitlError

if TYPE_CHECKING:
    from collections.abc import Mapping


class HttpError(HitlError):
    """A request that is not answered as it stands; `status` says why."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
