"""Checks that a form for changing an object clearly says what people may change.

People may change what the schema names: each name under `properties`, and all of such a value, as far as it
fits its own schema. A schema is refused if it could allow other names as well, or a name in one alternative
only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, override
from urllib.parse import unquote

from hitl_cli.forms.complexity import at_pointer, listed, mapped
from hitl_cli.forms.fields import Field, Group, Place, Reader, TooMany, whole
from hitl_cli.forms.messages import Problem
from hitl_cli.forms.paths import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.wire import Json

_BESIDE = ("if", "then", "else", "not")
_BY_NAME = ("dependentSchemas", "dependencies", "$defs", "definitions")
_OPEN_NAMES = ("additionalProperties", "unevaluatedProperties")
_ALTERNATIVES = ("anyOf", "oneOf")
_ELSEWHERE = frozenset({"$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id"})
_SIBLINGS = frozenset({"properties", "allOf", "const", "enum", "readOnly"})
"""Keywords beside a $ref that JSON Schema ignored before 2019-09."""

_UNNAMED = "allows names that properties does not list"
_UNLISTED = "must list under properties what people may change"
_ALTERNATIVE = (
    "must set additionalProperties to false in each object that has properties, and have no readOnly"
)


def unclear(schema: dict[str, Json]) -> Problem | None:
    """Return why a form for changing an object is not clear, and where; None if it is."""
    reader = _Permission(schema)
    try:
        node = reader.read(whole(schema), frozenset())
    except (TooMany, RecursionError):
        return None if _is_closed(schema, schema) else Problem("", _ALTERNATIVE)
    nothing = Problem("", _UNLISTED) if isinstance(node, Group) and not node.members else None
    return reader.wrong or nothing


class _Permission(Reader):
    """Reads the fields of a form, and keeps the first problem."""

    def __init__(self, schema: Json) -> None:
        super().__init__(schema)
        self._schema = schema
        self.wrong: Problem | None = None

    @override
    def read(self, place: Place, above: frozenset[str]) -> Field | Group:
        node = super().read(place, above)
        why = None if self.wrong is not None else self._why(node, place)
        if why is not None:
            self.wrong = Problem(path_of(place.keys), why)
        return node

    def _why(self, node: Field | Group, place: Place) -> str | None:
        """Return what is wrong with a field or a group."""
        if isinstance(node, Group):
            return self._why_group(node, place)
        at_root = place.begun and not place.keys
        if not at_root and node.kind != "json":
            return None
        parts = [at_pointer(self._schema, pointer) for pointer in place.pointers]
        if any(_is_closed(self._schema, part) for part in parts):
            return None
        if at_root:
            return _UNLISTED
        return None if all(_is_free(self._schema, part) for part in parts) else _ALTERNATIVE

    def _why_group(self, group: Group, place: Place) -> str | None:
        names = {member.keys[-1] for member in group.members}
        for pointer, part in self.shape(place.pointers).parts.items():
            if pointer != "#" and not _ELSEWHERE.isdisjoint(part):
                return "must not have $id or an anchor"
            if _is_old(self._schema) and "$ref" in part and not _SIBLINGS.isdisjoint(part):
                return "has a $ref with other keywords beside it, which its draft of JSON Schema ignores"
            if mapped(part, "patternProperties") or any(mapped(part, keyword) for keyword in _OPEN_NAMES):
                return _UNNAMED
            beside = [part.get(keyword) for keyword in _BESIDE]
            beside += [one for keyword in _BY_NAME[:2] for one in mapped(part, keyword).values()]
            if any(not set(_names(one)) <= names for one in beside):
                return _UNNAMED
        return None


def _names(schema: Json) -> Iterator[str]:
    """Yield the names under `properties` of a part about the same object, and of its own parts."""
    if not isinstance(schema, dict):
        return
    yield from mapped(schema, "properties")
    yield from mapped(schema, "patternProperties")
    for keyword in ("allOf", *_ALTERNATIVES):
        for one in listed(schema, keyword):
            yield from _names(one)
    for keyword in _BESIDE:
        yield from _names(schema.get(keyword))


def _is_free(root: Json, schema: Json, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a schema names nothing and locks nothing, at any depth: any value that fits is permitted."""
    if isinstance(schema, list):
        return all(_is_free(root, one, seen) for one in schema)
    if not isinstance(schema, dict) or id(schema) in seen:
        return True
    if not schema.keys().isdisjoint({"properties", "patternProperties", "readOnly", *_ELSEWHERE}):
        return False
    target = _target(root, schema)
    inner = [value for keyword, value in schema.items() if keyword not in ("const", "enum", *_BY_NAME[2:])]
    own = seen | {id(schema)}
    return target is not None and all(_is_free(root, one, own) for one in (*inner, target))


def _is_closed(root: Json, schema: Json, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a value that fits can only have names that the schema lists, so that checking it is enough."""
    if not isinstance(schema, dict):
        return schema is False
    if "const" in schema or "enum" in schema or id(schema) in seen:
        return True
    if schema is not root and not _ELSEWHERE.isdisjoint(schema):
        return False
    if "readOnly" in schema and schema.get("maxItems") != 0:
        return False
    own = seen | {id(schema)}

    def closed(*inner: Json) -> bool:
        return all(_is_closed(root, one, own) for one in inner)

    if "$ref" in schema:
        target = _target(root, schema)
        if _is_old(root) or (isinstance(target, dict) and closed(target)):
            return isinstance(target, dict) and closed(target)
    if any(closed(one) for one in listed(schema, "allOf")):
        return True
    if any(schema.get(keyword) and closed(*listed(schema, keyword)) for keyword in _ALTERNATIVES):
        return True
    types = schema.get("type", ["object", "array"])
    named = [types] if isinstance(types, str) else listed({"type": types}, "type")
    fixed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    entries = "items" in schema and closed(schema["items"], *listed(schema, "prefixItems"))
    return ("object" not in named or (fixed and closed(*mapped(schema, "properties").values()))) and (
        "array" not in named or entries or schema.get("maxItems") == 0
    )


def _is_old(root: Json) -> bool:
    """Whether a schema is of a draft that ignores keywords beside a $ref."""
    return isinstance(root, dict) and "/draft-0" in str(root.get("$schema"))


def _target(root: Json, schema: dict[str, Json]) -> Json:
    """Return the target of a schema's $ref: True without a $ref; None if it is outside the form."""
    if "$ref" not in schema:
        return True
    reference = schema["$ref"]
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    return at_pointer(root, unquote(reference))
