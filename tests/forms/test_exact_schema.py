"""The schema of a type refuses what the type refuses, so that no approval fails its run."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import msgspec
import pydantic
import pytest
from msgspec import Meta

from hitl_cli.errors import DoesNotFit
from hitl_cli.forms import as_form_type, check, fields, fill, problems, schema_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Size(Enum):
    SMALL = "s"
    BIG = "b"


class Call(msgspec.Struct, tag=True):
    at: dt.datetime


class Visit(msgspec.Struct, tag=True):
    on: dt.date
    after: list[Call] = []


type Region = Literal["us", "eu"]

Money = Annotated[Decimal, pydantic.Field(ge=0, max_digits=6, decimal_places=2)]

SOME = UUID("6f0e0a52-1c07-4d2a-9c2f-5a3c0d6f1b11")
FIVE = dt.datetime(2026, 11, 21, 17, tzinfo=dt.UTC)

FITS = [
    (dt.datetime, "date-time", "2026-11-21 17:00", FIVE),
    (dt.datetime | None, "date-time", "2026-11-21T19:00:00+02:00", FIVE),
    (Annotated[dt.datetime, Meta(tz=False)], "date-time", "2026-11-21T17:00", FIVE.replace(tzinfo=None)),
    (dt.time, "time", "17:00", dt.time(17, tzinfo=dt.UTC)),
    (Annotated[dt.time, Meta(tz=False)], "time", "17:00:30", dt.time(17, 0, 30)),
    (dt.date, "date", "2026-11-21", dt.date(2026, 11, 21)),
    (dt.timedelta, "text", "P1DT2H", dt.timedelta(days=1, hours=2)),
    (Decimal, "number", "12.10", Decimal("12.1")),
    (Decimal, "number", "12345678901234567890.01", Decimal("12345678901234567890.01")),
    (Decimal | None, "number", "-3", Decimal(-3)),
    (UUID, "text", str(SOME), SOME),
    (Size, "choice", "b", Size.BIG),
    (Region, "choice", "us", "us"),
    (int, "integer", "1e2", 100),
    (list[dt.time], "list", "17:00", [dt.time(17, tzinfo=dt.UTC)]),
    (list[Decimal], "list", "1.5", [Decimal("1.5")]),
    (dict[str, dt.date], "json", '{"a": "2026-11-21"}', {"a": dt.date(2026, 11, 21)}),
]

MSGSPEC_ALONE = [
    (bytes, "text", "YWI=", b"ab"),
    (tuple[dt.date, bytes], "json", '["2026-11-21", "YQ=="]', (dt.date(2026, 11, 21), b"a")),
]
PYDANTIC_ALONE = [
    (pydantic.NaiveDatetime, "date-time", "2026-11-21T17:00", FIVE.replace(tzinfo=None)),
    (pydantic.AwareDatetime, "date-time", "2026-11-21T17:00", FIVE),
    (Money, "number", "9999.99", Decimal("9999.99")),
    (pydantic.Base64Bytes, "text", "YWI=", b"ab"),
    (pydantic.UUID4, "text", str(SOME), SOME),
]

UNFIT = [
    (dt.datetime, ["tomorrow 9 am", "2026-11-21", "2026-02-30T12:00"]),
    (dt.datetime | None, ["tomorrow"]),
    (dt.time, ["9 am", "25:00"]),
    (dt.date, ["2026-02-30", "21.11.2026"]),
    (dt.timedelta, ["2 h", "P", "PT"]),
    (Decimal, ["a lot", "NaN", "1_000", ""]),
    (UUID, ["6f0e"]),
    (Size, ["m"]),
    (list[dt.datetime], ["tomorrow"]),
    (dict[str, dt.datetime], ['{"a": "tomorrow"}']),
]
MSGSPEC_UNFIT = [
    (Annotated[dt.datetime, Meta(tz=False)], ["2026-11-21T17:00:00Z"]),
    (Annotated[dt.time, Meta(tz=False)], ["17:00:00Z"]),
    (dt.timedelta, ["P1M", "P1W"]),
    (bytes, ["YQ", "a b", "ü"]),
    (tuple[dt.date, bytes], ['["2026-11-21", "!"]']),
]
PYDANTIC_UNFIT = [
    (Money, ["-0.01", "0.001", "10000", "a lot"]),
    (pydantic.NaiveDatetime, ["2026-11-21T17:00:00Z"]),
    (pydantic.Base64Bytes, ["YQ"]),
    (pydantic.UUID4, ["6f0e0a52-1c07-1d2a-9c2f-5a3c0d6f1b11"]),
]


def struct(kind: Any) -> Any:
    return msgspec.defstruct("Form", [("it", kind)])


def model(kind: Any) -> Any:
    return pydantic.create_model("Form", it=(kind, ...))


def _is_naive(kind: Any) -> bool:
    """Whether a type is msgspec's way to say that there is no zone."""
    return any(isinstance(one, Meta) for one in getattr(kind, "__metadata__", ()))


@pytest.mark.parametrize(
    ("made_of", "kind", "drawn", "text", "value"),
    [
        *((struct, *one) for one in FITS + MSGSPEC_ALONE),
        *((model, *one) for one in FITS + PYDANTIC_ALONE if not _is_naive(one[0])),
    ],
)
def test_what_fits_the_schema_is_of_the_type(
    made_of: Any, kind: Any, drawn: str, text: str, value: Any
) -> None:
    form = made_of(kind)
    schema = schema_of(form)
    assert [field.kind for field in fields(schema)] == [drawn]
    data = fill(schema, [("it", text)])
    check(schema, data)
    assert as_form_type(form, data).it == value


@pytest.mark.parametrize(
    ("made_of", "kind", "text"),
    [
        (made_of, kind, text)
        for made_of, table in ((struct, UNFIT + MSGSPEC_UNFIT), (model, UNFIT + PYDANTIC_UNFIT))
        for kind, texts in table
        for text in texts
    ],
)
def test_what_the_type_refuses_the_schema_refuses(made_of: Any, kind: Any, text: str) -> None:
    schema = schema_of(made_of(kind))
    with pytest.raises(DoesNotFit):
        check(schema, fill(schema, [("it", text)]))


@pytest.mark.parametrize("made_of", [struct, model])
def test_choices_are_in_the_order_of_their_author(made_of: Any) -> None:
    class Nested(msgspec.Struct):
        size: Size
        how: Literal["wire", "card"] | None = "card"

    made = fields(schema_of(made_of(list[Region] if made_of is model else Nested)))
    listed = made[0].item.labels if made[0].item is not None else made[0].labels
    assert listed == (("us", "eu") if made_of is model else ("s", "b"))
    if made_of is struct:
        assert made[1].labels[:2] == ("wire", "card")


def test_structs_in_a_union_and_in_each_other_are_as_strict() -> None:
    schema = schema_of(struct(Call | int | Visit | dt.date | None))
    assert not problems(schema, {"it": {"type": "Call", "at": "2026-11-21T17:00:00Z"}})
    assert problems(schema, {"it": {"type": "Call", "at": "tomorrow"}})
    assert problems(
        schema, {"it": {"type": "Visit", "on": "2026-11-21", "after": [{"type": "Call", "at": "x"}]}}
    )


def test_a_default_of_money_is_a_number() -> None:
    for form in (
        msgspec.defstruct("Form", [("it", Decimal, Decimal("1.50"))]),
        pydantic.create_model("Form", it=(Decimal, Decimal("1.50"))),
        pydantic.create_model("Form", it=(Money, Decimal("1.50"))),
    ):
        data = fill(schema_of(form), [])
        assert data == {"it": 1.5}
        assert as_form_type(form, data).it == Decimal("1.5")


WRITTEN: list[tuple[Mapping[str, Any], str, str]] = [
    ({"type": "string", "contentEncoding": "base64"}, "YWI=", "ab"),
    ({"type": "string", "format": "decimal"}, "12.50", "twelve"),
    ({"type": "string", "format": "date-time-local"}, "2026-11-21T17:00:00", "2026-11-21T17:00:00Z"),
    ({"type": "string", "format": "time-local"}, "17:00:00", "5 pm"),
    ({"type": "string", "format": "uuid4"}, "6f0e0a52-1c07-4d2a-9c2f-5a3c0d6f1b11", "6f0e"),
]


@pytest.mark.parametrize(("schema", "good", "bad"), WRITTEN)
def test_the_same_holds_for_a_schema_that_is_written_by_hand(
    schema: Mapping[str, Any], good: str, bad: str
) -> None:
    assert not problems(dict(schema), good)
    assert problems(dict(schema), bad)
