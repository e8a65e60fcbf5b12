"""The first values on a page, and the data of a submitted form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.forms.fields import fields
from hitl_cli.forms.messages import Problem, sentence
from hitl_cli.forms.submission import at_first, owner, read

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json


def form(*required: str, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": [*required]}


def made(schema: Json, **sent: str | list[str]) -> Json:
    filled = read(schema, {path: [text] if isinstance(text, str) else text for path, text in sent.items()})
    assert not filled.problems
    return filled.data


def wrong(schema: Json, **sent: str) -> list[str]:
    return [
        sentence(problem) for problem in read(schema, {path: [text] for path, text in sent.items()}).problems
    ]


TEXT = {"type": "string"}
LIST = {"type": "array", "items": TEXT}


def test_a_page_begins_with_the_defaults_that_hold_if_nobody_says_anything() -> None:
    schema = form(
        "a",
        "only",
        a={"type": "integer", "default": 7},
        only={"const": "x"},
        tags={**LIST, "default": ["one", "two"]},
        secret={"type": "string", "format": "password", "default": "hush"},
        late=form("b", b={"type": "boolean", "default": True}),
        nothing={"type": ["string", "null"], "default": None},
    )
    assert at_first(schema) == {"a": ["7"], "only": ["x"], "tags": ["one", "two"]}
    assert made(schema) == {
        "a": 7,
        "only": "x",
        "tags": ["one", "two"],
        "secret": "hush",
        "nothing": None,
    }


def test_a_time_is_taken_as_a_browser_sends_it_and_in_full() -> None:
    schema = form(
        at={"type": "string", "format": "date-time"},
        by={"type": ["string", "null"], "format": "time", "default": "12:00:00Z"},
        each={"type": "array", "items": {"type": "string", "format": "date-time"}},
    )
    assert made(schema, at="2026-01-31T12:00", by="09:30", each="2026-01-31T12:00\n2026-02-01T12:00:00Z") == {
        "at": "2026-01-31T12:00:00Z",
        "by": "09:30:00Z",
        "each": ["2026-01-31T12:00:00Z", "2026-02-01T12:00:00Z"],
    }
    assert made(schema, at="2026-01-31T12:00:00.5+02:00", by="") == {
        "at": "2026-01-31T12:00:00.5+02:00",
        "by": None,
    }
    assert wrong(schema, at="2026-02-30T12:00") == [
        'at is not a valid time, such as 2026-01-31T12:00:00Z ("2026-02-30T12:00:00Z" was given)'
    ]


def test_what_is_sent_empty_is_not_given() -> None:
    schema = form("name", name=TEXT, age={"type": "integer"}, when={"type": "string", "format": "date"})
    assert made(schema, name="a", age="", when="") == {"name": "a"}


@pytest.mark.parametrize(
    ("schema", "needed", "expected"),
    [
        ({"type": "string", "default": "x"}, True, {"a": ""}),
        ({"type": "string", "default": "x"}, False, {}),
        ({"type": "integer", "default": 1}, False, {}),
        ({"type": ["integer", "null"], "default": 1}, False, {"a": None}),
        ({**LIST, "default": ["x"]}, True, {"a": []}),
        ({"enum": ["x", "y"], "default": "x"}, False, {}),
    ],
)
def test_what_was_emptied_does_not_get_its_default_again(schema: Json, needed: bool, expected: Json) -> None:
    whole = form(*["a"] * needed, a=schema)
    assert made(whole, a="") == expected


def test_a_list_has_one_entry_a_line_or_is_json() -> None:
    assert made(form(a=LIST), a="one\r\n\r\n two\r\n") == {"a": ["one", " two"]}
    assert made(form(a=LIST), a='["one\\nline", "b"]') == {"a": ["one\nline", "b"]}
    assert made(form(a=LIST), a="[one]\n[two]") == {"a": ["[one]", "[two]"]}
    assert made(form("a", a=LIST), a="") == {"a": []}
    assert made(form(a=LIST), a="") == {}


def test_several_of_a_list_can_be_ticked_and_none_is_an_empty_list_where_one_is_required() -> None:
    schema = form("a", a={"type": "array", "items": {"enum": ["x", "y", "two\nlines"]}})
    assert made(schema, a=["", "x", "two\r\nlines"]) == {"a": ["x", "two\nlines"]}
    assert made(schema, a=[""]) == {"a": []}


def test_a_text_keeps_its_lines_as_they_were_typed() -> None:
    assert made(form(a=TEXT), a="one\r\ntwo") == {"a": "one\ntwo"}


def test_every_problem_is_told_at_its_field() -> None:
    schema = form(
        "name", "age", name=TEXT, age={"type": "integer", "maximum": 9}, on={"type": "boolean"}, list=LIST
    )
    assert wrong(schema, name="", age="x", on="maybe") == [
        "name is required",
        "age must be a whole number, such as 120",
        "on must be true or false (or yes or no)",
    ]
    assert wrong(schema, name="", age="12") == ["name is required", "age must be at most 9"]
    assert wrong(schema, name="a", age="12") == ["age must be at most 9 (12 was given)"]


def test_a_field_that_the_form_does_not_have_is_refused() -> None:
    with pytest.raises(BadInput, match="'b' is not a field of this form"):
        read(form(a=TEXT), {"b": ["1"]})


def test_a_problem_belongs_to_the_nearest_field_around_it() -> None:
    schema: dict[str, Any] = form(items={"type": "array", "items": form(price=TEXT)}, to=form(city=TEXT))
    known = fields(schema)

    def place(path: str) -> str | None:
        field = owner(known, Problem(path, ""))
        return None if field is None else field.path

    assert place("items[1].price") == "items"
    assert place("to.city") == "to.city"
    assert place("to") is None
    assert place("") is None


def test_a_form_of_one_value_has_one_field_without_a_name() -> None:
    assert read({"type": "integer", "default": 3}, {"": ["4"]}).data == 4
    assert read({"type": "integer"}, {"": [""]}).problems == (Problem("", "is required"),)
