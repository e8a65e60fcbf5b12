"""Formats that JSON Schema does not define, and `contentEncoding`, which it does not check since 2019-09.

Forms made from types have them, so a value must be checked before the type refuses it.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Literal
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hitl_cli.client.wire import Json

LOCAL_FORMATS: dict[str, Literal["date-time", "time"]] = {
    "date-time-local": "date-time",
    "datetime-local": "date-time",
    "time-local": "time",
    "partial-time": "time",
}
"""Names of local times, by kind: those of OpenAPI, HTML and RFC 3339."""

_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
_LOCAL_TIME = re.compile(_TIME, re.ASCII)
_LOCAL = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}T{_TIME}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def _is_local(text: str) -> bool:
    from datetime import datetime

    try:
        return _LOCAL.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_uuid(version: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return UUID(text).version == version
        except ValueError:
            return False

    return fits


OWN_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "decimal": lambda text: _DECIMAL.fullmatch(text) is not None,
    "base64": _is_base64,
    **{
        name: _is_local if kind == "date-time" else lambda text: _LOCAL_TIME.fullmatch(text) is not None
        for name, kind in LOCAL_FORMATS.items()
    },
    **{f"uuid{version}": _is_uuid(version) for version in range(1, 9)},
}


class ContentEncoding:
    """Checks that a text is base64 if the schema says so."""

    def __init__(self, _parent: Json, encoding: Json, _path: Sequence[str | int]) -> None:
        self._base64 = encoding == "base64"

    def validate(self, instance: Json) -> None:
        """Raise ValueError for a text that is not base64. Its message is a reason that follows the path."""
        if self._base64 and isinstance(instance, str) and not _is_base64(instance):
            message = "is not valid base64"
            raise ValueError(message)
