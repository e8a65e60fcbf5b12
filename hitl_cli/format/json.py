"""JSON as text on one line."""

from __future__ import annotations

from typing import Any

import msgspec


def why_not_json(error: Exception) -> str:
    """Return what is wrong with a text that is not JSON, in a few words."""
    said = str(error).removeprefix("JSON is malformed: ")
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # msgspec reports the same for half a surrogate pair.
    return "it ends too early, or has a broken \\u escape" if said == "Input data was truncated" else said


def to_json(value: Any) -> str:
    """Return a value, or a document of views/, as JSON on one line."""
    return msgspec.json.encode(value).decode()
