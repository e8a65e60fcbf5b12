"""Estimates the effort of a check, so that a form with recursive references cannot block its reader.

A chain of definitions that each refer twice to the next doubles the work at each: forty of them would take
days. Without references, each part of the form meets each part of the answer at most once.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.wire import Json

ENDLESS = 10**9
"""The estimate for an effort that is far too large."""

SMALL = 20_000
"""An effort that need not be counted exactly."""

MAX_PAIRS = 500_000
"""Most pairs of a part and a value that are looked at (two seconds)."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OF_SAME_VALUE = frozenset({"not", "if", "then", "else", "allOf", "anyOf", "oneOf"})
_BY_NAME = frozenset({"dependentSchemas", "dependencies", "patternProperties"})
_OF_EACH_MEMBER = frozenset(
    {
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "items",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "contains",
    }
)


def effort(form: Json, parts: Sequence[Json], data: Json) -> int:
    """Return about how many comparisons a check needs, rather too many than too few; or ENDLESS.

    `parts` of the form are what the data is checked against. Each pair of a part and a value is looked at
    once, however often it occurs.
    """
    count = _Count(form)
    if not count.refers:
        most = count.size * sum(1 for _ in _every_value(data))
        if most <= SMALL:
            return most
    try:
        return min(sum(count.of(part, data) for part in parts), ENDLESS)
    except (RecursionError, _TooManyPairs):
        return ENDLESS


class _TooManyPairs(Exception):
    """The estimate would take too long itself."""


class _Count:
    def __init__(self, schema: Json) -> None:
        self._root = schema
        self._known: dict[tuple[int, int], int] = {}
        self._anchors: dict[str, list[Json]] = {}
        self._documents: list[Json] = [schema]
        self.refers = False
        self.size = 1
        for part in _every_value(schema):
            self.size += 1
            if not isinstance(part, dict):
                continue
            self.refers = self.refers or any(name in part for name in _REFERENCES)
            for name in ("$anchor", "$dynamicAnchor"):
                self._anchors.setdefault(str(part.get(name)), []).append(part)
            for name in ("$id", "id"):
                if isinstance(part.get(name), str):
                    self._documents.append(part)
                    self._anchors.setdefault(part[name].removeprefix("#"), []).append(part)

    def of(self, schema: Json, value: Json) -> int:
        pair = id(schema), id(value)
        if pair not in self._known:
            if len(self._known) > MAX_PAIRS:
                raise _TooManyPairs
            self._known[pair] = 0  # the checker ends a cycle here, too
            self._known[pair] = 1 + sum(self.of(part, met) for part, met in self._parts(schema, value))
        return self._known[pair]

    def _parts(self, schema: Json, value: Json) -> Iterator[tuple[Json, Json]]:
        """Yield the pairs of part and value that a schema leads to, at least all that the checker visits."""
        if not isinstance(schema, dict):
            return
        members = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        for keyword, inner in schema.items():
            if keyword in _REFERENCES:
                yield from product(self._targets(inner), (value,))
            elif keyword == "properties" and isinstance(inner, dict) and isinstance(value, dict):
                yield from ((part, value[name]) for name, part in inner.items() if name in value)
            elif keyword in _OF_EACH_MEMBER:
                pairs = (
                    zip(inner, members, strict=False)
                    if isinstance(inner, list)
                    else product((inner,), members)
                )
                yield from pairs
            elif keyword in _BY_NAME and isinstance(inner, dict):
                met = members if keyword == "patternProperties" else (value,)
                yield from product(inner.values(), met)
            elif keyword in _OF_SAME_VALUE:
                yield from product(inner if isinstance(inner, list) else (inner,), (value,))

    def _targets(self, reference: Json) -> Iterator[Json]:
        """Yield every part that a reference may mean, in any of the documents within the form."""
        if not isinstance(reference, str):
            return
        fragment = unquote(reference.partition("#")[2])
        if fragment and not fragment.startswith("/"):
            yield from self._anchors.get(fragment, ())
            return
        yield from self._anchors.get(reference, ())
        for document in self._documents:
            found = at_pointer(document, fragment)
            if found is not None:
                yield found


def _every_value(value: Json) -> Iterator[Json]:
    """Yield a JSON value and all values within it."""
    ahead = [value]
    while ahead:
        one = ahead.pop()
        yield one
        if isinstance(one, dict):
            ahead.extend(one.values())
        elif isinstance(one, list):
            ahead.extend(one)


def at_pointer(value: Json, pointer: str) -> Json:
    """Return the value at a JSON pointer (RFC 6901); None if there is none."""
    for escaped in pointer.split("/")[1:]:
        key = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10 and int(key) < len(value):  # noqa: PLR2004
            value = value[int(key)]
        else:
            return None
    return value


def listed(schema: dict[str, Json], keyword: str) -> list[Json]:
    """Return the list of a keyword; an empty one if it has none."""
    value = schema.get(keyword)
    return value if isinstance(value, list) else []


def mapped(schema: dict[str, Json], keyword: str) -> dict[str, Json]:
    """Return the object of a keyword; an empty one if it has none."""
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}
