"""Commands to copy, whose words bash, zsh and fish read as the same text, and obey none of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hitl_cli.format.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
"""Text that no shell reads as anything else."""

_PARTS = re.compile(r"[^'\\]+|['\\]")
"""What goes into single quotes, and the two characters that fish and the others read differently there."""


def quoted(text: str) -> str:
    """Return a text as one word for a shell.

    What cannot be shown is written as bash and zsh read escapes; fish refuses such a line.
    """
    if printable(text) != text:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
        return f"$'{printable(escaped)}'"
    if _PLAIN.fullmatch(text) and text[0] not in "=%":  # which zsh and fish expand there
        return text
    parts = (f"\\{part}" if part in "'\\" else f"'{part}'" for part in _PARTS.findall(text))
    return "".join(parts) or "''"


def command(name: str, arguments: Sequence[str], options: Sequence[str] = ()) -> str:
    """Return a command of hitl; what begins with a dash and is no option stands after two of them."""
    words = [quoted(word) for word in arguments]
    if any(word.startswith("-") for word in arguments):
        return " ".join(["hitl", name, *map(quoted, options), "--", *words])
    return " ".join(["hitl", name, *words, *map(quoted, options)])
