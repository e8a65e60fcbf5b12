"""The JSON Schema of a type, made as strict as the type, so that the schema refuses what the type refuses.

msgspec and pydantic generate a schema that is more lenient: a datetime is any text, a Decimal with bounds
may be any text. They also sort the values of an Enum or a Literal. What no schema can express (a validator,
`__post_init__`) is left to the type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from hitl_cli.format.json import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import Enum

    from hitl_cli.client.wire import Json

type _Part = dict[str, Any]

_DURATION = r"^[+-]?P(?!$)(\d+(\.\d+)?D)?(T(?=\d)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?$"
"""The durations that msgspec reads; it has no months, whose length varies."""

_DATETIMES = {None: "date-time", True: "date-time", False: "date-time-local"}
_TIMES = {None: "time", True: "time", False: "time-local"}
"""Formats by whether a zone is required, as named in the OpenAPI registry."""

_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
"""pydantic's names of limits, and JSON Schema's."""


def msgspec_schema(form: Any) -> _Part:
    """Return the schema of a type that msgspec supports. Raises TypeError for others."""
    schema = msgspec.json.schema(form)
    _Walk(schema).mend(inspect.type_info(form), schema, form)
    return _plain_defaults(schema)


def pydantic_schema(adapter: Any) -> _Part:
    """Return the schema of a pydantic model."""
    from pydantic.json_schema import GenerateJsonSchema

    class Exact(GenerateJsonSchema):
        def decimal_schema(self, schema: Any) -> _Part:
            said = {keyword: schema.get(name) for name, keyword in _BOUNDS.items()}
            limits = {keyword: float(limit) for keyword, limit in said.items() if limit is not None}
            return _decimal(_digits(schema.get("max_digits"), schema.get("decimal_places")) | limits)

        def datetime_schema(self, schema: Any) -> _Part:
            return _zoned(super().datetime_schema(schema), schema, _DATETIMES)

        def time_schema(self, schema: Any) -> _Part:
            return _zoned(super().time_schema(schema), schema, _TIMES)

    return _plain_defaults(adapter.json_schema(schema_generator=Exact))


def _zoned(part: _Part, schema: Any, formats: dict[bool | None, str]) -> _Part:
    """Return the schema of a time with the format for its zone."""
    naive = schema.get("tz_constraint") == "naive"
    return part | {"format": formats[False]} if naive and "format" in part else part


def _digits(most: int | None, places: int | None) -> _Part:
    """Return limits on the value of a number whose digits are limited."""
    limits: _Part = {} if places is None else {"multipleOf": float(f"1e-{places}")}
    if most is not None and places is not None:
        top = float(f"1e{most - places}") - float(f"1e-{places}")
        limits |= {"maximum": top, "minimum": -top}
    return limits


def _decimal(limits: _Part) -> _Part:
    """Return the schema of a Decimal: a number, or without limits also a text, which keeps every digit."""
    if limits:
        return {"type": "number"} | limits
    return {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]}


def _plain_defaults(schema: _Part) -> _Part:
    """Return a schema in which the default of a Decimal is a number; the libraries write it as text."""
    ahead: list[Json] = [schema]
    while ahead:
        part = ahead.pop()
        if isinstance(part, list):
            ahead.extend(part)
        if not isinstance(part, dict):
            continue
        default = part.get("default")
        exact = part.get("type") == "number" or any(
            one.get("format") == "decimal" for one in _alternatives(part)
        )
        if isinstance(default, str) and exact:
            part["default"] = float(default)
        ahead.extend(inner for name, inner in part.items() if name != "default")
    return schema


def _alternatives(part: _Part) -> list[_Part]:
    """Return the parts of an `anyOf`, including nested ones."""
    found: list[_Part] = []
    for one in part.get("anyOf", ()):
        found += _alternatives(one) or [one] if isinstance(one, dict) else []
    return found


class _Walk:
    """Goes through a type and its schema in parallel."""

    def __init__(self, schema: _Part) -> None:
        self._definitions: dict[str, _Part] = schema.get("$defs", {})
        self._seen: set[str] = set()

    def mend(self, kind: inspect.Type, part: _Part, hint: Any) -> None:
        """Make a part of the schema as strict as its type; `hint` is the annotation of the author."""
        while isinstance(kind, inspect.Metadata):
            kind = kind.type
        name = part.get("$ref", "").removeprefix("#/$defs/")
        if name:
            if name in self._seen:
                return
            self._seen.add(name)
            part = self._definitions[name]
        inner = list(_inner(kind, part, hint))
        for one in inner:
            self.mend(*one)
        if not inner:
            _mend_scalar(kind, part, hint)


def _inner(kind: inspect.Type, part: _Part, hint: Any) -> Iterator[tuple[inspect.Type, _Part, Any]]:
    """Yield the types within a type, with their schemas and annotations."""
    match kind:
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType():
            hints = get_type_hints(get_origin(kind.cls) or kind.cls, include_extras=True)
            properties = part.get("properties", {})
            for field in kind.fields:
                if field.encode_name in properties:
                    yield field.type, properties[field.encode_name], hints.get(field.name)
        case inspect.CollectionType(item_type=item) if "items" in part:
            yield item, part["items"], hint
        case inspect.TupleType(item_types=items):
            for one, found in zip(items, part.get("prefixItems", ()), strict=True):
                yield one, found, hint
        case inspect.DictType(value_type=value) if "additionalProperties" in part:
            yield value, part["additionalProperties"], hint
        case inspect.UnionType(types=types):
            known = [one for one in types if not isinstance(one, inspect.NoneType)]
            known.sort(key=_is_struct)  # in the order of the schema
            others = [one for one in _alternatives(part) if one.get("type") != "null"]
            for one, found in zip(known, others, strict=True):
                yield one, found, hint


def _is_struct(kind: inspect.Type) -> bool:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return isinstance(kind, inspect.StructType) and not kind.array_like


def _mend_scalar(kind: inspect.Type, part: _Part, hint: Any) -> None:
    """Add to the schema of a scalar what the library left out."""
    match kind:
        case inspect.EnumType(cls=cls):
            part["enum"] = _members_of(cls)
        case inspect.LiteralType():
            part["enum"] = _as_written(part["enum"], hint)
        case inspect.DateTimeType(tz=tz):
            part.setdefault("format", _DATETIMES[tz])
        case inspect.TimeType(tz=tz):
            part["format"] = _TIMES[tz]
        case inspect.TimeDeltaType():
            part["pattern"] = _DURATION
        case inspect.DecimalType():
            del part["type"], part["format"]
            part |= _decimal({})


def _members_of(cls: type[Enum]) -> list[Json]:
    """Return the values of an Enum, in its order."""
    return [one.value for one in cls]


def _as_written(values: list[Json], hint: Any) -> list[Json]:
    """Return the values of a Literal in the author's order."""
    wanted = sorted(map(to_json, values))
    return next(
        (list(written) for written in _literals(hint) if sorted(map(to_json, written)) == wanted), values
    )


def _literals(hint: Any) -> Iterator[tuple[Json, ...]]:
    """Yield the values of each Literal in a type."""
    from typing import Literal

    hint = getattr(hint, "__value__", hint)  # the value of `type X = …`
    if get_origin(hint) is Literal:
        yield get_args(hint)
        return
    for inner in get_args(hint):
        yield from _literals(inner)
