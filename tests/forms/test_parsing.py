"""From paths and texts to an answer."""

from __future__ import annotations

from typing import Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.forms import check, fields, fill, parse_field, split_assignment


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


FORM = obj(
    "amount",
    amount={"type": "integer", "maximum": 500},
    note={"type": "string"},
    urgent={"type": "boolean"},
    rate={"type": "number"},
    size={"enum": ["s", "m", 1, None]},
    day={"type": "string", "format": "date"},
    tags={"type": "array", "items": {"type": "string"}},
    counts={"type": ["array", "null"], "items": {"type": "integer"}},
    address=obj("city", city={"type": "string"}, zip={"type": ["integer", "null"]}),
    any={},
)


def parsed(path: str, text: str) -> Any:
    return parse_field(next(field for field in fields(FORM) if field.path == path), text)


def test_each_text_is_read_as_its_field_says() -> None:
    made = fill(
        FORM,
        [
            ("amount", "120"),
            ("note", " 1 = true "),
            ("urgent", "Yes"),
            ("address.city", "Paris"),
            ("tags", "a"),
            ("tags", '["b"]'),
            ("counts", "[1, 2]"),
            ("any", '{"x": [null]}'),
        ],
    )
    assert made == {
        "amount": 120,
        "note": " 1 = true ",
        "urgent": True,
        "tags": ["a", '["b"]'],
        "counts": [1, 2],
        "address": {"city": "Paris"},
        "any": {"x": [None]},
    }
    check(FORM, made)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("amount", " 7 ", 7),
        ("amount", "-07", -7),
        ("amount", "1e2", 100),
        ("amount", "99999999999999999999999999", 99999999999999999999999999),
        ("amount", "1.5", 1.5),  # that it must be whole is for the check to say
        ("rate", "1.5", 1.5),
        ("rate", "3", 3),
        ("note", "", ""),
        ("note", "null", "null"),
        ("urgent", "n", False),
        ("size", "m", "m"),
        ("size", '"m"', "m"),
        ("size", " s ", "s"),
        ("size", "1", 1),
        ("size", "null", None),
        ("day", " 2026-11-21 ", "2026-11-21"),
        ("tags", "a, b", ["a, b"]),
        ("tags", "[]", []),
        ("tags", "[a", ["[a"]),
        ("counts", "null", None),
        ("address.zip", "null", None),
        ("any", "null", None),
    ],
)
def test_a_text_stands_for_a_value(path: str, text: str, value: Any) -> None:
    assert parsed(path, text) == value
    assert type(parsed(path, text)) is type(value)


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("amount", "many", "amount must be a whole number, such as 120"),
        ("amount", "", "amount must be a whole number"),
        ("amount", "1_000", "amount must be a whole number"),
        ("amount", "٣", "amount must be a whole number"),
        ("amount", "null", "amount must be a whole number"),
        ("amount", "true", "amount must be a whole number"),
        ("amount", "9" * 9999, "amount must be a whole number"),
        ("rate", "1,5", "rate must be a number, such as 1.5"),
        ("rate", "nan", "rate must be a number"),
        ("rate", "Infinity", "rate must be a number"),
        ("rate", "1e999", "rate must be a number"),
        ("urgent", "1", "urgent must be true or false"),
        ("size", "l", "size must be one of s, m, 1, null"),
        ("size", "true", "size must be one of s, m, 1, null"),
        ("counts", "[1", "counts must be a whole number"),
        ("address.zip", "x", "address.zip must be a whole number"),
        ("any", "text", "any must be JSON; a text needs quotes"),
        ("any", "[" * 100_000, "any must be JSON"),
        ("note", "\udcff", "note is not valid UTF-8"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_by_the_name_of_its_field(
    path: str, text: str, reason: str
) -> None:
    with pytest.raises(BadInput) as refused:
        parsed(path, text)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("amuont", "'amuont' is not a field of this form; did you mean amount?"),
        ("address", "'address' is not a field of this form; it consists of address.city, address.zip."),
        ("zzzzzzz", "its fields are amount, note, urgent, rate, size, day, tags, counts, address.city, "),
        ("", "the form has 11 fields (amount, note, urgent, rate, size, "),
        ("__proto__", "'__proto__' is not a field"),
    ],
)
def test_a_name_that_is_no_field_is_refused(path: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        fill(FORM, [(path, "x")])
    assert said in str(refused.value)


def test_two_texts_for_one_value_are_refused() -> None:
    with pytest.raises(BadInput, match="amount is given 2 times, but takes one value"):
        fill(FORM, [("amount", "1"), ("amount", "1")])


def test_defaults_are_filled_in() -> None:
    schema = obj(
        "kind", "nothing", "must",
        kind={"const": "expense"},
        optional={"const": "x"},
        nothing={"type": ["string", "null"]},
        must={"type": "string"},
        may={"type": "string", "default": "it"},
        list={"type": "array", "items": {"type": "string"}, "default": []},
    )  # fmt: skip
    assert fill(schema, []) == {"kind": "expense", "nothing": None, "may": "it", "list": []}
    assert fill(schema, [("may", "x"), ("list", "a")]) == {
        "kind": "expense", "nothing": None, "may": "x", "list": ["a"],
    }  # fmt: skip


def test_a_group_is_left_out_unless_it_is_needed_or_something_in_it_is_named() -> None:
    address = obj("city", city={"type": "string", "default": "Paris"}, zip={"type": "integer"})
    assert fill(obj(a=address), []) == {}
    assert fill(obj(a=address), [("a.zip", "1")]) == {"a": {"city": "Paris", "zip": 1}}
    assert fill(obj("a", a=address), []) == {"a": {"city": "Paris"}}
    inner = obj("kind", "more", kind={"const": 1}, more=obj(b={"type": "string"}), note={"type": "string"})
    assert fill(obj(a=inner), []) == {}
    assert fill(obj(a=inner), [("a.note", "x")]) == {"a": {"kind": 1, "more": {}, "note": "x"}}
    optional = {"anyOf": [address, {"type": "null"}]}
    assert fill(obj("a", a=optional), []) == {"a": None}
    assert fill(obj(a={**optional, "default": None}), []) == {"a": None}
    given = {**address, "default": {"city": "Rome", "zip": 9}}
    assert fill(obj(a=given), []) == {"a": {"city": "Rome", "zip": 9}}
    assert fill(obj(a=given), [("a.zip", "1")]) == {"a": {"city": "Rome", "zip": 1}}


def test_a_form_of_one_value_is_filled_in_by_the_empty_path() -> None:
    assert fill({"type": "integer"}, [("", "120")]) == 120
    assert fill({"type": "integer", "default": 5}, []) == 5
    assert fill({"type": "array", "items": {"type": "integer"}}, [("", "1"), ("", "2")]) == [1, 2]
    assert fill(True, []) is None
    assert fill(obj(a=obj(b={"type": "integer"})), [("", "5")]) == {"a": {"b": 5}}
    with pytest.raises(BadInput, match="the answer is a single value"):
        fill({"type": "integer"}, [("amount", "1")])
    with pytest.raises(BadInput, match="has no fields"):
        fill({"type": "object", "properties": {}, "additionalProperties": False}, [("a", "1")])


@pytest.mark.parametrize(
    "key", ["__type", "__py_pickle", "a.b", "a=b", "", " ", "[0]", '"', "\\", "\x1b[31m", "\u202e", "größe"]
)
def test_any_name_can_be_given(key: str) -> None:
    schema = obj(outer=obj(**{key: {"type": "string"}}), **{key: {"type": "string"}})
    made = {"outer": {key: "a=b"}, key: "c"}
    texts = [f"{field.path}={'a=b' if len(field.keys) > 1 else 'c'}" for field in fields(schema)]
    assert fill(schema, [split_assignment(text) for text in texts]) == made


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("amount=120", ("amount", "120")),
        ("note=a=b\nc", ("note", "a=b\nc")),
        ("=5", ("", "5")),
        ("a=", ("a", "")),
        ('["a=b"].c=d', ('["a=b"].c', "d")),
        ('["a=b=d', ('["a', "b=d")),
    ],
)
def test_an_assignment_is_split_at_its_first_equals_sign(text: str, parts: tuple[str, str]) -> None:
    assert split_assignment(text) == parts


def test_what_assigns_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="write it like amount=120"):
        split_assignment("amount")
