"""Frequent requests use an index, so that a million other promises cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine import inspection, prune, store

if TYPE_CHECKING:
    from tests.engine.conftest import Engine

VERBS = ("SELECT ", "UPDATE ", "DELETE ")
NOT_LOOK_UPS = ("STANDING", "LISTENED")
"""A part of other statements; and one that reads a single row."""

HOT = {
    name: text
    for name, text in vars(store).items()
    if isinstance(text, str) and text.startswith(VERBS) and name not in NOT_LOOK_UPS
}
UPKEEP = {
    name: text
    for module in (prune, inspection)
    for name, text in vars(module).items()
    if isinstance(text, str) and text.startswith(VERBS)
} | {f"REMOVE {n}": text for n, text in enumerate(prune.REMOVE)}

LIVE_ONLY = ("callbacks", "unblocks")
"""Tables whose rows are gone once what they wait for has happened; upkeep may read all of them."""


OWN_ROWS = ("SCAN CONSTANT ROW", "SCAN (subquery", "SCAN e VIRTUAL TABLE")
"""Steps that read what the statement itself has made, and no table."""


def scans(engine: Engine, sql: str) -> list[str]:
    """Return the steps of a statement's plan that read a whole table, or an index that is not partial."""
    db = engine.server.store._db
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%INDEX%WHERE%'")}
    values = {"after": 1} if ":after" in sql else (1,) * sql.count("?")
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    return [
        step
        for step in plan
        if step.startswith("SCAN ") and not step.startswith(OWN_ROWS) and not names & set(step.split())
    ]


def test_there_are_statements_to_look_at() -> None:
    assert len(HOT) > 15
    assert len(UPKEEP) > 10


@pytest.mark.parametrize("name", HOT)
def test_what_is_asked_all_day_scans_no_table(engine: Engine, name: str) -> None:
    assert scans(engine, HOT[name]) == []


@pytest.mark.parametrize("name", UPKEEP)
def test_upkeep_scans_only_what_waits(engine: Engine, name: str) -> None:
    found = scans(engine, UPKEEP[name])
    if UPKEEP[name] in (inspection.COUNT_PROMISES, prune.NEWEST):
        return  # the one is given up when it takes long, the other is the end of the table
    assert [step for step in found if step.split()[1] not in (*LIVE_ONLY, "c", "u")] == []
