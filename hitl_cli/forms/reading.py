"""An answer for people to read, with the titles of its form, and the differences between several answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, UnsetType

from hitl_cli.client.wire import Json, same_json
from hitl_cli.format.json import to_json
from hitl_cli.forms.fields import Field, Group, fields, tree
from hitl_cli.forms.paths import value_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOTHING = "-"

MOST_COLUMNS = 8
"""Columns of rows at most; objects with more are shown one below the other."""

_LIKE_MORE = re.compile(r'^"|[;\n]')
"""Characters of a text that could be mistaken for its end on a line with other texts."""


class Difference(Struct, frozen=True):
    """One field on which people's answers differ, and what each of them gave."""

    about: str
    said: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """The difference as a sentence."""
        return f"{self.about}: {', '.join(f'{text} ({who})' for who, text in self.said)}"


def label_of(node: Field | Group) -> str:
    """Return the label of a field or a group."""
    return node.title or (as_label(str(node.keys[-1])) if node.keys else "Your answer")


def as_label(name: str) -> str:
    """Return a name as a label: `due_date` as `Due date`; other names unchanged."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return name
    words = name.replace("_", " ").strip()
    return f"{words[:1].upper()}{words[1:]}"


def asks_yes_or_no(fields: Sequence[Field]) -> bool:
    """Whether a form is a single field that is answered by yes or no."""
    return (
        len(fields) == 1 and fields[0].kind == "boolean" and not (fields[0].nullable or fields[0].read_only)
    )


def yes_or_no(form: Json, data: Json | UnsetType) -> str | None:
    """Return `Yes` or `No` if that is all that a form asks for; None for any other form."""
    asked = [] if form is None else fields(form)
    value = value_at(data, asked[0].keys) if asks_yes_or_no(asked) else None
    return ("Yes" if value else "No") if isinstance(value, bool) else None


def as_read(form: Json, data: Json) -> Json:
    """Return an answer with titles instead of names and values."""
    return data if form is None else _as_read(tree(form), data)


def _as_read(node: Field | Group, data: Json) -> Json:
    if isinstance(node, Group):
        if not isinstance(data, dict):
            return data
        known = {str(member.keys[-1]): member for member in node.members}
        made: dict[str, Json] = {}
        for name, value in data.items():
            label = label_of(known[name]) if name in known else name
            shown = _as_read(known[name], value) if name in known else value
            made[name if label in made else label] = shown
        return made
    if isinstance(data, list):
        inner = node.row or node.item
        return data if inner is None else [_as_read(inner, one) for one in data]
    for choice, label in zip(node.choices, node.labels, strict=True):
        if same_json(choice, data):
            return label
    return node.nothing if data is None and node.nothing else data


def in_words(value: Json) -> str:
    """Return the result of `as_read` on one line."""
    match value:
        case str():
            return to_json(value) if not value or _LIKE_MORE.search(value) else value
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case dict():
            return "; ".join(f"{name}: {_nested(inner)}" for name, inner in value.items()) or "{}"
        case list():
            return ", ".join(map(_nested, value)) or "none"
    return to_json(value)


def in_lines(value: Json) -> str:
    """Return the result of `as_read`, with each field on its own line, and each object of a list."""
    if not isinstance(value, dict) or not value:
        return "\n".join(map(in_words, rows_of(value) or [value]))
    return "\n".join(_line(name, inner) for name, inner in value.items())


def rows_of(value: Json) -> Sequence[dict[str, Json]]:
    """Return a list of objects that have only single values, to be shown as rows; empty for anything else."""
    if not isinstance(value, list) or not all(isinstance(row, dict) and row for row in value):
        return []
    nested = any(isinstance(inner, (dict, list)) for row in value for inner in row.values())
    return [] if nested or len({name for row in value for name in row}) > MOST_COLUMNS else value


def _line(name: str, value: Json) -> str:
    if rows := rows_of(value):
        return "\n".join([f"{name}:", *(f"  {in_words(row)}" for row in rows)])
    return f"{name}: {_nested(value)}"


def _nested(value: Json) -> str:
    return f"({in_words(value)})" if isinstance(value, dict) else in_words(value)


def differences(form: Json, said: Sequence[tuple[str, Json]]) -> tuple[Difference, ...]:
    """Return the fields on which several people's answers differ."""
    answers = [(who, dict(_leaves(as_read(form, data)))) for who, data in said]
    places = dict.fromkeys(place for _, leaves in answers for place in leaves)
    return tuple(
        Difference(place or "Answer", tuple((who, leaves.get(place, NOTHING)) for who, leaves in answers))
        for place in places
        if len({leaves.get(place) for _, leaves in answers}) > 1
    )


def _leaves(value: Json, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield each single value of an answer with its place in words. A list is one value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{where}, {name}" if where else name)
    else:
        yield where, in_words(value)
