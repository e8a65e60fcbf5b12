"""What does not fit a form, in plain words rather than a library's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.forms.paths import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jsonschema_rs import ValidationError

    from hitl_cli.client.wire import Json

TOLD = 3
"""How many of several problems, or alternatives, make a sentence that can be read."""

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
    "uri": "address, such as https://example.org/",
    "ipv4": "IPv4 address",
    "ipv6": "IPv6 address",
    "uuid": "UUID",
    "regex": "regular expression",
}


class Problem(Struct, frozen=True):
    """One thing in an answer that does not fit the form.

    `path` is as in forms.paths. `reason` goes on after it (`must be at most 500`). `value` is what was given
    there, as JSON, cut short; None where nothing was. Texts of the form's author and of the answer are in all
    three: show them through `text.printable`.
    """

    path: str
    reason: str
    value: str | None = None


def sentence(problem: Problem) -> str:
    """Return a problem as people say it."""
    given = "" if problem.value is None else f" ({problem.value} was given)"
    return f"{problem.path or 'it'} {problem.reason}{given}"


def explained(error: ValidationError, data: Json) -> Iterator[Problem]:
    """Yield what an error of the library in the data means, one or several problems."""
    from jsonschema_rs import ValidationErrorKind as Kind

    where = error.instance_path
    match error.kind:
        case Kind.Required(property=name):
            yield Problem(path_of([*where, name]), "is required")
        case Kind.AdditionalProperties(unexpected=names) | Kind.UnevaluatedProperties(unexpected=names):
            for name in names:
                yield Problem(path_of([*where, name]), "is not known", _cut(_member(error.instance, name)))
        case Kind.PropertyNames(error=inner):
            for one in explained(inner, data):
                yield Problem(path_of([*where, str(inner.instance)]), f"has a name that {one.reason}")
        case Kind.AnyOf(context=branches) | Kind.OneOfNotValid(context=branches):
            yield from _best(error, branches, data)
        case Kind.FalseSchema() if error.schema_path[-1:] == ["additionalProperties"]:
            # The library does not say which, where no field is known at all.
            for name, value in _fields_at(data, where).items():
                yield Problem(path_of([*where, name]), "is not known", _cut(value))
        case _:
            yield Problem(path_of(where), _reason(error), _cut(error.instance))


def _best(error: ValidationError, branches: list[list[ValidationError]], data: Json) -> Iterator[Problem]:
    """Yield the problems of the alternative that was most likely meant, or what all of them ask."""
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
    yield Problem(
        path_of(at), f"fits nothing that is allowed: either {', or '.join(asked)}", _cut(error.instance)
    )


def _names_of(error: ValidationError) -> list[str]:
    """Return the types or values that would have been right, where that is all that is wrong."""
    from jsonschema_rs import ValidationErrorKind as Kind

    match error.kind:
        case Kind.Type(types=types):
            return [TYPES.get(name, name) for name in types]
        case Kind.Enum(options=options):
            return [written(value) for value in options]
        case Kind.Constant(expected_value=value):
            return [written(value)]
    return []


def _reason(error: ValidationError) -> str:  # noqa: C901, PLR0912 - one line a keyword
    """Return what is wrong with a value, to be read after its path."""
    from jsonschema_rs import ValidationErrorKind as Kind

    match error.kind:
        case Kind.Type() | Kind.Constant():
            return f"must be {either(_names_of(error))}"
        case Kind.Enum():
            return f"must be {either(_names_of(error), 'one of ')}"
        case Kind.Maximum(limit=limit):
            return f"must be at most {limit}"
        case Kind.Minimum(limit=limit):
            return f"must be at least {limit}"
        case Kind.ExclusiveMaximum(limit=limit):
            return f"must be less than {limit}"
        case Kind.ExclusiveMinimum(limit=limit):
            return f"must be more than {limit}"
        case Kind.MultipleOf(multiple_of=step):
            return f"must be a multiple of {step}"
        case Kind.MaxLength(limit=count):
            return f"must have at most {counted(count, 'character')}"
        case Kind.MinLength(limit=1):
            return "must not be empty"
        case Kind.MinLength(limit=count):
            return f"must have at least {counted(count, 'character')}"
        case Kind.MaxItems(limit=count) | Kind.AdditionalItems(limit=count):
            return f"must have at most {counted(count, 'entry')}"
        case Kind.MinItems(limit=count):
            return f"must have at least {counted(count, 'entry')}"
        case Kind.MaxProperties(limit=count):
            return f"must have at most {counted(count, 'field')}"
        case Kind.MinProperties(limit=count):
            return f"must have at least {counted(count, 'field')}"
        case Kind.UniqueItems():
            return "must not have the same entry twice"
        case Kind.Contains():
            return "does not have as many entries of one kind as it needs"
        case Kind.UnevaluatedItems():
            return "has entries that are not known"
        case Kind.Pattern(pattern=pattern):
            return f"must match {pattern}"
        case Kind.BacktrackLimitExceeded() | Kind.RegexEngineFailure():
            return "cannot be checked, because the form's pattern takes too long"
        case Kind.Format(format=name):
            return f"is not a valid {FORMATS.get(name, name)}"
        case Kind.ContentEncoding(content_encoding=name) | Kind.ContentMediaType(content_media_type=name):
            return f"is not valid {name}"
        case Kind.OneOfMultipleValid():
            return "fits more than one of what is allowed, and must fit one"
        case Kind.FalseSchema() | Kind.Not():
            return "is not allowed"
    return error.message


def either(allowed: Sequence[str], several: str = "") -> str:
    """Return `a, b or c`."""
    if not allowed:
        return "something that does not exist"
    if len(allowed) == 1:
        return allowed[0]
    return f"{several}{', '.join(allowed[:-1])} or {allowed[-1]}"


def counted(count: Any, noun: str) -> str:
    """Return `1 entry` or `3 entries`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


def written(value: Json) -> str:
    """Return a value that a form names: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) and value else _cut(value)


def _fields_at(data: Json, where: Sequence[str | int]) -> dict[str, Json]:
    """Return the object at a place in the data."""
    for key in where:
        data = data[key]
    return data if isinstance(data, dict) else {}


def _member(value: Json, name: str) -> Json:
    """Return a member of an object."""
    return value[name] if isinstance(value, dict) and name in value else None


def _cut(value: Json) -> str:
    """Return a value as JSON, cut short."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 1]}…"
