"""Words of shell commands that are certainly one simple command, and patterns for such commands."""

from __future__ import annotations

import re

from hitl_cli.rules.wildcards import PLAIN, WILD, is_plain, wild_fits

_LETTERS = rf"[{PLAIN}]+"
_QUOTED = r"'[ -&(-~]*'" + r'|"[ #%-\[\]-_a-~]*"'
"""In single quotes all printable ASCII, in double quotes without `"`, `$`, the backquote, `\\` and `!`."""

_WORD = re.compile(rf"(?:{_LETTERS}|{_QUOTED})+")
_PATTERN_WORD = re.compile(rf"(?:[{WILD}{PLAIN}]+|{_QUOTED})+")
_PIECE = re.compile(rf"{_QUOTED}|[^'\"]+")

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")

_SHELL = """
! [[ . alias builtin case command coproc do done elif else esac eval exec fi for foreach function if in
nocorrect noglob repeat select source then time trap until while
"""
_NOT_SIMPLE = frozenset(_SHELL.split())
"""First words that a shell does not read as the name of a program."""


def words_of(command: str) -> list[str] | None:
    """Return the words of a command, unquoted; None unless it is certainly one simple command.

    Refused are all characters with a meaning to a shell, anything but printable ASCII, quotes that do not
    end, assignments before the command, and the shell's own words.
    """
    read = _split(command, _WORD)
    if read is None or not _is_program(read[0]):
        return None
    return ["".join(_unquoted(piece) for piece in _PIECE.findall(word)) for word in read]


class CommandPattern:
    """A pattern for a command. Raises ValueError for one that could not be matched with certainty.

    A `*` stands for plain characters of one word; at the end of the pattern, after a space, a letter or a
    digit, it stands for any further plain words.
    """

    def __init__(self, text: str) -> None:
        read = _split(text, _PATTERN_WORD)
        if read is None:
            raise ValueError("it is not one simple command of plain characters")
        self._more = read[-1].endswith(WILD) and (len(read[-1]) == 1 or read[-1][-2:-1].isalnum())
        if self._more:
            read[-1] = read[-1][:-1]
            read = [word for word in read if word]
        if not read or WILD in read[0] or not _is_program(read[0]):
            raise ValueError("its first word must be the name of a program")
        self._words = [_parts(word) for word in read]

    def fits(self, command: str) -> bool:
        """Whether a command matches."""
        words = words_of(command)
        if words is None or len(words) < len(self._words):
            return False
        rest = words[len(self._words) :]
        return (
            (not rest or self._more)
            and all(wild_fits(parts, word) for parts, word in zip(self._words, words, strict=False))
            and all(map(is_plain, rest))
        )


def _split(text: str, word: re.Pattern[str]) -> list[str] | None:
    """Return the words of a text, still quoted; None if there is anything else, or no word."""
    read, at = [], 0
    for found in word.finditer(text):
        if text[at : found.start()].strip(" "):
            return None
        read.append(found[0])
        at = found.end()
    return None if not read or text[at:].strip(" ") else read


def _is_program(word: str) -> bool:
    """Whether the first word of a command, still quoted, names a program."""
    return word not in _NOT_SIMPLE and _ASSIGNMENT.match(word) is None


def _unquoted(piece: str) -> str:
    return piece[1:-1] if piece[0] in "'\"" else piece


def _parts(word: str) -> list[str]:
    """Return the literal parts of a pattern's word, between its wildcards."""
    parts = [""]
    for piece in _PIECE.findall(word):
        first, *others = [piece[1:-1]] if piece[0] in "'\"" else piece.split(WILD)
        parts[-1] += first
        parts += others
    return parts
