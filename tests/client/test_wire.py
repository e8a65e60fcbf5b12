"""How values travel: as the SDK itself reads and writes them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resonate.codec import Codec, NoopEncryptor
from resonate.error import ApplicationError
from resonate.types import Value as SdkValue

from hitl_cli.client.wire import Audit, Promise, audit_of, decode, encode, error_value, same_json
from hitl_cli.engine.records import Value
from hitl_cli.format.times import iso

CODEC = Codec(NoopEncryptor())
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def as_sdk(value: Value) -> SdkValue:
    return SdkValue(headers=value.headers, data=value.data)


@given(JSON)
def test_the_sdk_reads_what_we_write_and_we_read_what_it_writes(data: Any) -> None:
    assert CODEC.decode(as_sdk(encode(data))) == data
    written = CODEC.encode(data)
    assert decode(Value(data=written.data)) == data


@given(st.text())
def test_a_rejection_is_an_application_error_with_the_reason_and_nothing_else(reason: str) -> None:
    error = CODEC.decode_error(as_sdk(error_value(reason)))
    assert type(error) is ApplicationError
    assert str(error) == reason


@pytest.mark.parametrize("text", ["not base64!", "e30=e30=", "e30"])
def test_what_is_not_in_the_sdks_encoding_is_shown_as_it_is(text: str) -> None:
    assert decode(Value(data=text)) == text


@given(
    st.builds(
        Audit, id=st.text(min_size=1), by=st.text(min_size=1), via=st.just("cli"), at=st.integers(0, 2**53)
    )
)
def test_a_decision_survives_its_headers(audit: Audit) -> None:
    settled = Promise(id="a", state="resolved", timeout_at=1, value=Value(headers=audit.headers(), data=None))
    assert audit_of(settled) == audit


def test_json_tells_numbers_from_booleans() -> None:
    assert not same_json(1, True)
    assert not same_json([0], [False])
    assert same_json({"a": 1, "b": 2}, {"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("tags", "blocking"),
    [
        ({"resonate:external": "true"}, True),
        ({"resonate:scope": "global"}, True),
        ({"resonate:scope": "local"}, False),
        ({}, False),
        ({"resonate:external": "true", "resonate:target": "poll://any@default"}, False),
        ({"resonate:scope": "global", "resonate:timer": "true"}, False),
    ],
)
def test_what_waits_for_a_person_is_told_by_its_tags(tags: dict[str, str], blocking: bool) -> None:
    assert Promise(id="a:1", state="pending", timeout_at=1, tags=tags).is_blocking is blocking


def test_instants_are_written_in_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert iso(2**62).startswith("9999-12-31")
