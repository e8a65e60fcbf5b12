"""JSON as text on one line."""

from __future__ import annotations

from typing import Any

import msgspec


def to_json(value: Any) -> str:
    """Return a value, or a document of views/, as JSON on one line."""
    return msgspec.json.encode(value).decode()
