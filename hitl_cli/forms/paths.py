"""Where in an answer something is, as people write it: `amount`, `address.city`, `items[2].price`.

A name that would be read otherwise stands in brackets and quotes, as in `["a.b"].c`. The whole answer is the
empty path. Every place has exactly one path.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hitl_cli.errors import BadUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN = re.compile(r"""[^\s.\[\]="'\\]+""")
_ASSIGNMENT = re.compile(r"""((?:\["(?:[^"\\]|\\.)*"\]|[^=])*?)=(.*)""", re.DOTALL)


def path_of(keys: Iterable[str | int]) -> str:
    """Return the path that these names and positions lead to."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        elif key.isprintable() and _PLAIN.fullmatch(key):
            path += f".{key}" if path else key
        else:
            path += f"[{json.dumps(key, ensure_ascii=not key.isprintable())}]"
    return path


def split_assignment(text: str) -> tuple[str, str]:
    """Return the path and the text of `PATH=TEXT`, as `fill` takes them. Raises BadInput."""
    found = _ASSIGNMENT.fullmatch(text)
    if found is None:
        raise BadUsage(f"{text!r} names no field: write it like amount=120.")
    return found[1], found[2]
