"""Valid forms, and answers that do not fit them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.forms import Problem, check, check_schema, fields, problems, problems_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def told(schema: Any, data: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.reason) for problem in problems(schema, data)]


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


ADDRESS = obj(address=obj(city={"type": "string", "minLength": 1}))
ITEMS = obj(items={"type": "array", "items": obj(price={"type": "number"})})
TAGGED = {
    "anyOf": [
        {**obj(kind={"const": "card"}, number={"type": "string"}), "required": ["kind", "number"]},
        {**obj(kind={"const": "cash"}, amount={"type": "integer"}), "required": ["kind", "amount"]},
    ]
}


@pytest.mark.parametrize(
    ("schema", "data", "expected"),
    [
        ({"type": "integer", "maximum": 500}, 600, [("", "must be at most 500")]),
        ({"type": "integer"}, "x", [("", "must be a whole number")]),
        ({"type": ["integer", "null"]}, "x", [("", "must be null or a whole number")]),
        ({"minimum": 1.5}, 1, [("", "must be at least 1.5")]),
        ({"exclusiveMinimum": 0}, 0, [("", "must be more than 0")]),
        ({"exclusiveMaximum": 5}, 5, [("", "must be less than 5")]),
        ({"multipleOf": 5}, 7, [("", "must be a multiple of 5")]),
        ({"enum": ["a", "b", 3]}, "c", [("", "must be one of a, b or 3")]),
        ({"enum": ["a"]}, "c", [("", "must be a")]),
        ({"const": True}, False, [("", "must be true")]),
        ({"minLength": 1}, "", [("", "must not be empty")]),
        ({"maxLength": 2}, "abc", [("", "must have at most 2 characters")]),
        ({"minItems": 1}, [], [("", "must have at least 1 entry")]),
        ({"maxItems": 1}, [1, 2], [("", "must have at most 1 entry")]),
        ({"uniqueItems": True}, [1, 1], [("", "must not have the same entry twice")]),
        ({"contains": {}}, [], [("", "does not have enough entries of one kind")]),
        ({"pattern": "^a+$"}, "b", [("", "must match ^a+$")]),
        ({"format": "email"}, "nobody", [("", "is not a valid email")]),
        ({"format": "date"}, "2026-02-30", [("", "is not a valid date, such as 2026-01-31")]),
        ({"format": "date-time"}, "today", [("", "is not a valid time, such as 2026-01-31T12:00:00Z")]),
        ({"format": "uri"}, "x", [("", "is not a valid address, such as https://example.org/")]),
        ({"format": "uuid"}, "x", [("", "is not a valid UUID")]),
        ({"not": {"type": "string"}}, "x", [("", "is not allowed")]),
        (False, 1, [("", "is not allowed")]),
        ({"enum": []}, 1, [("", "must be something that does not exist")]),
        (ADDRESS, {"address": {"city": ""}}, [("address.city", "must not be empty")]),
        (ITEMS, {"items": [{}, {}, {"price": "x"}]}, [("items[2].price", "must be a number")]),
        ({"required": ["a", "b"]}, {}, [("a", "is required"), ("b", "is required")]),
        ({**obj(a={}), "additionalProperties": False}, {"z": 1}, [("z", "is not known")]),
        ({**obj(a={}), "unevaluatedProperties": False}, {"z": 1}, [("z", "is not known")]),
        ({"additionalProperties": False}, {"z": 1}, [("z", "is not known")]),
        (obj(a=False), {"a": 1}, [("a", "is not allowed")]),
        ({"propertyNames": {"enum": ["a"]}}, {"abc": 1}, [("abc", "has a name that must be a")]),
        ({"minProperties": 2}, {}, [("", "must have at least 2 fields")]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", [("", "must be a whole number or null")]),
        ({"anyOf": [{"type": "integer", "maximum": 5}, {"type": "null"}]}, 9, [("", "must be at most 5")]),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "x", [("", "must be a or b")]),
        (
            {"oneOf": [{}, {"minimum": 0}]},
            3,
            [("", "fits more than one alternative, and must fit exactly one")],
        ),
        (TAGGED, {"kind": "card"}, [("number", "is required")]),
        (TAGGED, {"kind": "cash", "amount": "x"}, [("amount", "must be a whole number")]),
        (
            {"anyOf": [{"required": ["mail"]}, {"required": ["phone"]}]},
            {},
            [("", "fits none of the alternatives: mail is required, or phone is required")],
        ),
    ],
)
def test_what_does_not_fit_is_told_by_path_and_reason(
    schema: Any, data: Any, expected: list[tuple[str, str]]
) -> None:
    assert told(schema, data) == expected


def test_what_is_no_json_does_not_fit() -> None:
    for data in ("\ud800", object(), {1, object()}):
        ((path, reason),) = told(True, data)
        assert path == ""
        assert reason.startswith("is not JSON")


def test_a_pattern_that_would_take_for_ever_is_given_up() -> None:
    ((_, reason),) = told({"pattern": "^(a|a|b)*(?!c)$"}, "a" * 5000 + "!")
    assert reason == "cannot be checked, because the form's pattern takes too long"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("first-name", "first-name"),
        ("größe", "größe"),
        ("__type", "__type"),
        ("a.b", '["a.b"]'),
        ("a=b", '["a=b"]'),
        ("", '[""]'),
        ("a b", '["a b"]'),
        ("[0]", '["[0]"]'),
        ("\x1b[31m", '["\\u001b[31m"]'),
        ("\u202eabc", '["\\u202eabc"]'),
    ],
)
def test_a_name_that_would_be_read_otherwise_is_quoted(key: str, path: str) -> None:
    assert told({"required": [key]}, {}) == [(path, "is required")]


def test_an_answer_is_refused_in_one_sentence() -> None:
    schema = {**obj(amount={"maximum": 500}), "required": ["note", "a"]}
    with pytest.raises(BadInput) as refused:
        check(schema, {"amount": 600})
    assert str(refused.value) == (
        "the answer does not fit: note is required; a is required; amount must be at most 500"
        " (600 was given). Nothing was changed."
    )
    check(schema, {"amount": 500, "note": "", "a": 0})


def test_of_many_problems_the_first_are_told() -> None:
    with pytest.raises(BadInput, match=r"a is required; b is required; c is required, and 2 more\."):
        check({"required": list("abcde")}, {})


def test_a_secret_that_does_not_fit_is_not_shown() -> None:
    schema = obj(pin={"type": "string", "format": "password", "minLength": 9})
    within = {"properties": {"a": {**schema, "minProperties": 2}}, "minProperties": 2}
    lists = obj(pins={"type": "array", "format": "password", "items": {"type": "integer"}})
    for form, data in (
        (schema, {"pin": "geheim"}),
        (within, {"a": {"pin": "geheim"}}),
        (lists, {"pins": ["geheim"]}),
    ):
        with pytest.raises(BadInput) as refused:
            check(form, data)
        assert "geheim" not in str(refused.value)


def test_what_was_given_is_cut_short() -> None:
    (problem,) = problems({"type": "integer"}, "x" * 1000)
    assert problem == Problem("", "must be a whole number", '"' + "x" * 38 + "…")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "foo"}, "type must be one of array"),
        ({"properties": {"a": {"minimum": "1"}}}, "properties.a.minimum must be a number"),
        ({"pattern": "("}, "pattern is not a valid regular expression"),
        ({"$ref": "#/$defs/none"}, "a reference that leads nowhere"),
        ({"$ref": "#none"}, "a reference that leads nowhere"),
        ([], "it must be an object, true or false"),
        ("{}", "it must be an object, true or false"),
        (None, "it must be an object, true or false"),
        ({"title": object()}, "is not JSON"),
        ({"title": "\ud800"}, "is not JSON"),
        ({"enum": list(range(40_000))}, "at most 100,000"),
    ],
)
def test_what_is_no_schema_is_refused(schema: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason.replace("(", "\\(")):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}]},
        {"$schema": "https://example.org/of-our-own", "type": "integer"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"format": "never-heard-of"},
        {"pattern": r"^(?=.*[A-Z])\w{8,64}$"},
    ],
)
def test_what_is_a_schema_is_taken(schema: Any) -> None:
    check_schema(schema)


def test_the_draft_is_the_one_that_is_named() -> None:
    tuples = {"items": [{"type": "integer"}]}
    assert told({"$schema": "http://json-schema.org/draft-07/schema#", **tuples}, ["x"])
    with pytest.raises(BadInput):
        check_schema(tuples)


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """An HTTP server on this machine: its address, and what it has been asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "integer"}')

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_that_a_form_names_is_fetched(requests: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = requests
    file = tmp_path / "secret.json"
    file.write_text('{"type": "integer"}')
    for address in (f"{url}/schema", f"{url}/schema#/a", file.as_uri(), "json-schema:///x", "other.json"):
        for schema in (
            {"$ref": address},
            {"properties": {"a": {"$ref": address}}},
            {"$dynamicRef": address},
            {"$id": f"{url}/root", "$ref": address},
            {"$defs": {"a": {"$ref": address}}, "properties": {"b": {"$ref": "#/$defs/a"}}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [{"$ref": address}]},
        ):
            for refused in (
                lambda schema=schema: check_schema(schema),
                lambda schema=schema: problems(schema, {"a": "x"}),
                lambda schema=schema: problems_at(schema, ["#/properties/a"], "x"),
            ):
                with pytest.raises(BadInput, match=r"a reference that leads nowhere|cannot be used"):
                    refused()
            fields(schema)
    check_schema({"$schema": f"{url}/meta", "$id": f"{url}/root", "$vocabulary": {f"{url}/words": True}})
    assert asked == []


def doubling(keyword: str, times: int) -> dict[str, Any]:
    """A form in which each definition refers twice to the next."""
    definitions: dict[str, Any] = {
        f"d{one}": {keyword: [{"$ref": f"#/$defs/d{one + 1}"}] * 2} for one in range(times)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{times}": {"type": "integer"}}}


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_a_form_that_doubles_the_work_again_and_again_does_not_hang(keyword: str) -> None:
    for times, word in ((60, "takes too long"), (16, "does not fit the form|fits more than one")):
        check_schema(doubling(keyword, times))
        (problem,) = problems(doubling(keyword, times), "x")
        assert any(part in problem.reason for part in word.split("|"))
        fields(doubling(keyword, times))


def test_a_circle_that_doubles_the_work_with_each_level_of_the_answer_does_not_hang() -> None:
    schema = obj(a={"allOf": [{"$ref": "#"}, {"$ref": "#"}]})
    data: Any = "x"
    for _ in range(60):
        data = {"a": data}
    (problem,) = problems(schema, data)
    assert "takes too long" in problem.reason


def test_forms_that_refer_to_themselves_are_checked_as_deep_as_they_go() -> None:
    value = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"$ref": "#"}}]}
    data: Any = 1
    for _ in range(90):
        data = [data, 2]
    assert told(value, data) == []
    assert told({**value, "$defs": {}}, [1, [2, "x"]])[0][0].startswith("[1]")


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
def test_what_is_nested_very_deep_is_refused(depth: int) -> None:
    schema: Any = {}
    data: Any = 1
    for _ in range(depth):
        schema, data = {"not": schema}, [data]
    with pytest.raises(BadInput):
        check_schema(schema)
    (problem,) = problems(True, data)
    assert problem.path == ""
    fields(schema)


def test_one_field_is_checked_by_what_the_form_says_of_it() -> None:
    schema = {
        "$id": "https://example.org/form",
        "$defs": {"a b/c%": {"maximum": 5}},
        "properties": {"a~b/#": {"$ref": "#/$defs/a%20b~1c%25"}},
        "required": ["other"],
    }
    (field,) = fields(schema)
    assert [one.reason for one in problems_at(schema, field.pointers, 9)] == ["must be at most 5"]
    assert problems_at(schema, field.pointers, 5) == []
    for whole in (True, False):
        assert bool(problems_at(whole, fields(whole)[0].pointers, 5)) is not whole
