"""Cron expressions in a time zone, where the clocks are changed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from hitl_cli.engine import cron

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

CHANGES = [
    ("Europe/Berlin", "2027-03-28 01:00"),
    ("Europe/Berlin", "2027-10-31 01:00"),
    ("America/New_York", "2027-11-07 06:00"),
    ("Australia/Lord_Howe", "2026-04-04 15:00"),  # by half an hour
    ("Africa/Cairo", "2026-04-23 22:00"),  # at midnight
    ("America/Havana", "2026-11-01 05:00"),
    ("Antarctica/Troll", "2026-10-25 01:00"),  # by two hours
]
"""Time zones, and when their clocks are changed, in UTC."""


def instant(text: str) -> int:
    """Return an instant that is written in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


def shown(expression: str, after: str, count: int) -> list[str]:
    """Return what the clocks show at the next times, after an instant in UTC."""
    zone = ZoneInfo(cron.fields_and_zone(expression)[1] or "UTC")
    found = islice(
        cron.occurrences(expression, cron.next_after(expression, instant(after)), cron.NEVER), count
    )
    return [f"{datetime.fromtimestamp(at / 1_000, zone):%d %H:%M %Z}" for at in found]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("30 2 * * *", ["27 02:30 CET", "28 03:00 CEST", "29 02:30 CEST"]),
        ("0,30 2 * * *", ["27 02:00 CET", "27 02:30 CET", "28 03:00 CEST", "29 02:00 CEST"]),
        ("0 3 * * *", ["27 03:00 CET", "28 03:00 CEST", "29 03:00 CEST"]),
        ("*/30 2 * * *", ["27 02:00 CET", "27 02:30 CET", "29 02:00 CEST"]),
    ],
)
def test_in_the_hour_that_is_left_out(fields: str, expected: list[str]) -> None:
    assert shown(f"CRON_TZ=Europe/Berlin {fields}", "2027-03-26 23:00", len(expected)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("30 2 * * *", ["30 02:30 CEST", "31 02:30 CEST", "01 02:30 CET"]),
        ("0 2,3 * * *", ["30 02:00 CEST", "30 03:00 CEST", "31 02:00 CEST", "31 03:00 CET"]),
        ("*/30 2 31 * *", ["31 02:00 CEST", "31 02:30 CEST", "31 02:00 CET", "31 02:30 CET"]),
    ],
)
def test_in_the_hour_that_comes_twice(fields: str, expected: list[str]) -> None:
    assert shown(f"CRON_TZ=Europe/Berlin {fields}", "2027-10-29 22:00", len(expected)) == expected


@pytest.mark.parametrize(("zone", "changed"), CHANGES)
@pytest.mark.parametrize(
    ("fields", "minutes", "hours"),
    [
        ("*/15 * * * *", range(0, 60, 15), range(24)),
        ("7 * * * *", range(7, 8), range(24)),
        ("*/20 0-3 * * *", range(0, 60, 20), range(4)),
        ("*/10 23 * * *", range(0, 60, 10), range(23, 24)),
    ],
)
def test_a_star_is_each_time_that_the_clocks_show_it(
    zone: str, changed: str, fields: str, minutes: range, hours: range
) -> None:
    """Hold it against each minute for itself."""
    middle, at_home = instant(changed), ZoneInfo(zone)
    wanted = []
    for at in range(middle - DAY_MS, middle + DAY_MS, MINUTE_MS):
        clock = datetime.fromtimestamp(at / 1_000, at_home)
        wanted += [at] if clock.minute in minutes and clock.hour in hours else []
    expression = cron.in_zone(fields, zone)
    assert list(cron.occurrences(expression, wanted[0], middle + DAY_MS - 1)) == wanted


@pytest.mark.parametrize(("zone", "changed"), CHANGES)
@pytest.mark.parametrize("fields", ["30 2 * * *", "15 1 * * *", "0 0 * * *", "30 23 * * *", "*/20 0-3 * * *"])
def test_wherever_one_begins_the_times_are_the_same(zone: str, changed: str, fields: str) -> None:
    expression, middle = cron.in_zone(fields, zone), instant(changed)
    first = cron.next_after(expression, middle - 3 * DAY_MS)
    every = list(cron.occurrences(expression, first, middle + 3 * DAY_MS))
    if not fields.startswith("*"):
        assert len({datetime.fromtimestamp(at / 1_000, ZoneInfo(zone)).date() for at in every}) == len(every)
        assert 5 <= len(every) <= 7
    for at in range(middle - DAY_MS, middle + DAY_MS, 13 * MINUTE_MS):
        assert cron.next_after(expression, at) == every[bisect_right(every, at)]
        assert cron.last_until(expression, at) == every[bisect_right(every, at) - 1]
        assert cron.next_after(expression, at - 1) == every[bisect_left(every, at)]


def test_without_a_zone_it_is_utc() -> None:
    assert shown("30 2 * * *", "2027-03-27 03:00", 2) == ["28 02:30 UTC", "29 02:30 UTC"]
    assert cron.in_zone("0  2 * * *", None) == "0 2 * * *"
    assert cron.fields_and_zone("0 2 * * *") == ("0 2 * * *", None)


def test_nothing_is_fired_by_a_clock_that_is_behind_that_of_the_database() -> None:
    first = instant("2026-01-01 12:00")

    assert cron.due_now("0 12 * * *", first, first - 1, "all") == ([], first)
    assert cron.due_now("0 12 * * *", first, first, "all") == ([first], first + DAY_MS)
