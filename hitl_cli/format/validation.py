"""Readable messages about invalid values in settings, documents and requests, with their place."""

from __future__ import annotations

import re
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.errors import BadInput
from hitl_cli.format.json import why_not_json
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KINDS = {
    "array": "a list",
    "object": "a table",
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "datetime": "a date and time, such as 2026-11-27T12:00:00Z",
}
_PLACE = r" - at `(?:key in )?\$\.?(.*)`$"
_EXPECTED = r"Expected `(.+?)`, got `(.+?)`"
_RANGE = r"Expected `(int|float)` (>=|<=|>|<) (.+)"
_LENGTH = r"Expected `(str|array)` of length (>=|<=) (\d+)"
_PART = r"[^.[\]]+|\[.*?\]"
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_ENUM = r"Invalid enum value (.+)"
_UNKNOWN = r"Object contains unknown field `(.+)`"
_URL = r"Expected `str` matching regex '\^https\?://.*'"
_MISSING = r"Object missing required field `(.+)`"
_NO_INSTANT = "Invalid RFC3339 encoded datetime"


def located(error: Exception) -> tuple[str, str]:
    """Return the path of the value that an error is about, and the error without it."""
    said = str(error)
    path = found[1] if (found := re.search(_PLACE, said)) else ""
    what = re.sub(_PLACE, "", said)
    if match := re.fullmatch(_UNKNOWN, what) or re.fullmatch(_MISSING, what):
        path = within(path, match[1])
    return path, what


def within(path: str, inner: str) -> str:
    """Return a path within another path."""
    return f"{path}{'' if not path or not inner or inner[0] == '[' else '.'}{inner}"


@contextmanager
def about(field: str) -> Iterator[None]:
    """Attribute BadInput errors in the block to a field of the input."""
    try:
        yield
    except BadInput as error:
        inside = [(within(field, path), what) for path, what in error.problems]
        error.problems = tuple(inside) or ((field, str(error)),)
        raise


def in_document(error: Exception, shape: Any, field: str = "field") -> str:
    """Return what is wrong with a JSON document that should have this shape."""
    if isinstance(error, msgspec.ValidationError):
        return in_words(error, shape, field=field, table="an object")
    return why_not_json(error)


def way_to(error: msgspec.ValidationError, document: Any, shape: Any) -> list[str | int]:
    """Return the keys that lead to the invalid value of an error.

    msgspec writes `[...]` instead of an entry's key. It is the entry that, alone, causes the same error.
    """

    def is_alone(name: str | int) -> bool:
        try:
            msgspec.convert(_with_one(document, way, name), inspected(shape))
        except msgspec.ValidationError as other:
            return str(other) == str(error)
        return False

    way: list[str | int] = []
    at = document
    for part in re.findall(_PART, found[1] if (found := re.search(_PLACE, str(error))) else ""):
        if part == "[...]":
            way.append(next(filter(is_alone, at if isinstance(at, dict) else range(len(at)))))
        else:
            way.append(int(part[1:-1]) if part[0] == "[" else part)
        at = at[way[-1]]
    return way


def _with_one(document: Any, way: Sequence[str | int], name: str | int) -> Any:
    """Return a document in which a table or a list has only one of its entries."""
    if not way:
        return {name: document[name]} if isinstance(document, dict) else [document[name]]
    inner = _with_one(document[way[0]], way[1:], name)
    if isinstance(document, dict):
        return {**document, way[0]: inner}
    return [inner if number == way[0] else one for number, one in enumerate(document)]


def in_words(
    error: msgspec.ValidationError,
    shape: Any = None,
    *,
    field: str = "setting",
    table: str = "a table",
    named: str | None = None,
    value: str = "",
) -> str:
    """Return what is wrong and where; `shape` is the expected type, for suggestions.

    `field` is the word for a named value, and `table` the word for several. `named` is the place with all
    names, and `value` the value there, if it is to be shown.
    """
    said = str(error)
    place = found[1] if (found := re.search(_PLACE, said)) else ""
    what = re.sub(_PLACE, "", said)
    shown = place if named is None else named
    where = shown or "it"
    if match := re.fullmatch(_EXPECTED, what):
        given = f" ({value})" if value else ""
        kinds = _one_of(allowed) if (allowed := _allowed(shape, place)) else _kinds(match[1], table)
        return f"{where} must be {kinds}, not {_kinds(match[2], table)}{given}"
    if match := re.fullmatch(_RANGE, what):
        given = f", not {value}" if value else ""
        return f"{where} must be {_KINDS[match[1]]}, {_BOUNDS[match[2]]} {match[3]}{given}"
    if match := re.fullmatch(_LENGTH, what):
        if match[2] == ">=" and match[3] == "1":
            return f"{where} must not be empty"
        unit = "characters" if match[1] == "str" else "entries"
        return f"{where} must be {_KINDS[match[1]]} of {_BOUNDS[match[2]]} {match[3]} {unit}"
    if re.fullmatch(_URL, what):
        return f"{where} must be a URL, such as https://example.org/page"
    if match := re.fullmatch(_ENUM, what):
        allowed = _allowed(shape, place)
        return f"{where} cannot be {match[1]}" + (f": use {_one_of(allowed)}" if allowed else "")
    if match := re.fullmatch(_UNKNOWN, what):
        known = [] if shape is None else _names(_at(shape, place))
        near = get_close_matches(match[1], known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(known)})" if known else ""
        return f"{f'{shown} has' if shown else 'there is'} no {field} {match[1]}{hint}"
    if match := re.fullmatch(_MISSING, what):
        return f"{where} lacks {match[1]}"
    if what == _NO_INSTANT:
        return f"{where} must be {_KINDS['datetime']}"
    return f"{shown}: {what}" if shown else what


def _kinds(names: str, table: str) -> str:
    """Replace msgspec's names of types by words."""
    words = _KINDS | {"object": table}
    several = names.removesuffix(" | null").split(" | ")
    return " or ".join(words.get(name, name) for name in several)


def _allowed(shape: Any, place: str) -> list[str]:
    """Return the values to which a place is limited; empty if it takes others, too."""
    return [] if shape is None else sorted(map(str, getattr(_at(shape, place), "values", ())))


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _names(kind: Any) -> list[str]:
    """Return the names of the fields of a type."""
    return [field.encode_name for field in getattr(kind, "fields", ())]


def _at(shape: Any, place: str) -> Any:
    """Return the msgspec.inspect type at a path such as `groups.ops.members[0]`."""
    kind: Any = msgspec.inspect.type_info(shape)
    for part in re.findall(_PART, place):
        kind = _plain(kind)
        own = next((one.type for one in getattr(kind, "fields", ()) if one.encode_name == part), None)
        kind = own or getattr(kind, "value_type", None) or getattr(kind, "item_type", None)
    return _plain(kind)


def _plain(kind: Any) -> Any:
    """Return a type without None."""
    several = [one for one in getattr(kind, "types", ()) if not isinstance(one, msgspec.inspect.NoneType)]
    return several[0] if several else kind
