"""Durations."""

from __future__ import annotations

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.format.durations import format_age, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("30d", 2_592_000_000),
        ("500ms", 500),
        ("1.5h", 5_400_000),
        ("2W", 1_209_600_000),
    ],
)
def test_what_people_write_is_understood(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1d2", "1 d", "1y", "0s", "1e9d", "٣d x"])
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (7, "7ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (61_000, "1m 1s"),
        (3_600_000, "1h"),
        (3_601_000, "1h"),
        (90_061_000, "1d 1h"),
        (31_536_000_000, "365d"),
    ],
)
def test_two_units_are_enough_to_read(ms: int, text: str) -> None:
    assert format_duration(ms) == text


def test_an_age_is_in_whole_seconds() -> None:
    assert format_age(999) == "0s"
    assert format_age(1_999) == "1s"
