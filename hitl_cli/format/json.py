"""JSON as text on one line."""

from __future__ import annotations

from typing import Any

import msgspec


def why_not_json(error: Exception) -> str:
    """Return what is wrong with a text that is not JSON, in a few words."""
    said = str(error).removeprefix("JSON is malformed: ")
    return "it ends too early" if said == "Input data was truncated" else said


def to_json(value: Any) -> str:
    """Return a value, or a document of views/, as JSON on one line."""
    return msgspec.json.encode(value).decode()
