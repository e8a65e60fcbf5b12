"""Lines for a settings file, to copy. Settings are never written by hitl."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BARE_KEY = r"[A-Za-z0-9_-]+"
"""A name that TOML needs no quotes for."""


def toml_name(name: str) -> str:
    """Return a name as TOML writes it in a table's header."""
    return name if re.fullmatch(BARE_KEY, name) else toml_text(name)


def toml_text(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def toml_list(name: str, texts: Iterable[str]) -> str:
    """Return a list of texts, one on each line."""
    return f"{name} = [\n{''.join(f'  {toml_text(text)},\n' for text in texts)}]"
