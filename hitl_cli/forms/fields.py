"""The fields that a person fills in, derived from a form's JSON Schema, in its order.

A form is a tree: groups (objects with known fields) contain fields. A list of such groups is a field whose
entries are rows. What does not fit on a line of text (alternatives of several types, recursive parts) is one
field, filled in as JSON.
"""

from __future__ import annotations

from sys import float_info
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json
from hitl_cli.format.json import to_json
from hitl_cli.forms.added_formats import LOCAL_FORMATS
from hitl_cli.forms.complexity import at_pointer, listed, mapped
from hitl_cli.forms.messages import FORMATS, allowed, either, written
from hitl_cli.forms.paths import path_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


EDITABLE = "x-hitl-editable"
"""Keyword of a form that changes an object: its `default`. Members without a field stay unchanged."""

MAX_FIELDS = 200
"""A form with more fields and groups than this is filled in as one JSON text."""

MAX_NESTED = 10
"""Deepest nesting of groups. Deeper ones are filled in as JSON."""

type Kind = Literal[
    "text", "integer", "number", "boolean", "choice", "date", "time", "date-time", "list", "rows", "json"
]

LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")

_SCALARS = frozenset({"text", "integer", "number", "boolean", "choice", "date", "time", "date-time"})
_DATED: dict[str, Kind] = {"date": "date", "time": "time", "date-time": "date-time", **LOCAL_FORMATS}
_KINDS: dict[frozenset[str], Kind] = {
    frozenset({"string"}): "text",
    frozenset({"integer"}): "integer",
    frozenset({"number"}): "number",
    frozenset({"integer", "number"}): "number",
    frozenset({"boolean"}): "boolean",
    frozenset({"array"}): "list",
}


class Field(Struct, frozen=True, kw_only=True):
    """One value to fill in. Its texts are the author's: show them through `text.printable`."""

    path: str
    """Its path, as in forms.paths; empty if the form is a single value."""

    keys: tuple[str | int, ...]
    kind: Kind
    required: bool
    """Whether the answer must have it. A field in an optional group is not required."""

    needed: bool
    """Whether the group that contains it must have it."""

    title: str | None = None
    description: str | None = None
    nullable: bool = False
    default: Json | UnsetType = UNSET
    choices: tuple[Json, ...] = ()
    labels: tuple[str, ...] = ()
    """The label of each choice: its title, its text, or its JSON. The labels differ."""

    nothing: str | None = None
    """The label for choosing null, if null has a title; null is not one of the choices."""

    read_only: bool = False
    """Whether it is shown but cannot be changed."""

    hint: str = ""
    """The limits in words, such as `at least 1, at most 500`."""

    limits: dict[str, Json] = {}
    """The limits of the schema by keyword, without those of the wrong type."""

    format: str | None = None
    secret: bool = False
    item: Field | None = None
    """The field of each entry of a list."""

    row: Group | None = None
    """The fields of each row; their keys begin at the row."""

    pointers: tuple[str, ...] = ()
    """JSON pointers to the parts of the schema that it must fit, for `problems_at`."""

    @property
    def stated_default(self) -> Json | UnsetType:
        """The default; UNSET if it need not be shown: null, an empty text or an empty list."""
        called = self.nothing is not None or bool(self.choices)
        return UNSET if not called and self.default in (None, "", [], {}) else self.default


class Group(Struct, frozen=True, kw_only=True):
    """An object with known fields. Its texts are the author's, as those of a field."""

    keys: tuple[str | int, ...]
    needed: bool
    title: str | None = None
    description: str | None = None
    nullable: bool
    default: Json | UnsetType
    members: tuple[Field | Group, ...]


class Place(NamedTuple):
    """The place of a field or a group in the answer and in the schema."""

    keys: tuple[str | int, ...]
    pointers: tuple[str, ...]
    required: bool
    needed: bool
    read_only: bool = False
    begun: bool = False
    value: Json | UnsetType = UNSET
    """If it is `begun`, the value in the object that the form changes."""


WHOLE = Place(keys=(), pointers=("#",), required=True, needed=True)


class Shape(NamedTuple):
    """All that a form says about one value: directly, through $ref, in allOf, or with null."""

    parts: dict[str, dict[str, Json]]
    """The parts of the schema that the value must fit, by JSON pointer, the nearest first."""

    said: dict[str, Json]
    """The keywords, as the nearest part has them. A definition's title, which names a type, is left out."""

    nullable: bool
    plain: bool
    """Whether this is complete: no other alternatives, and no reference out of the form."""

    choices: list[Json]
    titles: dict[str, str]
    """The author's labels of values, by the values' JSON."""

    types: frozenset[str] | None
    """The types that fit, without null; None if any does."""

    def text(self, keyword: str) -> str | None:
        """Return the text of a keyword, if it is not empty."""
        value = self.said.get(keyword)
        return value if isinstance(value, str) and value else None


class TooMany(Exception):
    """There are too many fields to fill in one by one."""


def fields(schema: Json) -> list[Field]:
    """Return the fields in order. JSON that is not a form gives one JSON field."""
    return list(flat(tree(schema)))


def tree(schema: Json) -> Field | Group:
    """Return the same as a tree."""
    try:
        return Reader(schema).read(whole(schema), frozenset())
    except (TooMany, RecursionError):
        return Field(path="", keys=(), kind="json", required=True, needed=True, pointers=WHOLE.pointers)


def whole(schema: Json) -> Place:
    """Return the place of the whole answer."""
    if isinstance(schema, dict) and EDITABLE in schema:
        return WHOLE._replace(begun=True, value=schema.get("default", UNSET))
    return WHOLE


def flat(node: Field | Group) -> Iterator[Field]:
    """Yield the fields of a tree, in order."""
    if isinstance(node, Field):
        yield node
        return
    for inner in node.members:
        yield from flat(inner)


def placed(node: Field | Group, where: Sequence[str | int]) -> Field | Group:
    """Return a part of a row with its path in the row at a place in the answer."""
    keys = (*where, *node.keys)
    if isinstance(node, Field):
        return msgspec.structs.replace(node, keys=keys, path=path_of(keys))
    return msgspec.structs.replace(node, keys=keys, members=tuple(placed(one, where) for one in node.members))


class Reader:
    """Reads the fields of a schema; a subclass may look at each place."""

    def __init__(self, schema: Json) -> None:
        self._root = schema
        self._count = 0

    def read(self, place: Place, above: frozenset[str]) -> Field | Group:
        """Return the field or group at a place; `above` are the parts that contain it."""
        self._count += 1
        if self._count > MAX_FIELDS:
            raise TooMany
        shape = self.shape(place.pointers)
        within = above | shape.parts.keys()
        circular = not above.isdisjoint(shape.parts)
        if not shape.plain or len(place.keys) >= MAX_NESTED or circular or not _is_group(shape):
            return self._field(place, shape, within)
        return Group(
            keys=place.keys,
            needed=place.needed,
            title=shape.text("title"),
            description=shape.text("description"),
            nullable=shape.nullable,
            default=_default(place, shape),
            members=tuple(self.read(inner, within) for inner in _members(shape, place)),
        )

    def _field(self, place: Place, shape: Shape, within: frozenset[str]) -> Field:
        choices = shape.choices if shape.plain else self._alternatives(shape)
        known = [choice for choice in choices if choice is not None] or choices
        field = self._as_is(place, shape, known)
        kind, row = field.kind, None
        if kind == "list" and field.item is None:
            row = self._row(shape, within)
            kind = "json" if row is None else "rows"
        return msgspec.structs.replace(
            field,
            kind=kind,
            row=row,
            nullable=field.nullable or None in choices,
            nothing=shape.titles.get("null") if known is not choices else None,
            read_only=(place.read_only or shape.said.get("readOnly") is True)
            and (initial(field) is not UNSET or not field.needed),
        )

    def _as_is(self, place: Place, shape: Shape, choices: list[Json]) -> Field:
        kind = _kind_of(shape, choices)
        limits = _limits(shape)
        return Field(
            path=path_of(place.keys),
            keys=place.keys,
            kind=kind,
            required=place.required,
            needed=place.needed,
            title=shape.text("title"),
            description=shape.text("description"),
            nullable=shape.nullable or None in choices,
            default=_default(place, shape),
            choices=tuple(choices),
            labels=tuple(_labels(choices, shape.titles)),
            hint=_hint(shape, kind, limits),
            limits=limits,
            format=shape.text("format"),
            secret=shape.text("format") == "password" or shape.said.get("writeOnly") is True,
            item=self._item(place, shape) if kind == "list" else None,
            pointers=place.pointers,
        )

    def _item(self, place: Place, shape: Shape) -> Field | None:
        """Return the field for the entries of a list; None if an entry does not fit on a line."""
        where = _places_of_items(shape)
        inner = self.shape(where)
        if not where or "prefixItems" in shape.said or _kind_of(inner, inner.choices) == "list":
            return None
        choices = inner.choices if inner.plain else self._alternatives(inner)
        item = self._as_is(place._replace(pointers=where, begun=False), inner, choices)
        return item if item.kind in _SCALARS else None

    def _row(self, shape: Shape, within: frozenset[str]) -> Group | None:
        """Return the fields for the entries of a list; None if they are not objects with known fields."""
        where = _places_of_items(shape)
        if not where or "prefixItems" in shape.said or self.shape(where).nullable:
            return None
        row = self.read(Place(keys=(), pointers=where, required=True, needed=True), within)
        return row if isinstance(row, Group) and row.members else None

    def shape(self, pointers: Sequence[str]) -> Shape:
        """Return the combined constraints of the schemas at these places.

        Follows $ref within the form, allOf, and `anyOf: [X, null]`. Each place is visited once, so a cycle
        ends.
        """
        parts: dict[str, dict[str, Json]] = {}
        said: dict[str, Json] = {}
        nullable, plain = False, True
        ahead = [(pointer, True) for pointer in reversed(pointers)]
        while ahead:
            pointer, own = ahead.pop()
            schema = at_pointer(self._root, pointer)
            if pointer in parts or schema is True:
                continue
            if not isinstance(schema, dict):
                plain = False
                continue
            parts[pointer] = schema
            for keyword, value in schema.items():
                if keyword != "title" or (own and not _is_titled_value(pointer, schema)):
                    said.setdefault(keyword, value)
            inner = [(f"{pointer}/allOf/{index}", own) for index in range(len(listed(schema, "allOf")))]
            for keyword in ("anyOf", "oneOf"):
                if keyword in schema:
                    every = listed(schema, keyword)
                    others, format_of = _others(every)
                    said = format_of | said
                    nullable = nullable or any(map(_is_null, every))
                    plain = plain and len(others) == 1
                    inner += [(f"{pointer}/{keyword}/{at}", own) for at in others if len(others) == 1]
            reference = schema.get("$ref")
            if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
                inner.append((unquote(reference), False))
            elif reference is not None or "$dynamicRef" in schema or "$recursiveRef" in schema:
                plain = False
            ahead += reversed(inner)
        types = [part["type"] for part in parts.values() if "type" in part]
        nullable |= bool(types) and all(isinstance(one, list) and "null" in one for one in types)
        choices, titles = _choices_of(parts.values()), _titles_in(parts.values())
        return Shape(parts, said, nullable, plain, choices, titles, _types_of(types))

    def _alternatives(self, shape: Shape) -> list[Json]:
        """Return the choices, if each alternative is one or several values."""
        for pointer, part in shape.parts.items():
            for keyword in ("anyOf", "oneOf"):
                found: dict[str, Json] = {}
                for index, one in enumerate(listed(part, keyword)):
                    inner = self.shape([f"{pointer}/{keyword}/{index}"])
                    values = [None] if _is_null(one) else inner.choices if inner.plain else []
                    if not values:
                        break
                    found |= {to_json(value): value for value in values}
                else:
                    if found:
                        return list(found.values())
        return []


def _is_null(schema: Json) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _others(every: Sequence[Json]) -> tuple[list[int], dict[str, Json]]:
    """Return the alternatives other than null, and the format that they amount to.

    A number or the same as a text is a decimal number.
    """
    others = [index for index, one in enumerate(every) if not _is_null(one)]
    kinds = [(one.get("type"), one.get("format")) if isinstance(one, dict) else None for one in every]
    texts = [index for index in others if kinds[index] == ("string", "decimal")]
    numbers = [index for index in others if kinds[index] == ("number", None)]
    if len(texts) == len(numbers) == 1 and len(others) == len(texts + numbers):
        return numbers, {"format": "decimal"}
    return others, {}


def _is_titled_value(pointer: str, schema: dict[str, Json]) -> bool:
    """Whether a part of a schema is one of several values, so that its title is the value's label."""
    return pointer.rpartition("/")[0].endswith(("/anyOf", "/oneOf")) and "const" in schema


def _titles_in(parts: Collection[dict[str, Json]]) -> dict[str, str]:
    """Return the author's labels of values, by the values' JSON: `oneOf` with `const` and `title`."""
    titles: dict[str, str] = {}
    for part in parts:
        for one in (*listed(part, "oneOf"), *listed(part, "anyOf")):
            if isinstance(one, dict) and isinstance(title := one.get("title"), str) and title.strip():
                values = (
                    [one["const"]] if "const" in one else [None] if _is_null(one) else listed(one, "enum")
                )
                if len(values) == 1:
                    titles.setdefault(to_json(values[0]), title)
    return titles


def _places_of_items(shape: Shape) -> tuple[str, ...]:
    """Return the places where a schema describes the entries of a list."""
    return tuple(f"{at}/items" for at, part in shape.parts.items() if isinstance(part.get("items"), dict))


def _members(shape: Shape, place: Place) -> Iterator[Place]:
    """Yield the places of a group's fields, in order."""
    needed = {name for part in shape.parts.values() for name in listed(part, "required")}
    values = place.value if isinstance(place.value, dict) else {}
    found: dict[str, tuple[str, ...]] = {}
    for pointer, part in shape.parts.items():
        for name, schema in mapped(part, "properties").items():
            if schema is not False:
                step = name.replace("~", "~0").replace("/", "~1")
                found[name] = (*found.get(name, ()), f"{pointer}/properties/{step}")
    for name, pointers in found.items():
        yield Place(
            keys=(*place.keys, name),
            pointers=pointers,
            required=place.required and name in needed,
            needed=name in needed,
            read_only=place.read_only or shape.said.get("readOnly") is True,
            begun=place.begun,
            value=values.get(name, UNSET),
        )


def _default(place: Place, shape: Shape) -> Json | UnsetType:
    """Return the initial value of a place."""
    return place.value if place.begun else shape.said.get("default", UNSET)


def _is_group(shape: Shape) -> bool:
    """Whether a value is an object with known fields."""
    known = any(
        "properties" in part
        and (mapped(part, "properties") or part.get("additionalProperties", False) is False)
        for part in shape.parts.values()
    )
    return known and shape.types in (None, frozenset({"object"})) and not shape.choices


def _types_of(given: Sequence[Json]) -> frozenset[str] | None:
    """Return the types that fit each `type`, without null; None if any does. An integer is also a number."""
    fitting: frozenset[str] | None = None
    for one in given:
        names = [one] if isinstance(one, str) else one
        if isinstance(names, list):
            these = frozenset(name for name in names if isinstance(name, str) and name != "null")
            both = these if fitting is None else fitting & these
            mixed = fitting is not None and {"integer", "number"} <= fitting | these
            fitting = both | {"integer"} if mixed else both
    return fitting


def _choices_of(parts: Collection[dict[str, Json]]) -> list[Json]:
    """Return the values of a const or an enum, in the author's order; empty if any value may fit."""
    for part in parts:
        if "const" in part:
            return [part["const"]]
    enums = (listed(part, "enum") for part in parts)
    return next(filter(None, enums), [None] if any(map(_is_null, parts)) else [])


def _kind_of(shape: Shape, choices: list[Json]) -> Kind:
    """Return the kind of field for a value."""
    if choices:
        return "choice"
    if not shape.plain or shape.types is None:
        return "json"
    kind = _KINDS.get(shape.types, "json")
    return _DATED.get(shape.text("format") or "", kind) if kind == "text" else kind


def _labels(choices: list[Json], titles: dict[str, str]) -> list[str]:
    """Return a label for each choice: its title, if that is unique.

    A text without a title is its own label, unless that is another choice's JSON.
    """
    encoded = [to_json(choice) for choice in choices]
    taken = {*encoded, "null"}
    plain = [
        choice if isinstance(choice, str) and choice and choice not in taken else text
        for choice, text in zip(choices, encoded, strict=True)
    ]
    called = [titles.get(text, label) for text, label in zip(encoded, plain, strict=True)]
    return called if len({*called}) == len(called) else plain


def initial(field: Field) -> Json | UnsetType:
    """Return the initial value of a field; UNSET if it has none."""
    if field.default is not UNSET or not field.needed:
        return field.default
    if len(field.choices) == 1 and not field.nullable:
        return field.choices[0]
    return None if field.nullable else UNSET


def _hint(shape: Shape, kind: Kind, limits: dict[str, Json]) -> str:
    """Return the limits in a few words."""
    entries = ("minItems", "maxItems")
    sizes = {"text": ("minLength", "maxLength"), "list": entries}.get(kind, ())
    told = [allowed(name, limits[name]) for name in (*LIMITS, *sizes) if name in limits]
    if kind == "list" and shape.said.get("uniqueItems") is True:
        told.append("each once")
    form = shape.text("format")
    if form and form != "password" and kind != "number":
        told.append(FORMATS.get(form, form))
    if shape.text("contentEncoding"):
        told.append(f"in {shape.text('contentEncoding')}")
    if kind == "text" and "pattern" in limits and form != "duration":
        told.append(f"matching {limits['pattern']}")
    if examples := listed(shape.said, "examples"):
        told.append(f"for example {either([written(example) for example in examples[:3]])}")
    return ", ".join(told)


def _limits(shape: Shape) -> dict[str, Json]:
    """Return the limits by keyword, without those of the wrong type.

    A number that is not a finite float is left out: nothing that a person types can exceed it.
    """
    told: dict[str, Json] = {}
    for name in (*LIMITS, *LENGTHS):
        value: Any = shape.said.get(name)
        number = isinstance(value, int if name in LENGTHS else int | float) and not isinstance(value, bool)
        if number and abs(value) <= float_info.max:
            told[name] = value
    pattern = shape.text("pattern")
    return told | ({"pattern": pattern} if pattern else {})
