"""Approving with changes: the form for changing the arguments of a request, and the changes made.

The data of such an approval is the approved arguments, so that every SDK gets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json, comparable, same_json
from hitl_cli.format.stable_ids import stable_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.wire import Vote
    from hitl_cli.requests.question import Question

MOST_COMPARED = 4_000
"""Lines of two texts that are compared, which takes longer the more there are."""

SMALL = 50_000
"""Bytes of arguments, as JSON, that every form can hold."""

NOTHING = "nothing"
"""The text of a value that is not there."""


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A changed place in the arguments. `before` or `now` is left out if there was or is nothing."""

    path: str
    before: Json | UnsetType = UNSET
    now: Json | UnsetType = UNSET

    @property
    def sentence(self) -> str:
        """The change as a text on one line, such as `amount: 120 → 80`."""
        said = f"{_in_words(self.before)} → {_in_words(self.now)}"
        if self.diff is not None:
            signs = [line[:1] for line in self.diff[2:]]
            said = f"lines added: {signs.count('+')}, removed: {signs.count('-')}"
        return f"{self.path or 'arguments'}: {said}"

    @property
    def diff(self) -> list[str] | None:
        """The lines of a unified diff, if the value is a text of several lines; None otherwise."""
        before, now = self.before, self.now
        if not isinstance(before, str) or not isinstance(now, str) or "\n" not in before + now:
            return None
        from difflib import unified_diff

        one, other = before.split("\n"), now.split("\n")
        if len(one) + len(other) > MOST_COMPARED:
            return None
        return list(unified_diff(one, other, "before", "now", lineterm=""))


def answer_form(question: Question) -> dict[str, Any] | bool | None:
    """Return the JSON Schema of the data of an approval: that of the form, or of the editable arguments."""
    if question.editable is None:
        return question.form
    from hitl_cli.forms.fields import EDITABLE

    schema = shape_of(question.arguments) if question.editable is True else question.editable
    return {**schema, "default": question.arguments, EDITABLE: True} if isinstance(schema, dict) else False


def is_as_asked(question: Question, data: Json) -> bool:
    """Whether the data of an approval is the unchanged editable arguments, which are known to fit."""
    return question.editable is not None and same_json(data, question.arguments)


def surely_fits(schema: Json, value: Json, depth: int = 4) -> bool:
    """Whether a value fits a schema of objects and plain texts. False if a full check is needed.

    It avoids importing `forms`, which takes longer than everything else that a hook does.
    """
    if schema == {"type": "string"}:
        return isinstance(value, str)
    inner = schema.get("properties") if isinstance(schema, dict) and len(schema) == 1 else None
    if not (isinstance(inner, dict) and inner and isinstance(value, dict)) or depth == 0:
        return False
    return all(name in value and surely_fits(one, value[name], depth - 1) for name, one in inner.items())


def shape_of(value: Json) -> dict[str, Any]:
    """Return a JSON Schema of the values with the same names and types. A list may get other entries."""
    match value:
        case dict():
            members = {name: shape_of(inner) for name, inner in value.items()}
            return {
                "type": "object",
                "properties": members,
                "required": [*members],
                "additionalProperties": False,
            }
        case list():
            kinds = list({msgspec.json.encode(kind): kind for kind in map(shape_of, value)}.values())
            if not kinds:
                return {"type": "array", "maxItems": 0, "readOnly": True}
            return {"type": "array", "items": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}
        case None:
            return {"const": None, "readOnly": True}
    names = {bool: "boolean", int: "integer", str: "string"}
    return {"type": names.get(type(value), "number")}


def approved_arguments(question: Question, data: Json) -> Json:
    """Return the arguments that the data of an approval approves.

    A plain yes, as from a tool that does not know `editable`, approves them unchanged.
    """
    plain = data is True or data is None or data in question.choices
    return question.arguments if question.editable is None or plain else data


def kind_of_approval(question: Question, vote: Vote) -> tuple[str | None, str | None]:
    """Return what a vote approves: its choice, and a hash of the arguments if they are editable."""
    if question.editable is None:
        return vote.choice, None
    said = approved_arguments(question, vote.data)
    return vote.choice, said if isinstance(said, str) else hash_of(said)


def hash_of(arguments: Json) -> str:
    """Return a hash of arguments, which is enough for counting votes."""
    return stable_id(comparable(msgspec.json.encode(arguments, order="sorted")), 32)


def changed(question: Question, data: Json) -> tuple[Change, ...]:
    """Return the changes that an approval's data makes to the arguments; empty if they are not editable."""
    if question.editable is None:
        return ()
    return tuple(changes(question.arguments, approved_arguments(question, data)))


def leaves(value: Json, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each single value in arguments."""
    from hitl_cli.forms.paths import path_of

    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from leaves(one, (*where, key))
    if not value or not isinstance(value, dict | list):
        yield path_of(where), _in_words(value)


def changes(
    before: Json | UnsetType, now: Json | UnsetType, where: tuple[str | int, ...] = ()
) -> Iterator[Change]:
    """Yield the changed places. It descends as long as both values have the same names or length."""
    from hitl_cli.forms.paths import path_of

    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from changes(before.get(name, UNSET), now.get(name, UNSET), (*where, name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from changes(one, other, (*where, number))
    elif before is UNSET or now is UNSET or not same_json(before, now):
        yield Change(path=path_of(where), before=before, now=now)


def _in_words(value: Json | UnsetType) -> str:
    """Return a value as JSON; a plain text without quotes."""
    if value is UNSET:
        return NOTHING
    plain = isinstance(value, str) and value.isprintable() and value == value.strip() and value != ""
    return value if plain else msgspec.json.encode(value).decode()
