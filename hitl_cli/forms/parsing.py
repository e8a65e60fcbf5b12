"""Turns the texts that a person types for the fields into the answer as JSON."""

from __future__ import annotations

import re
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, UnsetType

from hitl_cli.errors import BadInput, DoesNotFit
from hitl_cli.format.json import to_json
from hitl_cli.forms.added_formats import LOCAL_FORMATS
from hitl_cli.forms.datetimes import with_zone
from hitl_cli.forms.fields import Field, Group, flat, initial, tree
from hitl_cli.forms.paths import row_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Json

WORDS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}

NAMED = 10
"""Most names in a message."""

_INTEGER = re.compile(r"[+-]?[0-9]+")


def fill(schema: Json, assignments: Sequence[tuple[str, str]]) -> Json:
    """Return the answer that paths and texts give, together with the form's defaults.

    The empty path is the value of a form that is a single field. A list takes several texts, or one JSON
    array; `items[0].price` is in the first row of a list of objects. A field without a text gets its default.
    If it is required and has none, it gets null or its only choice, where that fits. `check` then tells
    whether the answer fits. Raises BadInput for a path that is not a field, several texts for one value, or a
    text that cannot be read.
    """
    made = fill_tree(tree(schema), assignments)
    return None if made is UNSET else made


def fill_tree(form: Field | Group, assignments: Sequence[tuple[str, str]]) -> Json | UnsetType:
    """Return the value of a form, or of a row in it, from paths and texts. Raises BadInput."""
    known = {field.path: field for field in flat(form)}
    texts: dict[str, list[str]] = {}
    rows: dict[str, dict[int, list[tuple[str, str]]]] = {}
    for name, text in assignments:
        path = next(iter(known)) if not name and len(known) == 1 else name
        if path in known:
            texts.setdefault(path, []).append(text)
            continue
        field, number, rest = _row_of(path, known)
        rows.setdefault(field.path, {}).setdefault(number, []).append((rest, text))
    given = {path: parse_all(known[path], several) for path, several in texts.items()}
    for path, numbered in rows.items():
        row = known[path].row
        assert row is not None
        if path in given:
            raise DoesNotFit(f"{path} is given as a whole or entry by entry, not both.")
        given[path] = [_row_filled(row, path, number, numbered[number]) for number in sorted(numbered)]
    return _build(form, given)


def _row_of(path: str, known: dict[str, Field]) -> tuple[Field, int, str]:
    """Return the rows that a path leads into, the row's number, and the path in it. Raises BadInput."""
    for field in known.values():
        found = None if field.row is None else row_in(path, field.path)
        if found is not None:
            return field, *found
    raise DoesNotFit(_unknown(path, known))


def _row_filled(row: Group, path: str, number: int, assignments: list[tuple[str, str]]) -> Json | UnsetType:
    """Return a row from paths and texts. Raises BadInput, with the path of the row."""
    try:
        return fill_tree(row, assignments)
    except DoesNotFit as error:
        raise DoesNotFit(f"{path}[{number}]: {error}") from error


def _build(node: Field | Group, given: dict[str, Json]) -> Json | UnsetType:
    """Return the value at a node of the form's tree; UNSET if it is left out."""
    if isinstance(node, Field):
        return given[node.path] if node.path in given else initial(node)
    named = any(field.path in given for field in flat(node))
    if not named and node.default is not UNSET:
        return node.default
    if not named and not node.needed:
        return UNSET
    if not named and node.nullable:
        return None
    made = dict(node.default) if isinstance(node.default, dict) else {}
    for member in node.members:
        name = member.keys[-1]
        value = _build(member, given)
        if value is not UNSET and (name not in made or any(one.path in given for one in flat(member))):
            made[name] = value
    return made


def parse_all(field: Field, texts: list[str]) -> Json:
    """Return the value of a field from one or several texts. Raises BadInput."""
    if len(texts) == 1:
        return parse_field(field, texts[0])
    if field.kind == "rows":
        return [entry for text in texts for entry in _parse_list(field, text)]
    if field.kind != "list" or field.item is None:
        raise DoesNotFit(f"{named(field)} is given {len(texts)} times, but takes one value.")
    return [parse_field(field.item, text) for text in texts]


def parse_field(field: Field, text: str) -> Json:
    """Return the value of a text. Raises BadInput with the path and what is expected.

    A text is kept exactly; a time without a zone is in UTC. `null` is null if the field may be null, except
    in a text field. A list is given as a JSON array, or as its single entry.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{named(field)} is not valid UTF-8.") from error
    match field.kind:
        case "text":
            return text
        case "choice":
            return _parse_choice(field, text)
        case _ if field.nullable and text.strip() == "null":
            return None
        case "date":
            return text.strip()
        case "time" | "date-time":
            return with_zone(text.strip(), "" if field.format in LOCAL_FORMATS else "Z")
        case "list" | "rows":
            return _parse_list(field, text)
        case "boolean":
            return _parse_boolean(field, text)
        case "json":
            return _parse_json(field, text)
        case _:
            return _parse_number(field, text.strip())


def _parse_list(field: Field, text: str) -> list[Json]:
    """Return a list from a JSON array or a single entry. Raises BadInput."""
    read = parsed_json(text)
    if isinstance(read, list):
        return read
    if isinstance(read, dict) and field.row is not None:
        return [read]
    if field.item is None:
        raise DoesNotFit(
            f"{named(field)} must be a JSON array, or be filled in with {named(field)}[0].FIELD."
        )
    return [parse_field(field.item, text)]


def _parse_boolean(field: Field, text: str) -> bool:
    """Return true or false. Raises BadInput."""
    word = text.strip().lower()
    if word not in WORDS:
        raise DoesNotFit(f"{named(field)} must be true or false (or yes or no).")
    return WORDS[word]


def _parse_json(field: Field, text: str) -> Json:
    """Return any JSON. Raises BadInput."""
    read = parsed_json(text)
    if read is UNSET:
        raise DoesNotFit(f"{named(field)} must be JSON; a text needs quotes, as in '\"text\"'.")
    return read


def _parse_choice(field: Field, text: str) -> Json:
    """Return the choice with a label; a text may also be given as JSON. Raises BadInput."""
    for called in (text, text.strip()):
        if called in field.labels:
            return field.choices[field.labels.index(called)]
    read = parsed_json(text)
    if field.nullable and (read is None or text.strip() == field.nothing):
        return None
    for choice in field.choices:
        if choice in (text, text.strip()) or (read is not UNSET and to_json(choice) == to_json(read)):
            return choice
    names = [*field.labels, *([field.nothing or "null"] if field.nullable else [])]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    raise DoesNotFit(f"{named(field)} must be one of {', '.join(dict.fromkeys(names[:NAMED]))}{more}.")


def _parse_number(field: Field, text: str) -> Json:
    """Return a number. Raises BadInput."""
    whole = field.kind == "integer"
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
        read = msgspec.json.decode(text, type=float)
    except (msgspec.DecodeError, ValueError) as error:
        what = "a whole number, such as 120" if whole else "a number, such as 1.5"
        raise DoesNotFit(f"{named(field)} must be {what}.") from error
    if field.format == "decimal" and Decimal(text) != Decimal(repr(read)):
        return text  # more digits than a JSON number keeps
    return int(read) if whole and read.is_integer() else read


def parsed_json(text: str) -> Json | UnsetType:
    """Return the JSON of a text; UNSET if it is not JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return UNSET


def named(field: Field) -> str:
    """Return the name of a field in messages."""
    return field.path or "the answer"


def _unknown(path: str, known: dict[str, Field]) -> str:
    """Return the message for a path that is not a field."""
    if not known:
        return "this form has no fields to fill in."
    if list(known) == [""]:
        return f"this form has no field {path!r}: the answer is a single value."
    if not path:
        return f"the form has {len(known)} fields ({', '.join([*known][:NAMED])}): name one of them."
    within = [one for one in known if one.startswith((f"{path}.", f"{path}["))]
    near = within or get_close_matches(path, known, NAMED) or list(known)
    more = f" and {len(near) - NAMED} more" if len(near) > NAMED else ""
    those = "it consists of" if within else "did you mean" if len(near) < len(known) else "its fields are"
    ends = "?" if those == "did you mean" else "."
    return f"{path!r} is not a field of this form; {those} {', '.join(near[:NAMED])}{more}{ends}"
