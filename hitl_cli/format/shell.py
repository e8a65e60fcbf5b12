"""Commands to copy: quoted so that bash, zsh and fish read the same words and expand nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hitl_cli.format.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = r"(?a)[\w@%+=:,./-]+"
"""Text that needs no quotes in any shell."""

_PARTS = r"[^'\\]+|['\\]"
"""Text for single quotes, and the two characters that fish reads differently inside them."""


def quoted(text: str) -> str:
    """Return a text as one word for a shell.

    Unprintable characters become $'…' escapes, which bash and zsh read and fish rejects.
    """
    if printable(text) != text:
        escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
        return f"$'{printable(escaped)}'"
    if re.fullmatch(_PLAIN, text) and text[0] not in "=%":  # zsh and fish expand them there
        return text
    parts = (f"\\{part}" if part in "'\\" else f"'{part}'" for part in re.findall(_PARTS, text))
    return "".join(parts) or "''"


def command(name: str, arguments: Sequence[str], options: Sequence[str] = ()) -> str:
    """Return a hitl command line; arguments that begin with a dash follow `--`."""
    words = [quoted(word) for word in arguments]
    if any(word.startswith("-") for word in arguments):
        return " ".join(["hitl", name, *map(quoted, options), "--", *words])
    return " ".join(["hitl", name, *words, *map(quoted, options)])
