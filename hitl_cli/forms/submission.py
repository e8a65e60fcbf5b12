"""A form as a page fills it in: what stands in each field at first, and what the texts that are sent make.

A page sends every field, also those that nobody touched: an empty text is one that is not given. What had a
value at first and is empty now was emptied, and does not get its default again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json, same_json
from hitl_cli.errors import BadInput
from hitl_cli.format.json import to_json
from hitl_cli.forms.checking import overlap, problems, problems_at
from hitl_cli.forms.fields import fields
from hitl_cli.forms.messages import Problem
from hitl_cli.forms.parsing import fill, named, parse_all, parsed_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitl_cli.forms.fields import Field

type Texts = Mapping[str, Sequence[str]]
"""What was sent for each path, as a browser does it: several for what may be ticked several times."""


class _Submission(Struct, frozen=True, kw_only=True):
    """What texts make: the data, and what is wrong with it, so that it is no answer."""

    data: Json
    problems: tuple[Problem, ...] = ()


def at_first(schema: Json) -> dict[str, list[str]]:
    """Return the texts that a page begins with, by path: what holds if nobody says anything.

    A secret is never shown. Raises BadInput if the form is none.
    """
    made = fill(schema, [])
    begun: dict[str, list[str]] = {}
    for field in fields(schema):
        value = value_at(made, field.keys)
        if not field.secret and value is not UNSET and (value is not None or None in field.choices):
            begun[field.path] = _written(field, value)
    return begun


def read(schema: Json, sent: Texts) -> _Submission:
    """Return what the texts that a page sent make, checked as the whole that it is.

    Raises BadInput if the form is none, or has no such field.
    """
    begun = at_first(schema)
    known = fields(schema)
    given = [
        (path, text) for path in sent if path not in {field.path for field in known} for text in sent[path]
    ]
    left_out: list[Field] = []
    wrong: list[Problem] = []
    whole = True
    for field in known:
        texts = _said(field, sent.get(field.path, ()))
        if not texts and field.path in sent:
            texts = _emptied(field, begun=field.path in begun)
            left_out += [field] if not texts and field.path in begun else []
        unread = _unreadable(field, texts)
        if unread is not None:
            wrong.append(Problem(field.path, unread))
            whole = False
        elif texts:
            wrong += _problems_in(schema, field, parse_all(field, texts))
        given += [(field.path, text) for text in texts]
    if not whole:
        return _Submission(data=None, problems=tuple(wrong))
    data = fill(schema, given)
    for field in left_out:
        data = _without(data, field.keys)
    return _Submission(data=data, problems=tuple(problems(schema, data)))


def _problems_in(schema: Json, field: Field, value: Json) -> list[Problem]:
    """Return what does not fit in one field, whatever the others say."""
    found = []
    for problem in problems_at(schema, field.pointers, value):
        dot = "." if problem.path and problem.path[0] != "[" else ""
        found.append(Problem(f"{field.path}{dot}{problem.path}", problem.reason))
    return found


def owner(known: Iterable[Field], problem: Problem) -> Field | None:
    """Return the field in which a problem is made good; None where that is not in one alone."""
    around = [
        field for field in known if overlap(field.path, problem.path) and len(field.path) <= len(problem.path)
    ]
    return max(around, key=lambda field: len(field.path), default=None)


def labels_of(field: Field) -> tuple[str, ...]:
    """Return what can be chosen in a field, one or several of it; nothing where it is typed."""
    return field.labels or (field.item.labels if field.item is not None else ())


def is_missing(field: Field) -> bool:
    """Whether there is no answer while nothing is said here."""
    return field.required and field.default is UNSET and not field.nullable and len(field.choices) != 1


def _said(field: Field, texts: Sequence[str]) -> list[str]:
    """Return the texts for a field that say something: of a list those of its lines."""
    plain = [_plain_breaks(text) for text in texts]
    labels = labels_of(field)
    if labels:
        called = {_plain_breaks(label): label for label in reversed(labels)}
        plain = [called.get(text, text) for text in plain]
    elif field.kind == "list":
        plain = [line for text in plain for line in _lines(text)]
    return [text for text in plain if text]


def _lines(text: str) -> list[str]:
    """Return the lines of a list that say something; a JSON array may have several."""
    if isinstance(parsed_json(text), list):
        return [text]
    return [line for line in text.split("\n") if line.strip()]


def _plain_breaks(text: str) -> str:
    """Return a text with line breaks as they were typed: browsers send others."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _emptied(field: Field, *, begun: bool) -> list[str]:
    """Return what it means that a field was sent empty; nothing where it is left out."""
    if field.kind == "list" and (field.required or (begun and field.needed)):
        return ["[]"]
    if begun and field.kind == "text" and field.needed:
        return [""]
    return ["null"] if begun and field.nullable and field.kind not in ("text", "list") else []


def _unreadable(field: Field, texts: list[str]) -> str | None:
    """Return why texts cannot be the value of a field, to be read after its name, or None."""
    if not texts:
        return "is required" if is_missing(field) else None
    try:
        parse_all(field, texts)
    except BadInput as refused:
        return str(refused).removeprefix(named(field)).strip().removesuffix(".")
    return None


def _written(field: Field, value: Json) -> list[str]:
    """Return the texts that a page shows for a value: for each entry of a list one, else JSON."""
    if field.kind == "list" and field.item is not None and isinstance(value, list) and value:
        texts = [_one_text(field.item, entry) for entry in value]
        if labels_of(field) or all(text.strip() and "\n" not in text for text in texts):
            return texts
    return [_one_text(field, value)]


def _one_text(field: Field, value: Json) -> str:
    """Return a value as it is typed, or what it is called."""
    for choice, label in zip(field.choices, field.labels, strict=True):
        if same_json(choice, value):
            return label
    if isinstance(value, str) and field.kind in ("text", "date", "time", "date-time"):
        return value
    return to_json(value)


def value_at(data: Json, keys: Sequence[str]) -> Json | UnsetType:
    """Return what is at a place in the data, UNSET if nothing is."""
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return UNSET
        data = data[key]
    return data


def _without(data: Json, keys: Sequence[str]) -> Json:
    """Return the data without what is at a place."""
    if not keys or not isinstance(data, dict) or keys[0] not in data:
        return data
    rest = {name: value for name, value in data.items() if name != keys[0]}
    return rest if len(keys) == 1 else {**data, keys[0]: _without(data[keys[0]], keys[1:])}
