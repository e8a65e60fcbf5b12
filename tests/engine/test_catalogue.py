"""The catalogue of checks is as long as the specification's, and says of each what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine import catalogue
from tests.engine.catalogue import ALWAYS, RECORD, SPAN, STEP, SWEEP, UNCHECKED

CHECKS: list[dict[str, Any]] = [ALWAYS, STEP, SPAN, SWEEP, RECORD]
NAMES = Path(__file__).with_name("catalogue_names.txt")
"""The names in spec/02-abstract/properties.lean, in its order."""


def test_every_name_of_the_specification_is_checked_or_has_a_reason_not_to_be() -> None:
    checked = [name for checks in CHECKS for name in checks]

    assert sorted([*checked, *UNCHECKED]) == sorted(NAMES.read_text().split())
    assert all(UNCHECKED.values())


@pytest.mark.parametrize("check", [check for checks in CHECKS for check in checks.values()])
def test_every_check_says_what_it_is(check: object) -> None:
    assert (check.__doc__ or "").splitlines()[0].rstrip().endswith((".", ".)"))


def test_an_empty_file_breaks_nothing() -> None:
    nothing = catalogue.State(rows={"promises": 0, "tasks": 0, "schedules": 0})
    assert catalogue.broken_in(0, nothing) == []
    assert catalogue.broken_by(0, nothing, nothing, one_step=True, asked=False) == []
