"""Times with a zone and without one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.forms.datetimes import with_zone, without_zone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31 12:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:30.5", "2026-01-31T12:00:30.5Z"),
        ("12:00", "12:00:00Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00+02:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("noon", "noon"),
        ("2026-01-31", "2026-01-31"),
    ],
)
def test_a_time_without_a_zone_is_in_utc_and_any_other_text_stays(text: str, expected: str) -> None:
    assert with_zone(text) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00"),
        ("2026-01-31T00:30:00+02:00", "2026-01-30T22:30"),
        ("2026-01-31T12:00:05Z", "2026-01-31T12:00:05"),
        ("2026-01-31T12:00:05.250Z", "2026-01-31T12:00:05.250"),
        ("2026-01-31T12:00", "2026-01-31T12:00"),
        ("2026-01-31T12:00:05.000001Z", None),
        ("2026-02-30T12:00:00Z", None),
        ("2026-01-31", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("tomorrow", None),
    ],
)
def test_a_browser_is_shown_a_time_in_utc_where_it_can_hold_it(text: str, shown: str | None) -> None:
    assert without_zone(text, dated=True) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("01:30:00+02:00", "23:30"), ("12:00:00Z", "12:00"), ("x", None)]
)
def test_so_is_a_time_of_day(text: str, shown: str | None) -> None:
    assert without_zone(text, dated=False) == shown


@given(st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)))
def test_what_a_browser_is_shown_comes_back_as_the_same_instant(at: datetime) -> None:
    shown = without_zone(at.isoformat(), dated=True)
    assert shown is not None
    assert datetime.fromisoformat(with_zone(shown)) == at


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    without_zone(text, dated=True)
    without_zone(with_zone(text), dated=False)
