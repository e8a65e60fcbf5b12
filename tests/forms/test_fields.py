"""The fields that a form comes down to."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from hitl_cli.forms import Field, fields


def one(schema: Any) -> Field:
    (field,) = fields(schema)
    return field


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def shown(schema: Any) -> list[tuple[str, str, bool]]:
    return [(field.path, field.kind, field.required) for field in fields(schema)]


def test_the_fields_come_in_the_authors_order() -> None:
    schema = obj(
        "amount",
        "address",
        amount={"type": "integer"},
        note={"type": "string"},
        address=obj("city", city={"type": "string"}, zip={"type": ["string", "null"]}),
        more=obj("a", a={"type": "boolean"}),
    )
    assert shown(schema) == [
        ("amount", "integer", True),
        ("note", "text", False),
        ("address.city", "text", True),
        ("address.zip", "text", False),
        ("more.a", "boolean", False),
    ]
    assert [field.nullable for field in fields(schema)] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"type": "string", "format": "time"}, "time"),
        ({"type": "integer"}, "integer"),
        ({"type": "number"}, "number"),
        ({"type": ["number", "integer", "null"]}, "number"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "null"}, "choice"),
        ({"enum": ["a", "b"]}, "choice"),
        ({"const": 1}, "choice"),
        ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, "choice"),
        ({"type": "string", "anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "choice"),
        ({"type": "array", "items": {"type": "string"}}, "list"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "list"),
        ({"type": "array", "items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"type": "integer"}}}, "list"),
        ({"type": "array"}, "json"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "json"),
        ({"type": "array", "items": obj(a={"type": "integer"})}, "rows"),
        ({"type": "array", "items": {"anyOf": [obj(a={"type": "integer"}), {"type": "null"}]}}, "json"),
        ({"type": "array", "items": {"type": "object"}}, "json"),
        ({"type": "array", "prefixItems": [{}], "items": {"type": "string"}}, "json"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "json"),
        ({"type": "object"}, "json"),
        ({"type": ["string", "integer"]}, "json"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "json"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, "integer"),
        ({"$ref": "https://example.org/elsewhere", "type": "string"}, "json"),
        ({"$ref": "#/$defs/none"}, "json"),
        (True, "json"),
        (False, "json"),
        ({}, "json"),
    ],
)
def test_a_single_value_is_one_field_with_no_path(schema: Any, kind: str) -> None:
    field = one(schema)
    assert (field.path, field.keys, field.kind, field.required) == ("", (), kind, True)


def test_an_object_without_fields_has_none() -> None:
    assert fields({"type": "object", "properties": {}, "additionalProperties": False}) == []


def test_references_within_the_form_are_followed() -> None:
    schema = {
        "$ref": "#/$defs/Form",
        "$defs": {
            "Form": obj("size", size={"$ref": "#/$defs/Size", "description": "How big"}),
            "Size": {"title": "Size", "enum": ["s", "m"], "default": "m"},
        },
    }
    field = one(schema)
    assert (field.path, field.kind, field.choices, field.default) == ("size", "choice", ("s", "m"), "m")
    assert (field.title, field.description) == (None, "How big")  # the title of a definition names the type


def test_all_of_several_parts_counts() -> None:
    schema = {
        "allOf": [
            obj("a", a={"type": "integer"}, b={"type": "string"}),
            obj("b", a={"maximum": 5}, c={"type": "boolean"}),
        ]
    }
    assert shown(schema) == [("a", "integer", True), ("b", "text", True), ("c", "boolean", False)]
    assert fields(schema)[0].hint == "at most 5"
    assert fields(schema)[0].pointers == ("#/allOf/0/properties/a", "#/allOf/1/properties/a")


def test_what_may_be_null_is_what_it_is_otherwise() -> None:
    schema = obj(
        "a",
        a={"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}], "default": None},
    ) | {"$defs": {"Address": obj("city", city={"type": "string"})}}
    assert shown(schema) == [("a.city", "text", True)]


@pytest.mark.parametrize(
    ("schema", "stated"),
    [
        ({"type": "integer", "default": 0}, 0),
        ({"type": "boolean", "default": False}, False),
        ({"type": "string", "default": "none"}, "none"),
        ({"type": "string", "default": ""}, UNSET),
        ({"type": ["string", "null"], "default": None}, UNSET),
        ({"type": "array", "items": {"type": "string"}, "default": []}, UNSET),
        ({"enum": ["", "a"], "default": ""}, ""),
        ({"type": "string"}, UNSET),
    ],
)
def test_a_default_that_is_empty_goes_without_saying(schema: Any, stated: Any) -> None:
    assert one(schema).stated_default is stated


@pytest.mark.parametrize(
    ("schema", "hint"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 500}, "at least 1, at most 500"),
        ({"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5}, "more than 0, a multiple of 0.5"),
        ({"type": "string", "minLength": 1, "maxLength": 9}, "at least 1 character, at most 9 characters"),
        ({"type": "string", "format": "email"}, "email"),
        ({"type": "string", "format": "date"}, "date, such as 2026-01-31"),
        ({"type": "string", "pattern": "^a$", "examples": ["a", "b"]}, "matching ^a$, for example a or b"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
         "at least 1 entry, each once"),
        ({"type": "integer", "minimum": True, "maxLength": 3, "examples": {}}, ""),
    ],
)  # fmt: skip
def test_what_is_allowed_is_said_in_a_few_words(schema: Any, hint: str) -> None:
    assert one(schema).hint == hint


def test_choices_are_called_what_tells_them_apart() -> None:
    assert one({"enum": ["a", 1, "1", None, "", "null", {"b": []}]}).labels == (
        "a", "1", '"1"', '""', '"null"', '{"b":[]}',
    )  # fmt: skip
    assert one({"enum": ["a", None]}).nullable  # null is chosen by choosing nothing
    assert one({"enum": [None]}).labels == ("null",)


def test_a_default_is_told_from_none() -> None:
    assert one({"type": "string"}).default is UNSET
    assert one({"type": ["string", "null"], "default": None}).default is None


def test_a_secret_is_known() -> None:
    assert [field.secret for field in fields(obj(a={"format": "password"}, b={"writeOnly": True}, c={}))] == [
        True, True, False,
    ]  # fmt: skip


def test_what_refers_to_itself_is_filled_in_as_json_there() -> None:
    tree = obj(
        "name",
        name={"type": "string"},
        left={"$ref": "#"},
        children={"type": "array", "items": {"$ref": "#"}},
    )
    assert shown(tree) == [("name", "text", True), ("left", "json", False), ("children", "json", False)]


def test_a_form_of_too_many_fields_is_filled_in_as_json() -> None:
    assert len(fields(obj(**{f"f{index}": {} for index in range(100)}))) == 100
    assert one(obj(**{f"f{index}": {} for index in range(1000)})).kind == "json"
    definitions = {
        f"d{index}": obj(a={"$ref": f"#/$defs/d{index + 1}"}, b={"$ref": f"#/$defs/d{index + 1}"})
        for index in range(50)
    }
    assert one({"$ref": "#/$defs/d0", "$defs": definitions}).kind == "json"


def test_groups_nested_very_deep_end_in_json() -> None:
    schema: Any = {"type": "string"}
    for _ in range(90):
        schema = obj("a", a=schema)
    assert shown(schema) == [(".".join("a" * 10), "json", True)]


def test_a_limit_that_cannot_be_counted_with_is_none() -> None:
    schema = {"type": "number", "minimum": 10**400, "maximum": 7, "multipleOf": 1e-300}
    assert one(schema).limits == {"maximum": 7, "multipleOf": 1e-300}
