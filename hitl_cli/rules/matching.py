"""Compares the arguments of a request with a rule. If a match is not certain, it does not match."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from hitl_cli.client.wire import Json, same_json
from hitl_cli.errors import BadInput
from hitl_cli.rules.shell_words import CommandPattern
from hitl_cli.rules.wildcards import WILD, is_plain, wild_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

type Where = Mapping[str, Json]
"""What arguments must be, by path: `{"tool": "Bash", "input.command": "git status*"}`."""

TOOL = "tool"
"""The path of a tool's name in the arguments that coding agents ask about, and the tag of requests for it."""

MAIN = {
    "Bash": "input.command",
    "Edit": "input.file_path",
    "NotebookEdit": "input.notebook_path",
    "Read": "input.file_path",
    "WebFetch": "input.url",
    "Write": "input.file_path",
}
"""The argument of a known tool that `--match` is about, by its path."""

BESIDE_A_COMMAND = frozenset({"command", "cwd", "description", "run_in_background", "timeout", TOOL})
"""Arguments beside a command that a rule need not name."""

_COMMANDS = frozenset({"command", "input.command"})
"""The paths of a command: in the arguments of a framework's agent, and of a coding agent."""

MOST = 20
"""Most paths of a rule."""

LONGEST = 4_096
"""Most characters of a path and its pattern, as JSON."""

_URL = re.compile(r"(https?://[A-Za-z0-9.-]+(?::[0-9]+)?/[^*]*)\*")
_URL_REST = re.compile(r"[A-Za-z0-9_./:@+=,?&#~-]*")


def check_where(where: Where) -> None:
    """Raise BadInput for a rule that would match everything, or nothing."""
    if not where:
        raise _bad("a rule needs something to match: a tool, or an argument.")
    if len(where) > MOST:
        raise _bad(f"a rule can match at most {MOST} arguments.")
    for path, pattern in where.items():
        if not all(path.split(".")) or len(path) + len(str(pattern)) > LONGEST:
            raise _bad(f"{path[:LONGEST]!r} is not the path of an argument, or its pattern is too long.")
        if not isinstance(pattern, str):
            continue
        if path == TOOL and WILD in pattern:
            raise _bad(f"{pattern!r} is not the name of one tool.")
        try:
            _kind_of(path)(pattern)
        except ValueError as error:
            raise _bad(f"{pattern!r} cannot be matched against {path}: {error}.") from error


def check_approves(where: Where) -> None:
    """Raise BadInput for a rule that could approve nothing, because it does not name the command."""
    tool = where.get(TOOL)
    if isinstance(tool, str) and _last(MAIN.get(tool, "")) == "command" and not _COMMANDS & where.keys():
        raise _bad(
            f"a rule that approves {tool} must name the command, or it approves nothing: give a pattern for"
            " it with match, such as 'git status*'."
        )


def matches(where: Where, arguments: Json, tool: str | None, *, allow: bool) -> bool:
    """Whether a rule matches a request, by its arguments and its tag `tool`, if it has one.

    A rule that allows must name the command if there is one, and all unusual arguments beside it.
    """
    fits = all(
        _is_tool(pattern, arguments, tool) if path == TOOL else _fits(path, pattern, arguments)
        for path, pattern in where.items()
    )
    return (
        bool(where)
        and fits
        and not (
            allow
            and any(
                f"{above}command" not in where
                or not all(name in BESIDE_A_COMMAND or f"{above}{name}" in where for name in level)
                for above, level in (("", arguments), ("input.", at(arguments, "input")))
                if isinstance(level, dict) and "command" in level
            )
        )
    )


def _is_tool(name: Json, arguments: Json, tagged: str | None) -> bool:
    """Whether a request is about a tool, by its arguments and by its tag, as far as it has them.

    With an agent framework, the model controls the arguments, so by these alone it could pretend to be
    another tool.
    """
    told = [one for one in (tagged, at(arguments, TOOL)) if one is not None]
    return bool(told) and all(one == name for one in told)


def at(value: Json, path: str) -> Json:
    """Return the value at a path of names with dots between them; None if there is none."""
    for name in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _fits(path: str, pattern: Json, arguments: Json) -> bool:
    """Whether the argument at a path matches the pattern of a rule."""
    value = at(arguments, path)
    if not (isinstance(pattern, str) and isinstance(value, str)):
        return value is not None and same_json(pattern, value)
    try:
        return _kind_of(path)(pattern)(value)
    except ValueError:
        return False


def _kind_of(path: str) -> Callable[[str], Callable[[str], bool]]:
    """Return the parser of the patterns for an argument."""
    return _KINDS.get(_last(path), _text)


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _text(pattern: str) -> Callable[[str], bool]:
    """Return the test for a text. A `*` stands for plain characters."""
    parts = pattern.split(WILD)
    return lambda text: wild_fits(parts, text)


def _command(pattern: str) -> Callable[[str], bool]:
    """Return the test for a shell command."""
    return CommandPattern(pattern).fits


def _file(pattern: str) -> Callable[[str], bool]:
    """Return the test for a file. A `*` at the end after a slash stands for everything below the folder.

    Elsewhere it matches a part of one name. It never matches a name that begins with a dot.
    """
    if not _is_whole(pattern):
        raise ValueError("it must be an absolute path without . and ..")
    *folders, last = pattern.split("/")
    deep = last == WILD

    wanted = folders if deep else [*folders, last]

    def fits(path: str) -> bool:
        names = path.split("/")
        below = names[len(wanted) :]
        return (
            _is_whole(path)
            and len(names) >= len(wanted)
            and bool(below) == deep
            and all(map(_name_fits, wanted, names))
            and all(is_plain(name) and not name.startswith(".") for name in below)
        )

    return fits


def _name_fits(pattern: str, name: str) -> bool:
    """Whether a name of a path matches."""
    hidden = name.startswith(".") and pattern.startswith(WILD)
    return not hidden and wild_fits(pattern.split(WILD), name)


def _is_whole(path: str) -> bool:
    """Whether a path names the same place from every folder."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and path.isprintable()
        and "\\" not in path
        and posixpath.normpath(path) == path
    )


def _url(pattern: str) -> Callable[[str], bool]:
    """Return the test for a URL. A `*` can only be at its end, after the host."""
    if WILD not in pattern:
        return lambda url: url == pattern
    read = _URL.fullmatch(pattern)
    if read is None:
        raise ValueError("a * can only be at the end of a URL, after the host and a slash")
    begin = read[1]

    def fits(url: str) -> bool:
        rest = url.removeprefix(begin)
        return url.startswith(begin) and ".." not in url and _URL_REST.fullmatch(rest) is not None

    return fits


_KINDS: dict[str, Callable[[str], Callable[[str], bool]]] = {
    "command": _command,
    "cwd": _file,
    "file_path": _file,
    "notebook_path": _file,
    "path": _file,
    "url": _url,
}
"""How an argument is compared, by the last part of its path. All others are texts."""


def _bad(message: str) -> BadInput:
    return BadInput(message, code="bad-rule")
