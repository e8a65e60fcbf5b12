"""What a person fills in: the fields that a form's JSON Schema comes down to, in its order.

A form is a tree: groups (objects whose fields are known) of fields. What no line of text can hold (lists of
objects, alternatives of several types, what refers to itself) is one field, filled in as JSON.
"""

from __future__ import annotations

from sys import float_info
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json
from hitl_cli.forms.complexity import at_pointer, listed, mapped
from hitl_cli.forms.messages import FORMATS, counted, either, written
from hitl_cli.forms.paths import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


MAX_FIELDS = 200
"""A form of more, groups included, is filled in as one JSON text."""

MAX_NESTED = 10
"""How deep groups may be nested; what is deeper is filled in as JSON."""

type Kind = Literal[
    "text", "integer", "number", "boolean", "choice", "date", "time", "date-time", "list", "json"
]

LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")

_SCALARS = frozenset({"text", "integer", "number", "boolean", "choice", "date", "time", "date-time"})
_DATED: dict[str, Kind] = {"date": "date", "time": "time", "date-time": "date-time"}
_KINDS: dict[frozenset[str], Kind] = {
    frozenset({"string"}): "text",
    frozenset({"integer"}): "integer",
    frozenset({"number"}): "number",
    frozenset({"integer", "number"}): "number",
    frozenset({"boolean"}): "boolean",
    frozenset({"array"}): "list",
}


class Field(Struct, frozen=True, kw_only=True):
    """What is filled in at one place. All texts are the author's: show them through `text.printable`."""

    path: str
    """As in forms.paths; empty where the form is a single value."""

    keys: tuple[str, ...]
    kind: Kind
    required: bool
    """Whether there is no answer without it; what is in a group that may be left out is not."""

    needed: bool
    """Whether the group that it is in is not whole without it."""

    title: str | None = None
    description: str | None = None
    nullable: bool = False
    default: Json | UnsetType = UNSET
    choices: tuple[Json, ...] = ()
    labels: tuple[str, ...] = ()
    """What each choice is called: its text, or its JSON. No two are called the same."""

    hint: str = ""
    """What is allowed, such as `at least 1, at most 500`."""

    limits: dict[str, Json] = {}
    """What the schema says of its size and shape, by keyword, as far as that is of the right type."""

    format: str | None = None
    secret: bool = False
    item: Field | None = None
    """What each entry of a list is."""

    pointers: tuple[str, ...] = ()
    """Where the schema says what fits: JSON pointers, for `problems_at`."""


class Group(Struct, frozen=True, kw_only=True):
    """An object whose fields are known. Its texts are the author's, as those of a field."""

    keys: tuple[str, ...]
    needed: bool
    title: str | None = None
    description: str | None = None
    nullable: bool
    default: Json | UnsetType
    members: tuple[Field | Group, ...]


class _Place(NamedTuple):
    """Where a field or a group is: in the answer, and in the schema."""

    keys: tuple[str, ...]
    pointers: tuple[str, ...]
    required: bool
    needed: bool


WHOLE = _Place(keys=(), pointers=("#",), required=True, needed=True)


class _Part(NamedTuple):
    """A piece of the schema that a value must fit, and where it stands. `own`: not reached by a $ref."""

    pointer: str
    schema: dict[str, Json]
    own: bool


class _TooMany(Exception):
    """There are more fields than anybody would fill in."""


def fields(schema: Json) -> list[Field]:
    """Return what a person fills in, in order. Any JSON will do: what is no form is one field of JSON."""
    return list(flat(tree(schema)))


def tree(schema: Json) -> Field | Group:
    """Return the same as the tree that it is."""
    try:
        return _Reader(schema).read(WHOLE, frozenset())
    except (_TooMany, RecursionError):
        return Field(path="", keys=(), kind="json", required=True, needed=True, pointers=WHOLE.pointers)


def flat(node: Field | Group) -> Iterator[Field]:
    """Yield the fields of a tree, in order."""
    if isinstance(node, Field):
        yield node
        return
    for inner in node.members:
        yield from flat(inner)


class _Reader:
    def __init__(self, schema: Json) -> None:
        self._root = schema
        self._count = 0

    def read(self, place: _Place, above: frozenset[str]) -> Field | Group:
        """Return the field or the group at a place; `above` are the parts that it is within."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise _TooMany
        parts, nullable, plain = self._gather(place.pointers)
        within = frozenset(part.pointer for part in parts)
        if plain and len(place.keys) < MAX_NESTED and not within & above and _is_group(parts):
            return Group(
                keys=place.keys,
                needed=place.needed,
                title=_first_text([part for part in parts if part.own], "title"),
                description=_first_text(parts, "description"),
                nullable=nullable,
                default=_first(parts, "default", UNSET),
                members=tuple(self.read(inner, above | within) for inner in _members(parts, place)),
            )
        return self._field(place, parts, nullable=nullable, plain=plain)

    def _field(self, place: _Place, parts: list[_Part], *, nullable: bool, plain: bool) -> Field:
        choices = _choices_of(parts) if plain else self._alternatives(parts)
        kind = _kind_of(parts, choices) if plain or choices else "json"
        item = self._item(place, parts) if kind == "list" else None
        if kind == "list" and item is None:
            kind = "json"
        form = _first_text(parts, "format")
        return Field(
            path=path_of(place.keys),
            keys=place.keys,
            kind=kind,
            required=place.required,
            needed=place.needed,
            title=_first_text([part for part in parts if part.own], "title"),
            description=_first_text(parts, "description"),
            nullable=nullable or None in choices,
            default=_first(parts, "default", UNSET),
            choices=tuple(choices),
            labels=tuple(_labels(choices)),
            hint=_hint(parts, kind),
            limits=_limits(parts),
            format=form,
            secret=form == "password" or _first(parts, "writeOnly", None) is True,
            item=item,
            pointers=place.pointers,
        )

    def _item(self, place: _Place, parts: list[_Part]) -> Field | None:
        """Return what each entry of a list is, if it is something that a line can hold."""
        if any("prefixItems" in part.schema for part in parts):
            return None
        where = tuple(f"{part.pointer}/items" for part in parts if isinstance(part.schema.get("items"), dict))
        if not where:
            return None
        inner, nullable, plain = self._gather(where)
        if _is_group(inner) or _kind_of(inner, _choices_of(inner)) == "list":
            return None
        item = self._field(place._replace(pointers=where), inner, nullable=nullable, plain=plain)
        return item if item.kind in _SCALARS else None

    def _gather(self, pointers: Sequence[str]) -> tuple[list[_Part], bool, bool]:
        """Return all that holds at these places at once, whether null fits too, and whether that is all.

        Follows $ref within the form, allOf, and `anyOf: [X, null]`. It is not all where there are other
        alternatives, or references that lead elsewhere.
        """
        parts: list[_Part] = []
        nullable, plain = False, True
        seen: set[str] = set()
        ahead = [(pointer, True) for pointer in reversed(pointers)]
        while ahead:
            pointer, own = ahead.pop()
            schema = self._at(pointer)
            if pointer in seen or schema is True:
                continue
            seen.add(pointer)
            if not isinstance(schema, dict):
                plain = False
                continue
            parts.append(_Part(pointer, schema, own))
            inner = [(f"{pointer}/allOf/{index}", own) for index in range(len(listed(schema, "allOf")))]
            for keyword in ("anyOf", "oneOf"):
                if keyword in schema:
                    others = self._but_null(pointer, schema, keyword)
                    nullable = nullable or len(others) < len(listed(schema, keyword))
                    inner += [(one, own) for one in others[:1]] if len(others) == 1 else []
                    plain = plain and len(others) == 1
            reference = schema.get("$ref")
            if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
                inner.append((unquote(reference), False))
            elif reference is not None or "$dynamicRef" in schema or "$recursiveRef" in schema:
                plain = False
            ahead += reversed(inner)
        return parts, nullable or _takes_null(parts), plain

    def _but_null(self, pointer: str, schema: dict[str, Json], keyword: str) -> list[str]:
        """Return where the alternatives that are not just null stand."""
        return [
            f"{pointer}/{keyword}/{index}"
            for index, one in enumerate(listed(schema, keyword))
            if not (isinstance(one, dict) and one.get("type") == "null")
        ]

    def _alternatives(self, parts: list[_Part]) -> list[Json]:
        """Return the choices where each alternative is one value, or several, that the author names."""
        for part in parts:
            for keyword in ("anyOf", "oneOf"):
                found: dict[str, Json] = {}
                for index, one in enumerate(listed(part.schema, keyword)):
                    if isinstance(one, dict) and one.get("type") == "null":
                        values: list[Json] = [None]
                    else:
                        inner, _, plain = self._gather([f"{part.pointer}/{keyword}/{index}"])
                        values = _choices_of(inner) if plain else []
                    if not values:
                        break
                    found |= {_as_json(value): value for value in values}
                else:
                    if found:
                        return list(found.values())
        return []

    def _at(self, pointer: str) -> Json:
        return at_pointer(self._root, pointer)


def _members(parts: list[_Part], place: _Place) -> Iterator[_Place]:
    """Yield the places of the fields that the parts of a group describe together, in order."""
    needed = {name for part in parts for name in listed(part.schema, "required") if isinstance(name, str)}
    found: dict[str, list[str]] = {}
    for part in parts:
        for name, schema in mapped(part.schema, "properties").items():
            if schema is not False:
                found.setdefault(name, []).append(f"{part.pointer}/properties/{_escaped(name)}")
    for name, pointers in found.items():
        yield _Place(
            keys=(*place.keys, name),
            pointers=tuple(pointers),
            required=place.required and name in needed,
            needed=name in needed,
        )


def _is_group(parts: list[_Part]) -> bool:
    """Whether the parts describe an object whose fields are known."""
    types = _types_of(parts)
    named = any(mapped(part.schema, "properties") for part in parts)
    closed = any(
        "properties" in part.schema and part.schema.get("additionalProperties", False) is False
        for part in parts
    )
    return (types is None or types == {"object"}) and (named or closed) and not _choices_of(parts)


def _takes_null(parts: list[_Part]) -> bool:
    """Whether null is named among the types, wherever types are named."""
    types = [part.schema["type"] for part in parts if "type" in part.schema]
    return bool(types) and all(isinstance(given, list) and "null" in given for given in types)


def _types_of(parts: list[_Part]) -> frozenset[str] | None:
    """Return the types that fit, without null; None where any does."""
    fitting: frozenset[str] | None = None
    for part in parts:
        given = part.schema.get("type")
        names = [given] if isinstance(given, str) else given if isinstance(given, list) else None
        if names is not None:
            these = frozenset(name for name in names if isinstance(name, str) and name != "null")
            fitting = these if fitting is None else _narrowed(fitting, these)
    return fitting


def _narrowed(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Return the types that are in both; an integer is a number."""
    both = some & others
    integer = "integer" in some | others and "number" in some | others
    return both | {"integer"} if integer else both


def _choices_of(parts: list[_Part]) -> list[Json]:
    """Return the values of an enum or a const, in the author's order; none where any value may fit."""
    for part in parts:
        if "const" in part.schema:
            return [part.schema["const"]]
    for part in parts:
        if listed(part.schema, "enum"):
            return listed(part.schema, "enum")
    return [None] if any(part.schema.get("type") == "null" for part in parts) else []


def _kind_of(parts: list[_Part], choices: list[Json]) -> Kind:
    """Return how a value is written."""
    if choices:
        return "choice"
    types = _types_of(parts)
    if types is None:
        return "json"
    kind = _KINDS.get(types, "json")
    return _DATED.get(_first_text(parts, "format") or "", kind) if kind == "text" else kind


def _labels(choices: list[Json]) -> list[str]:
    """Return what each choice is called: a text is itself, unless that is another choice's JSON."""
    encoded = [_as_json(choice) for choice in choices]
    taken = set(encoded)
    return [
        choice if isinstance(choice, str) and choice and choice not in taken else text
        for choice, text in zip(choices, encoded, strict=True)
    ]


def _hint(parts: list[_Part], kind: Kind) -> str:
    """Return what is allowed, in a few words."""
    told: list[str] = []
    for keyword, said in (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "more than {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "less than {}"),
        ("multipleOf", "a multiple of {}"),
    ):
        limit = _first(parts, keyword, None)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            told.append(said.format(limit))
    noun = {"text": "character", "list": "entry"}.get(kind)
    if noun:
        least, most = ("minLength", "maxLength") if kind == "text" else ("minItems", "maxItems")
        for keyword, said in ((least, "at least {}"), (most, "at most {}")):
            limit = _first(parts, keyword, None)
            if isinstance(limit, int) and not isinstance(limit, bool):
                told.append(said.format(counted(limit, noun)))
    if kind == "list" and _first(parts, "uniqueItems", None) is True:
        told.append("each once")
    form, pattern = _first_text(parts, "format"), _first_text(parts, "pattern")
    if form and form != "password":
        told.append(FORMATS.get(form, form))
    if kind == "text" and pattern:
        told.append(f"matching {pattern}")
    examples = next(
        (listed(part.schema, "examples") for part in parts if listed(part.schema, "examples")), []
    )
    if examples:
        told.append(f"for example {either([written(example) for example in examples[:3]])}")
    return ", ".join(told)


def _limits(parts: list[_Part]) -> dict[str, Json]:
    """Return what the nearest part says of each keyword for size and shape, if it is of the right type.

    A number that no float can be is left out: it cannot be counted with, and limits nothing that is typed.
    """
    found = {name: _first(parts, name, None) for name in (*LIMITS, *LENGTHS)}
    told = {
        name: value
        for name, value in found.items()
        if isinstance(value, int if name in LENGTHS else int | float)
        and not isinstance(value, bool)
        and abs(value) <= float_info.max
    }
    pattern = _first_text(parts, "pattern")
    return told | ({"pattern": pattern} if pattern else {})


def _first(parts: list[_Part], keyword: str, otherwise: Any) -> Any:
    """Return what the first part that has the keyword says; the nearest part comes first."""
    return next((part.schema[keyword] for part in parts if keyword in part.schema), otherwise)


def _first_text(parts: list[_Part], keyword: str) -> str | None:
    """Return the same, if it is a text that is not empty."""
    value = _first(parts, keyword, None)
    return value if isinstance(value, str) and value else None


def _escaped(name: str) -> str:
    """Return a name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _as_json(value: Json) -> str:
    """Return a value as JSON."""
    return msgspec.json.encode(value).decode()
