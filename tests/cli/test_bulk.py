"""Many answers at once: selection, preview, confirmation, a line each, the highest exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.cli.test_terminal import on_terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl

YES_OR_NO = Question(prompt="Now?")


@pytest.fixture
def three(hitl: Hitl) -> Hitl:
    """Three requests; one is for another person."""
    put(hitl, "a:1", YES_OR_NO)
    put(hitl, "b:1", Question(prompt="Now?", to=("reviewer",)))
    put(hitl, "c:1", YES_OR_NO)
    return hitl


def left(hitl: Hitl) -> list[str]:
    return [item["id"] for item in hitl.json("pending", "--all")]


def test_a_failure_does_not_stop_the_rest_and_the_exit_code_says_the_worst(three: Hitl) -> None:
    done = three.run("approve", "a:1", "b:1", "nope", "c:1")
    assert done.returncode == 7
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["a:1", "c:1"]
    assert "nope" in done.stderr
    assert "reviewer" in done.stderr
    assert left(three) == ["b:1"]


def test_ids_come_from_stdin_and_need_a_yes(three: Hitl) -> None:
    ids = "a:1\n\n  c:1  \na:1\n"
    assert "--yes" in three.fails(2, "approve", "--stdin", code="needs-confirmation", stdin=ids)
    assert left(three) == ["a:1", "b:1", "c:1"]
    assert len(three.ok("approve", "--stdin", "--yes", stdin=ids).splitlines()) == 2
    assert left(three) == ["b:1"]
    assert three.ok("approve", "--stdin", stdin="") == ""


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_no_confirmation_counts_what_is_not_there(three: Hitl, verdict: str) -> None:
    asked = three.fails(2, verdict, "--stdin", code="needs-confirmation", stdin="a:1\nnope\nb:1\n")
    assert f"{verdict} 1 of 3 requests" in asked
    three.fails(3, verdict, "--stdin", code="not-found", stdin="nope\n")  # there is nothing to confirm
    three.fails(7, verdict, "--stdin", "--json", code="not-assignee", stdin="b:1\nnope\n")
    assert "[y/N]" not in on_terminal(three, 120, verdict, "nope", "nothing", typed="")
    assert left(three) == ["a:1", "b:1", "c:1"]


def test_what_matches_is_meant(three: Hitl) -> None:
    assert "--yes" in three.fails(2, "reject", "--match", "[ac]", code="needs-confirmation")
    assert "--yes" in three.fails(2, "reject", "--match", "a", code="needs-confirmation")
    three.ok("reject", "--match", "[ac]", "--yes", "--reason", "not today")
    assert left(three) == ["b:1"]
    three.fails(3, "reject", "--match", "zzz*", "--yes", code="nothing-waiting")


def test_a_dry_run_shows_what_would_happen_and_changes_nothing(three: Hitl) -> None:
    done = three.run("approve", "--match", "*", "--dry-run")
    assert done.returncode == 7
    a, b, c = done.stdout.splitlines()[1:]
    assert a.split()[-1] == c.split()[-1] == "approve"
    assert "reviewer" in b
    assert len(left(three)) == 3
    assert three.ok("approve", "a:1", "--dry-run").split()[-1] == "approve"
    planned = three.json("approve", "a:1", "c:1", "--dry-run")
    assert [(one["id"], one["verdict"], one["problem"]) for one in planned] == [
        ("a:1", "approve", None),
        ("c:1", "approve", None),
    ]


@pytest.mark.parametrize(("typed", "remain"), [("y\n", ["b:1"]), ("n\n", 3), ("\n", 3), ("\x04", 3)])
def test_a_person_at_a_terminal_is_asked_first(three: Hitl, typed: str, remain: list[str] | int) -> None:
    shown = on_terminal(three, 120, "approve", "a:1", "c:1", typed=typed)
    assert "approve 2 of 2 requests? [y/N]" in shown
    if isinstance(remain, int):
        assert "nothing was changed" in shown
        assert len(left(three)) == remain
    else:
        assert left(three) == remain


def test_each_has_its_entry_in_the_document(three: Hitl) -> None:
    done = three.run("approve", "a:1", "b:1", "--json")
    assert done.returncode == 7
    made, refused = json.loads(done.stdout)
    assert (made["id"], made["fresh"]) == ("a:1", True)
    assert (refused["id"], refused["code"]) == ("b:1", "not-assignee")


def test_nothing_meant_is_said_to_be_nothing(hitl: Hitl) -> None:
    hitl.create()
    assert "--stdin or --match" in hitl.fails(2, "approve", code="bad-usage")
    hitl.fails(2, "approve", "--stdin", "--data", "-", code="bad-usage", stdin="1")
