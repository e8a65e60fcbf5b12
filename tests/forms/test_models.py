"""Forms that are given as types."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from hitl_cli.errors import BadInput
from hitl_cli.forms import as_form_type, fields, fill, schema_of


class Size(Enum):
    SMALL = "s"
    BIG = "b"


class Address(msgspec.Struct):
    city: str
    zip: str | None = None


class Expense(msgspec.Struct):
    """The amount."""

    amount: Annotated[int, msgspec.Meta(le=500, description="In euros")]
    size: Size
    day: dt.date
    address: Address | None = None
    tags: list[str] = []
    how: Literal["card", "cash"] = "card"


class Tree(msgspec.Struct):
    name: str
    left: Tree | None = None


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x must not be negative")


class Movie(TypedDict):
    title: str


class Model(pydantic.BaseModel):
    amount: int = pydantic.Field(le=500, description="In euros")
    size: Size = Size.BIG
    day: dt.date | None = None
    address: Point | None = None

    @pydantic.field_validator("amount")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


@pydantic.dataclasses.dataclass
class Checked:
    amount: int


def test_a_struct_is_a_form() -> None:
    schema = schema_of(Expense)
    assert [(one.path, one.kind, one.required) for one in fields(schema)] == [
        ("amount", "integer", True),
        ("size", "choice", True),
        ("day", "date", True),
        ("address.city", "text", False),
        ("address.zip", "text", False),
        ("tags", "list", False),
        ("how", "choice", False),
    ]
    data = fill(schema, [("amount", "5"), ("size", "s"), ("day", "2026-11-21"), ("address.city", "Paris")])
    assert as_form_type(Expense, data) == Expense(
        amount=5, size=Size.SMALL, day=dt.date(2026, 11, 21), address=Address(city="Paris")
    )


def test_a_pydantic_model_is_a_form() -> None:
    schema = schema_of(Model)
    assert [(one.path, one.kind, one.required) for one in fields(schema)] == [
        ("amount", "integer", True),
        ("size", "choice", False),
        ("day", "date", False),
        ("address.x", "integer", False),
        ("address.tags", "list", False),
    ]
    data = fill(schema, [("amount", "4"), ("day", "2026-11-21"), ("address.x", "1")])
    made = as_form_type(Model, data)
    assert made == Model(amount=4, day=dt.date(2026, 11, 21), address=Point(1))
    with pytest.raises(BadInput, match=r"does not fit: amount must be even\. Nothing"):
        as_form_type(Model, {"amount": 5})
    assert as_form_type(Checked, {"amount": 5}) == Checked(5)


@pytest.mark.parametrize(
    ("form", "data", "made"),
    [
        (int, 5, 5),
        (bool, True, True),
        (str, "a", "a"),
        (Literal["a", "b"], "a", "a"),
        (Size, "s", Size.SMALL),
        (Annotated[int, msgspec.Meta(le=5)], 5, 5),
        (list[int], [1], [1]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (int | None, None, None),
        (Point, {"x": 1}, Point(1)),
        (Movie, {"title": "M"}, {"title": "M"}),
        (Tree, {"name": "a", "left": {"name": "b"}}, Tree("a", Tree("b"))),
        (dt.datetime, "2026-11-21T00:00:00Z", dt.datetime(2026, 11, 21, tzinfo=dt.UTC)),
        ({"type": "integer"}, 5, 5),
        (True, {"__type": "x"}, {"__type": "x"}),
    ],
)
def test_an_answer_comes_back_as_the_type(form: Any, data: Any, made: Any) -> None:
    schema_of(form)
    assert as_form_type(form, data) == made
    assert type(as_form_type(form, data)) is type(made)


@pytest.mark.parametrize(
    ("form", "data", "reason"),
    [
        (Expense, {"amount": "5"}, "amount expected `int`, got `str`"),
        (Expense, {}, "object missing required field `amount`"),
        (Point, {"x": -1}, "x must not be negative"),
        (int, True, "expected `int`, got `bool`"),
        (Model, {"amount": 600}, "amount Input should be less than or equal to 500"),
        (Model, "x", "Input should be an object"),
        (int, "\ud800", "surrogates not allowed"),
    ],
)
def test_an_answer_that_is_not_of_the_type_is_refused(form: Any, data: Any, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        as_form_type(form, data)


@pytest.mark.parametrize("form", [object, 5, "text", None, [], Expense(1, Size.BIG, dt.date.min), Model])
def test_what_is_no_form_is_refused(form: Any) -> None:
    if form is Model:
        form = Model(amount=4)
    with pytest.raises(BadInput) as refused:
        schema_of(form)
    assert refused.value.code == "bad-form"


def test_a_schema_that_is_a_dict_must_be_one() -> None:
    with pytest.raises(BadInput) as refused:
        schema_of({"type": "foo"})
    assert refused.value.code == "bad-form"


def test_a_schema_reads_without_a_reference_where_none_is_needed() -> None:
    assert schema_of(Address) == {
        "title": "Address",
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "zip": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        },
        "required": ["city"],
    }
    recursive = schema_of(Tree)
    assert isinstance(recursive, dict)
    assert recursive["$ref"] == "#/$defs/Tree"


def test_neither_pydantic_nor_the_checker_is_imported_before_it_is_needed() -> None:
    code = """
import sys
import msgspec
from hitl_cli import forms
assert not {"jsonschema_rs", "pydantic"} & set(sys.modules)
forms.as_form_type(forms.schema_of(int) and int, 5)
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
