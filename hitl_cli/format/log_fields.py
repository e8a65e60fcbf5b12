"""The fields of JSON log lines besides the text: the run, request and person, and the code of an error.

A line gets them by `extra=` of the logging calls, or from the context in which it is logged.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

FIELDS = ("run", "request", "person", "code")
"""The fields that any line may have."""

_NONE: Mapping[str, str] = MappingProxyType({})

context: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default=_NONE)
"""The fields of the lines that are logged in this context."""


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record: its own, those of its error, those of its context."""
    own = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
    error = record.exc_info[1] if record.exc_info else None
    given = record.args if isinstance(record.args, tuple) else ()
    codes = (code for one in (error, *given) if isinstance(code := getattr(one, "code", None), str))
    code = next(codes, None)
    return {**context.get(), **({} if code is None else {"code": code}), **own}
