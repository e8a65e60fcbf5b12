"""Errors of msgspec as sentences: the place, the problem and the allowed values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct

from hitl_cli.format.validation import in_document, in_words


class Inner(Struct, forbid_unknown_fields=True):
    tls: Literal["none", "starttls"] = "none"
    names: list[str] = []


class Outer(Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    many: dict[str, Inner] = {}
    count: int | None = None
    few: Annotated[int, Meta(ge=1)] = 1
    until: datetime | None = None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"inner": {"tls": "ssl"}}, ["inner.tls", "'ssl'", "none or starttls"]),
        ({"inner": {"names": "x"}}, ["inner.names", "a list", "a text"]),
        ({"inner": {"names": [1]}}, ["inner.names", "a text", "a whole number"]),
        ({"many": {"a": {"tsl": 1}}}, ["tsl", "did you mean tls?"]),
        ({"count": "x"}, ["count must be a whole number, not a text"]),
        ({"few": 0}, ["few must be a whole number, at least 1"]),
        ({"other": 1}, ["other", "inner, many, count, few, until"]),
        ({"until": "tomorrow"}, ["until must be a date and time, such as"]),
        (5, ["it must be a table, not a whole number"]),
    ],
)
def test_it_is_said_in_words(given: Any, words: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(given, Outer)
    said = in_words(error.value, Outer)
    assert all(word in said for word in words), said
    assert "`" not in said
    assert "$" not in said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"other": 1}', "there is no field other (known: inner, many, count, few, until)"),
        (b"5", "it must be an object, not a whole number"),
        (b"{", "it ends too early"),
    ],
)
def test_of_a_document_fields_are_named(raw: bytes, said: str) -> None:
    with pytest.raises(msgspec.DecodeError) as error:
        msgspec.json.decode(raw, type=Outer)
    assert in_document(error.value, Outer).startswith(said)
