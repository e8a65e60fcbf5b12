"""What holds for every form and every answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hitl_cli.client.wire import same_json
from hitl_cli.errors import BadInput
from hitl_cli.forms import Field, check, check_schema, fields, fill, parse_field, problems, problems_at

quick = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

WORDS = (
    "type", "properties", "required", "items", "enum", "const", "default", "anyOf", "oneOf", "allOf", "not",
    "$ref", "$defs", "$id", "$schema", "$anchor", "$dynamicRef", "title", "description", "format", "pattern",
    "minimum", "multipleOf", "maxLength", "minItems", "uniqueItems", "additionalProperties", "propertyNames",
    "examples", "if", "then", "prefixItems", "writeOnly", "dependentRequired", "contains",
)  # fmt: skip
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
HOSTILE = (
    "__type",
    "__py_pickle",
    "a.b",
    "a=b",
    "",
    "[0]",
    '"',
    "a/b~%",
    "\x1b[31m",
    "\u202egnp.exe",
    "a",
    "b",
    "ß",
)

keys = st.sampled_from(HOSTILE)
texts = st.one_of(
    st.sampled_from(
        (*TYPES, *HOSTILE, "#", "#/$defs/a", "#/properties/a", "http://127.0.0.1:1/", "email", "date", "(")
    ),
    st.text(max_size=8),
)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), floats, texts)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), keys), inner, max_size=5),
    ),
    max_leaves=25,
)


@dataclass(frozen=True)
class Form:
    """A schema, and what fits it."""

    schema: Any
    answers: st.SearchStrategy[Any]


def number_form(low: int, size: int) -> Form:
    most = low + size
    return Form({"type": "integer", "minimum": low, "maximum": most}, st.integers(low, most))


leaf_forms = st.one_of(
    st.integers(0, 9).map(lambda most: Form({"type": "string", "maxLength": most}, st.text(max_size=most))),
    st.builds(number_form, st.integers(-(10**20), 10**20), st.integers(0, 100)),
    st.just(Form({"type": "number"}, floats)),
    st.just(Form({"type": "boolean"}, st.booleans())),
    st.just(Form({"type": "string", "format": "date"}, st.dates().map(str))),
    st.just(
        Form(
            {"type": "string", "format": "date-time"},
            st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        )
    ),
    st.just(Form({"type": ["integer", "null"]}, st.one_of(st.none(), st.integers()))),
    st.just(
        Form(
            {"anyOf": [{"$ref": "#/$defs/size"}, {"type": "null"}], "default": None},
            st.sampled_from(("s", "m", None)),
        )
    ),
    st.lists(scalars, min_size=1, max_size=4, unique_by=msgspec.json.encode).map(
        lambda some: Form({"enum": some}, st.sampled_from(some))
    ),
    scalars.map(lambda value: Form({"const": value}, st.just(value))),
    st.just(Form({}, anything)),
)
list_forms = st.builds(
    lambda item, most: Form(
        {"type": "array", "items": item.schema, "maxItems": most}, st.lists(item.answers, max_size=most)
    ),
    leaf_forms,
    st.integers(0, 3),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Form]) -> Form:
    members = draw(st.dictionaries(keys, inner, min_size=1, max_size=4))
    required = draw(st.sets(st.sampled_from(sorted(members))))
    schema = {
        "type": "object",
        "properties": {name: member.schema for name, member in members.items()},
        "required": sorted(required),
        "additionalProperties": False,
    }
    answers = {name: member.answers for name, member in members.items()}
    needed = {name: one for name, one in answers.items() if name in required}
    optional = {name: one for name, one in answers.items() if name not in required}
    return Form(schema, st.fixed_dictionaries(needed, optional=optional))


forms = objects(st.recursive(st.one_of(leaf_forms, list_forms), objects, max_leaves=6))


@st.composite
def forms_and_answers(draw: st.DrawFn) -> tuple[Any, Any]:
    form = draw(forms)
    return {**form.schema, "$defs": {"size": {"enum": ["s", "m"]}}}, draw(form.answers)


def valid(schema: Any, data: Any) -> bool:
    return jsonschema_rs.validator_for(schema, validate_formats=True, offline=True).is_valid(data)


def at(data: Any, names: tuple[str | int, ...]) -> list[Any]:
    """What is at a place, as a list of one; nothing if nothing is there."""
    for name in names:
        if not isinstance(data, dict) or name not in data:
            return []
        data = data[name]
    return [data]


def typed(field: Field, value: Any) -> str:
    """What a person types to give this value."""
    if field.kind in {"text", "date", "time", "date-time"}:
        assert isinstance(value, str)
        return value
    if field.kind == "choice" and value in field.choices:
        return field.labels[[same_json(value, choice) for choice in field.choices].index(True)]
    return msgspec.json.encode(value).decode()


@quick
@given(anything, anything, st.lists(st.tuples(texts, texts), max_size=3))
def test_nothing_that_is_json_breaks_anything(schema: Any, data: Any, typed: list[tuple[str, str]]) -> None:
    with suppress(BadInput):
        check_schema(schema)
    with suppress(BadInput):
        check(schema, data)
    with suppress(BadInput):
        fill(schema, typed)
    for field in fields(schema):
        for _, text in typed:
            with suppress(BadInput):
                parse_field(field, text)
        with suppress(BadInput):
            problems_at(schema, field.pointers, data)
        with suppress(BadInput):
            fill(schema, [(field.path, text) for _, text in typed])


@quick
@given(
    anything.filter(lambda one: isinstance(one, dict)),
    st.one_of(anything, st.dictionaries(keys, anything, max_size=3)),
)
def test_what_the_library_refuses_is_explained_and_nothing_else_is(schema: Any, data: Any) -> None:
    schema.pop("$schema", None)
    try:
        fits = valid(schema, data)
    except ValueError:
        with pytest.raises(BadInput):
            problems(schema, data)
        return
    found = problems(schema, data)
    assert fits == (not found)
    assert all(problem.reason for problem in found)


@quick
@given(forms_and_answers())
def test_an_answer_that_is_made_from_the_form_fits_it_field_by_field(case: tuple[Any, Any]) -> None:
    schema, data = case
    check(schema, data)
    for field in fields(schema):
        for value in at(data, field.keys):
            assert problems_at(schema, field.pointers, value) == []


@quick
@given(forms_and_answers())
def test_an_answer_can_be_given_by_field(case: tuple[Any, Any]) -> None:
    schema, data = case
    given_now = [(field, value) for field in fields(schema) for value in at(data, field.keys)]
    made = fill(schema, [(field.path, typed(field, value)) for field, value in given_now])
    check(schema, made)
    for field, value in given_now:
        (filled,) = at(made, field.keys)
        assert same_json(value, filled)


@quick
@given(forms_and_answers(), st.data())
def test_an_answer_that_is_changed_is_refused_where_the_library_refuses_it(
    case: tuple[Any, Any], data: st.DataObject
) -> None:
    schema, answer = case
    assume(isinstance(answer, dict))
    changed = {**answer, data.draw(keys): data.draw(anything)}
    found = problems(schema, changed)
    assert bool(found) is not valid(schema, changed)
    if found:
        with pytest.raises(BadInput, match="Nothing was changed"):
            check(schema, changed)
