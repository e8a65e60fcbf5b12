"""Times: in the local zone, with its name, on a terminal; in UTC for programs."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from hitl_cli.format.times import LAST_MS, iso, local, local_minute, localized
from hitl_cli.requests.question import Question
from tests.cli.requests import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

AT = 1_795_230_245_678
TOKYO = {"TZ": "Asia/Tokyo"}
IN_TOKYO = r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d JST|T\d\d:\d\d\+09:00)"


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as there:
        there.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_an_instant_is_written_in_the_local_zone_over_its_changes() -> None:
    assert iso(AT) == "2026-11-21T03:04:05.678Z"
    assert local(AT) == "2026-11-21 04:04:05 CET"
    assert local_minute(AT - 150 * 86_400_000) == "2026-06-24T05:04+02:00"
    assert local(LAST_MS).startswith("9999-12-31 23:59:59")
    assert local(-1) == "1970-01-01 01:00:00 CET"


@pytest.mark.usefixtures("in_berlin")
def test_in_a_sentence_instants_are_and_data_is_not() -> None:
    said = 'approved 5m ago (2026-11-21T03:04:05.678Z) with {"at":"2026-11-21T03:04:05.678Z"}'
    assert localized(said, AT) == (
        'approved 5m ago (2026-11-21 04:04:05 CET) with {"at":"2026-11-21T03:04:05.678Z"}'
    )
    assert localized(said, None) == said


def test_commands_say_local_time_with_its_zone_and_their_json_utc(hitl: Hitl) -> None:
    put(hitl, "q-1", Question(prompt="Ship it?"))
    hitl.env |= TOKYO
    assert re.search(IN_TOKYO, hitl.ok("show", "q-1"))
    hitl.ok("reject", "q-1")
    late = hitl.run("approve", "q-1", "--json")
    assert re.search(IN_TOKYO, late.stderr.partition("\n")[0])
    assert "JST" not in late.stderr.partition("\n")[2]
    assert re.search(IN_TOKYO, hitl.ok("history"))
    assert re.search(
        IN_TOKYO, hitl.ok("token", "create", "--as", "ada", "--can", "read") + hitl.ok("token", "list")
    )
    for command in ("show", "q-1"), ("history",), ("token", "list"):
        document = str(hitl.json(*command))
        assert "+09:00" not in document
        assert re.search(r"\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document)


# Times that a person types


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("far", ["9999-12-31", "9999-12-31T23:59", "9998-01-01", "2000w"])
def test_a_time_beyond_what_is_allowed_is_refused_with_what_is(hitl: Hitl, far: str, zone: str) -> None:
    put(hitl, "q", Question(prompt="Ship it?", extend=86_400_000), by="ada", deadline_ms=3_600_000)
    hitl.env |= {"TZ": zone, "HITL_AS": "ada"}
    assert "at most 1d more" in hitl.fails(2, "extend", "q", "--until", far, code="bad-duration")
    assert "at most a year" in hitl.fails(2, "away", "--until", far, "--yes", code="bad-away")
    assert "at most a year" in hitl.fails(2, "away", "--until", "0001-01-01", "--yes", code="bad-away")


def test_a_duration_that_is_too_long_is_not_called_something_else(hitl: Hitl) -> None:
    put(hitl, "q", Question(prompt="Ship it?", extend=86_400_000), by="ada")
    hitl.env["HITL_AS"] = "ada"
    for args, code in (
        (("extend", "q", "--until"), "bad-duration"),
        (("extend", "q"), "bad-duration"),
        (("away", "--until"), "bad-away"),
        (("ask", "?", "--no-wait", "--deadline"), "bad-duration"),
        (("token", "create", "--as", "ada", "--can", "read", "--expires"), "bad-duration"),
    ):
        for long in ("36601d", "0s"):
            assert "at most 100 years" in hitl.fails(2, *args, long, code=code)
    assert "2026-12-24" in hitl.fails(2, "extend", "q", "--until", "2026-13-01", code="bad-duration")
