"""Problems of an answer that does not fit its form, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import cut
from hitl_cli.forms.paths import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jsonschema_rs import ValidationError

    from hitl_cli.client.wire import Json

TOLD = 3
"""Most problems, or alternatives, in one sentence."""

VALUE_LENGTH = 40

TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

FORMATS = {
    "date": "date, such as 2026-01-31",
    "date-time": "time, such as 2026-01-31T12:00:00Z",
    "time": "time of day, such as 12:00:00Z",
    "date-time-local": "time, such as 2026-01-31T12:00:00",
    "datetime-local": "time, such as 2026-01-31T12:00:00",
    "time-local": "time of day, such as 12:00:00",
    "partial-time": "time of day, such as 12:00:00",
    "duration": "duration, such as P1DT12H",
    "decimal": "number, such as 12.50",
    "uri": "address, such as https://example.org/",
    "ipv4": "IPv4 address",
    "ipv6": "IPv6 address",
    "uuid": "UUID",
    "regex": "regular expression",
}


_LIMITS = {
    "minimum": ("at least", ""),
    "exclusiveMinimum": ("more than", ""),
    "maximum": ("at most", ""),
    "exclusiveMaximum": ("less than", ""),
    "multipleOf": ("a multiple of", ""),
    "minLength": ("at least", "character"),
    "maxLength": ("at most", "character"),
    "minItems": ("at least", "entry"),
    "maxItems": ("at most", "entry"),
    "additionalItems": ("at most", "entry"),
    "minProperties": ("at least", "field"),
    "maxProperties": ("at most", "field"),
}
"""How a limit is worded, by keyword of JSON Schema, and what it counts."""

_REASONS = {
    "uniqueItems": "must not have the same entry twice",
    "contains": "does not have enough entries of one kind",
    "unevaluatedItems": "has unknown entries",
    "backtrackLimitExceeded": "cannot be checked, because the form's pattern takes too long",
    "regexEngineFailure": "cannot be checked, because the form's pattern takes too long",
    "oneOfMultipleValid": "fits more than one alternative, and must fit exactly one",
    "falseSchema": "is not allowed",
    "not": "is not allowed",
}
"""Complete reasons, by the library's name of the error."""


class Problem(Struct, frozen=True):
    """One thing in an answer that does not fit the form.

    `path` is as in forms.paths. `reason` follows it in a sentence (`must be at most 500`). `value` is the
    given value as JSON, shortened; None if there was none. All three contain texts of the form's author and
    of the answer: show them through `text.printable`.
    """

    path: str
    reason: str
    value: str | None = None


def sentence(problem: Problem) -> str:
    """Return a problem as a sentence."""
    given = "" if problem.value is None else f" ({problem.value} was given)"
    return f"{problem.path or 'it'} {problem.reason}{given}"


def explained(error: ValidationError, data: Json) -> Iterator[Problem]:
    """Yield the problems behind an error of the library."""
    from jsonschema_rs import ValidationErrorKind as Kind

    where = error.instance_path
    match error.kind:
        case Kind.Required(property=name):
            yield Problem(path_of([*where, name]), "is required")
        case Kind.AdditionalProperties(unexpected=names) | Kind.UnevaluatedProperties(unexpected=names):
            for name in names:
                given = error.instance[name] if isinstance(error.instance, dict) else None
                yield Problem(path_of([*where, name]), "is not known", _cut(given))
        case Kind.PropertyNames(error=inner):
            for one in explained(inner, data):
                yield Problem(path_of([*where, str(inner.instance)]), f"has a name that {one.reason}")
        case Kind.AnyOf(context=branches) | Kind.OneOfNotValid(context=branches):
            yield from _best(error, branches, data)
        case Kind.FalseSchema() if error.schema_path[-1:] == ["additionalProperties"]:
            # The library names no field if none is known.
            for key in where:
                data = data[key]
            for name, value in data.items() if isinstance(data, dict) else ():
                yield Problem(path_of([*where, name]), "is not known", _cut(value))
        case _:
            yield Problem(path_of(where), _reason(error), _cut(error.instance))


def _best(error: ValidationError, branches: list[list[ValidationError]], data: Json) -> Iterator[Problem]:
    """Yield the problems with the alternative that was most likely intended, or what all of them expect."""
    from jsonschema_rs import ValidationErrorKind as Kind

    at = error.instance_path

    def distance(branch: list[ValidationError]) -> tuple[bool, bool, int]:
        kinds = [(one.instance_path, one.kind) for one in branch]
        other_type = any(where == at and isinstance(kind, Kind.Type) for where, kind in kinds)
        other_value = any(
            len(where) <= len(at) + 1 and isinstance(kind, Kind.Enum | Kind.Constant) for where, kind in kinds
        )
        return other_type, other_value, len(branch)

    ranked = sorted(branches, key=distance)
    if ranked and (len(ranked) == 1 or distance(ranked[0]) < distance(ranked[1])):
        for one in ranked[0]:
            yield from explained(one, data)
        return
    whole = [one for branch in branches for one in branch if one.instance_path == at]
    allowed = dict.fromkeys(name for one in whole for name in _names_of(one))
    if allowed and all(_names_of(one) for one in whole) and len(whole) == sum(map(len, branches)):
        yield Problem(path_of(at), f"must be {either([*allowed])}", _cut(error.instance))
        return
    asked = dict.fromkeys(
        " and ".join(
            sentence(Problem(problem.path, problem.reason))
            for one in branch
            for problem in explained(one, data)
        )
        for branch in ranked[:TOLD]
    )
    yield Problem(path_of(at), f"fits none of the alternatives: {', or '.join(asked)}", _cut(error.instance))


def _names_of(error: ValidationError) -> list[str]:
    """Return the types or values that would fit, if nothing else is wrong."""
    from jsonschema_rs import ValidationErrorKind as Kind

    match error.kind:
        case Kind.Type(types=types):
            return [TYPES.get(name, name) for name in types]
        case Kind.Enum(options=options):
            return [written(value) for value in options]
        case Kind.Constant(expected_value=value):
            return [written(value)]
    return []


def _reason(error: ValidationError) -> str:
    """Return what is wrong with a value, to follow its path in a sentence."""
    from jsonschema_rs import ValidationErrorKind as Kind

    name = type(error.kind).__name__
    keyword = f"{name[0].lower()}{name[1:]}"
    if keyword in _LIMITS:
        limit = getattr(error.kind, "multiple_of" if keyword == "multipleOf" else "limit", None)
        if keyword == "minLength" and limit == 1:
            return "must not be empty"
        return f"must {'have' if _LIMITS[keyword][1] else 'be'} {allowed(keyword, limit)}"
    match error.kind:
        case Kind.Type() | Kind.Constant():
            return f"must be {either(_names_of(error))}"
        case Kind.Enum():
            return f"must be {either(_names_of(error), 'one of ')}"
        case Kind.Pattern(pattern=pattern):
            return f"must match {pattern}"
        case Kind.Format(format=form):
            return f"is not a valid {FORMATS.get(form, form)}"
        case Kind.ContentEncoding(content_encoding=form) | Kind.ContentMediaType(content_media_type=form):
            return f"is not valid {form}"
    return _REASONS.get(keyword, error.message)


def either(allowed: Sequence[str], several: str = "") -> str:
    """Return `a, b or c`."""
    if not allowed:
        return "something that does not exist"
    if len(allowed) == 1:
        return allowed[0]
    return f"{several}{', '.join(allowed[:-1])} or {allowed[-1]}"


def allowed(keyword: str, limit: Any) -> str:
    """Return a limit in words, such as `at least 3 characters`."""
    words, noun = _LIMITS[keyword]
    if noun and limit != 1:
        noun = f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    return f"{words} {limit} {noun}".rstrip()


def written(value: Json) -> str:
    """Return a value of a form for a message: a text unchanged, any other value as JSON."""
    return value if isinstance(value, str) and value else _cut(value)


def shortened(value: Json, longest: int) -> str:
    """Return a value for a line of text, in at most `longest` characters; a text without quotes."""
    return cut(value if isinstance(value, str) and value else to_json(value), longest)


def _cut(value: Json) -> str:
    return cut(to_json(value), VALUE_LENGTH)
