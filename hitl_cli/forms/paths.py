"""Paths to places in an answer: `amount`, `address.city`, `items[2].price`.

A name with special characters is in brackets and quotes, as in `["a.b"].c`. The empty path is the whole
answer. Every place has exactly one path.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from hitl_cli.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import Json

_PLAIN = re.compile(r"""[^\s.\[\]="'\\]+""")
_ROW = re.compile(r"\[([0-9]{1,6})\]((?:[.\[].*)?)", re.DOTALL)
_ASSIGNMENT = re.compile(r"""((?:\["(?:[^"\\]|\\.)*"\]|[^=])*?)=(.*)""", re.DOTALL)


def path_of(keys: Iterable[str | int]) -> str:
    """Return the path of these names and positions."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key.isprintable() and _PLAIN.fullmatch(key):
            path += f".{key}" if path else key
        else:
            path += f"[{json.dumps(key, ensure_ascii=not key.isprintable())}]"
    return path


def value_at(data: Json | UnsetType, keys: Iterable[str | int]) -> Json | UnsetType:
    """Return the value at a place in the data; UNSET if there is none."""
    found: Any = data
    for key in keys:
        is_entry = isinstance(found, list) and isinstance(key, int) and key < len(found)
        if not is_entry and not (isinstance(found, dict) and key in found):
            return UNSET
        found = found[key]
    return found


def row_in(path: str, rows: str) -> tuple[int, str] | None:
    """Return the number of the row that a path leads into, and the path in it; None if it leads elsewhere."""
    found = _ROW.fullmatch(path.removeprefix(rows)) if path.startswith(rows) else None
    return None if found is None else (int(found[1]), found[2].removeprefix("."))


def split_assignment(text: str) -> tuple[str, str]:
    """Return the path and the text of `PATH=TEXT`, as `fill` takes them. Raises BadInput."""
    found = _ASSIGNMENT.fullmatch(text)
    if found is None:
        raise BadUsage(f"{text!r} names no field: write it like amount=120.")
    return found[1], found[2]
