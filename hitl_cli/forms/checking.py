"""Checks that a form is a JSON Schema, and that an answer fits it, with reasons that a person understands.

Anyone may write a form or an answer. So nothing in them is fetched, and checking them takes a few seconds at
most.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Never
from urllib.parse import quote

import msgspec
from msgspec import UNSET, UnsetType

from hitl_cli.client.wire import same_json
from hitl_cli.errors import BadInput, DoesNotFit
from hitl_cli.format.json import why_not_json
from hitl_cli.forms.added_formats import OWN_FORMATS, ContentEncoding
from hitl_cli.forms.complexity import SMALL, at_pointer, effort
from hitl_cli.forms.fields import EDITABLE, Field, Group, flat, initial, tree
from hitl_cli.forms.messages import TOLD, Problem, explained, sentence
from hitl_cli.forms.paths import path_of, value_at
from hitl_cli.forms.permission import unclear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jsonschema_rs import Validator

    from hitl_cli.client.wire import Json

MAX_FORM_BYTES = 100_000
"""Largest form, as JSON."""

MAX_DEPTH = 100
"""Deepest nesting of a form or an answer, a little below the checker's own limit."""

MAX_EFFORT = 1_000_000
"""Most comparisons of a part of the form with a part of the answer (about a second)."""

MAX_EXPLAINED = SMALL
"""How many of them may be explained, which takes longer; of a long answer, as many as it has bytes."""

MAX_BACKTRACKS = 10_000
MAX_PROBLEMS = 100
"""Most violations in one message."""

DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-04/schema",
)

_FORM = "form:"


def check_schema(schema: Json) -> None:
    """Raise BadInput, with path and reason, for an invalid JSON Schema or a reference to another document.

    `$schema` may name any draft from 4 to 2020-12; the default is 2020-12.
    """
    _validator(_as_form(schema))


def problems(schema: Json, data: Json) -> list[Problem]:
    """Return what does not fit the form; formats (email, date, uri, …) are checked.

    The value of a secret field is not repeated. Raises BadInput if the form is not valid.
    """
    form = _as_form(schema)
    whole = tree(form)
    known = list(flat(whole))
    before: Json | UnsetType = UNSET
    if isinstance(form, dict) and EDITABLE in form:
        before = form.get("default")
        why = None if same_json(before, data) else unclear(form)
        if why is not None:
            return [Problem(why.path, f"cannot be changed: the schema {why.reason}")]
    kept = [] if before is UNSET else _not_kept(whole, before, data)
    if before is not UNSET and not isinstance(data, dict):
        return [Problem("", "must be an object")]
    secrets = [field.path for field in known if field.secret]
    return [
        msgspec.structs.replace(problem, value=None)
        if any(overlap(problem.path, secret) for secret in secrets)
        else problem
        for problem in [*_found(_validator(form), form, [form], data), *_changed(known, data), *kept]
    ]


def _changed(known: Sequence[Field], data: Json, where: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """Yield changes of read-only fields, also in the rows of a list."""
    for field in known:
        value = value_at(data, field.keys)
        first = initial(field)
        if field.read_only and value is not UNSET and (first is UNSET or not same_json(value, first)):
            yield Problem(path_of((*where, *field.keys)), "cannot be changed")
        if field.row is not None and isinstance(value, list):
            for number, row in enumerate(value):
                yield from _changed([*flat(field.row)], row, (*where, *field.keys, number))


def _not_kept(
    node: Field | Group, before: Json | UnsetType, now: Json | UnsetType, where: tuple[str | int, ...] = ()
) -> Iterator[Problem]:
    """Yield the changes to members of an object that have no field in the form, or a read-only one."""
    if isinstance(node, Field):
        if node.read_only and now is UNSET and before is not UNSET:
            yield Problem(path_of(where), "cannot be removed")
        both = (*_without_field(node, before, where), *_without_field(node, now, where))
        yield from dict.fromkeys(both)
        return
    if isinstance(before, dict) and not (
        isinstance(now, dict | UnsetType) or (now is None and node.nullable)
    ):
        yield Problem(path_of(where), "must be an object")
        return
    was, made = before if isinstance(before, dict) else {}, now if isinstance(now, dict) else {}
    members = {member.keys[-1]: member for member in node.members}
    for name in dict.fromkeys([*was, *made]):
        one, other, at = was.get(name, UNSET), made.get(name, UNSET), (*where, name)
        if name in members:
            yield from _not_kept(members[name], one, other, at)
        elif one is UNSET or other is UNSET or not same_json(one, other):
            yield Problem(path_of(at), "cannot be changed")


def _without_field(node: Field | Group, value: Json, where: tuple[str | int, ...]) -> Iterator[Problem]:
    """Yield the parts of a row that have no field: they would be lost when the row is filled in again."""
    if isinstance(node, Field):
        if node.row is not None and isinstance(value, list):
            for number, row in enumerate(value):
                yield from _without_field(node.row, row, (*where, number))
        return
    members = {member.keys[-1]: member for member in node.members}
    for name, inner in (value if isinstance(value, dict) else {}).items():
        if name in members:
            yield from _without_field(members[name], inner, (*where, name))
        else:
            yield Problem(path_of((*where, name)), "has no field in the form")


def problems_at(schema: Json, pointers: Sequence[str], value: Json) -> list[Problem]:
    """Return what does not fit the parts of a form at JSON pointers (`#/properties/amount`)."""
    if isinstance(schema, bool) or list(pointers) == ["#"]:
        return problems(schema, value)
    form = _as_form(schema)
    assert isinstance(form, dict)
    parts = [at_pointer(form, pointer) for pointer in pointers]
    references = [{"$ref": f"{_FORM}#{quote(pointer[1:], safe='/~')}"} for pointer in pointers]
    return _found(_validator({"allOf": references}, form), form, parts, value)


def overlap(path: str, other: str) -> bool:
    """Whether two paths are the same, or one contains the other."""
    shorter, longer = sorted((path, other), key=len)
    return not shorter or longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))


def check(schema: Json, data: Json) -> None:
    """Raise DoesNotFit, with the first problems in one sentence, if the data does not fit."""
    wrong = problems(schema, data)
    if wrong:
        more = f", and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
        told = "; ".join(sentence(problem) for problem in wrong[:TOLD])
        places = [(problem.path, sentence(problem)) for problem in wrong]
        raise DoesNotFit(f"the answer does not fit: {told}{more}. Nothing was changed.", problems=places)


def _as_form(schema: Json) -> dict[str, Json] | bool:
    """Return a form as plain JSON. Raises BadInput if it is too large, too deep or not a schema at all."""
    try:
        text = msgspec.json.encode(schema)
        plain = msgspec.json.decode(text)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise bad_form(f"the form is not JSON: {why_not_json(error)}.") from error
    if not isinstance(plain, dict | bool):
        raise bad_form("the form is not a valid JSON Schema: it must be an object, true or false.")
    if len(text) > MAX_FORM_BYTES:
        raise bad_form(f"the form is {len(text):,} bytes of JSON: at most {MAX_FORM_BYTES:,} are allowed.")
    if _is_deeper(plain, MAX_DEPTH):
        raise bad_form(f"the form is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(plain, dict):
        draft = plain.get("$schema")
        if isinstance(draft, str) and draft.removesuffix("#") not in DRAFTS:
            del plain["$schema"]
    return plain


def _validator(schema: dict[str, Json] | bool, form: dict[str, Json] | None = None) -> Validator:
    """Return the validator of a schema, which may refer to the form. Raises BadInput."""
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            schema,
            validate_formats=True,
            formats=dict(OWN_FORMATS),
            keywords={"contentEncoding": ContentEncoding},
            retriever=_refuse,
            registry=None if form is None else jsonschema_rs.Registry([(_FORM, form)], retriever=_refuse),
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS),
        )
    except jsonschema_rs.ValidationError as error:
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Referencing):
            raise bad_form(
                f"the form has a reference that leads nowhere: {error.kind.error.message}."
            ) from error
        told = "; ".join(sentence(one) for one in islice(explained(error, schema), TOLD))
        raise bad_form(f"the form is not a valid JSON Schema: {told}.") from error
    except ValueError as error:
        raise bad_form(f"the form cannot be used: {error}.") from error


def bad_form(message: str) -> BadInput:
    """Return the error for a form that cannot be used."""
    return BadInput(message, code="bad-form")


def _refuse(uri: str) -> Never:
    """Refuse to fetch a part of a form: otherwise its author could make this machine send requests."""
    message = f"{uri} is not part of the form, and hitl fetches nothing"
    raise ValueError(message)


def _found(checker: Validator, form: Json, parts: Sequence[Json], data: Json) -> list[Problem]:
    """Return the problems that a validator finds in the data."""
    try:
        text = msgspec.json.encode(data)
        plain = msgspec.json.decode(text)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        return [Problem("", f"is not JSON: {why_not_json(error)}")]
    if _is_deeper(plain, MAX_DEPTH):
        return [Problem("", f"is nested more than {MAX_DEPTH} levels deep")]
    needed = effort(form, parts, plain)
    if needed > MAX_EFFORT:
        return [Problem("", "takes too long to check against this form")]
    if checker.is_valid(plain):
        return []
    if needed > max(MAX_EXPLAINED, len(text)):
        return [Problem("", "does not fit the form")]
    told = (problem for error in checker.iter_errors(plain) for problem in explained(error, plain))
    return list(dict.fromkeys(islice(told, MAX_PROBLEMS)))


def _is_deeper(value: Json, limit: int) -> bool:
    """Whether a JSON value is nested more than `limit` deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True
