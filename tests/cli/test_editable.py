"""Arguments that a person changes and approves, from the command line, in a workflow, and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import HITL
from tests.terminal import CTRL_U, ENTER, Terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl

ARGUMENTS = {"argv": ["rm", "-r", "build"], "cwd": "/srv"}
EDITABLE = {"properties": {"argv": {"type": "array", "items": {"type": "string"}, "maxItems": 3}}}

SEND = "Send it (yes, change a field, no): "


def ask(hitl: Hitl, id: str, *more: str, editable: Any = EDITABLE) -> None:
    given = ("--arguments", json.dumps(ARGUMENTS), "--editable", json.dumps(editable))
    hitl.ok("ask", "Run this?", "--id", id, *given, "--no-wait", *more)


def test_a_script_gets_the_arguments_that_were_approved(hitl: Hitl) -> None:
    ask(hitl, "a")
    assert hitl.fails(2, "approve", "a", "--set", "cwd=/", code="does-not-fit-form")
    done = hitl.run("approve", "a", "--set", 'argv=["rm", "-r", "dist"]', "--as", "bob")
    assert "argv[2]: build → dist" in done.stderr
    changed = ARGUMENTS | {"argv": ["rm", "-r", "dist"]}
    assert json.loads(hitl.ok("ask", "--id", "a")) == changed
    told = hitl.json("ask", "--id", "a")
    assert (told["arguments"], told["changed"]) == (changed, True)
    shown = hitl.json("show", "a")
    assert shown["decision"]["changes"] == [{"path": "argv[2]", "before": "build", "now": "dist"}]
    assert "argv[2]: build → dist" in hitl.ok("show", "a")
    assert "argv[2]: build → dist" in hitl.ok("history")


def test_many_at_once_are_approved_as_they_are(hitl: Hitl) -> None:
    ask(hitl, "a")
    ask(hitl, "b", editable=True)
    hitl.ok("approve", "--match", "*", "--yes")
    assert [hitl.json("ask", "--id", id)["changed"] for id in "ab"] == [False, False]


def test_what_cannot_be_editable_is_refused_when_it_is_asked(hitl: Hitl) -> None:
    for arguments, editable in (("[1]", "true"), ('{"n": 1}', '{"properties": {"n": {"type": "string"}}}')):
        given = ("--arguments", arguments, "--editable", editable)
        hitl.fails(2, "ask", "?", "--id", "a", *given, "--no-wait", code="bad-question")


def test_on_a_terminal_the_difference_is_shown_before_it_is_sent(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Pay?", arguments={"amount": 120, "to": "x"}, editable=True))
    with Terminal([HITL, "approve", "a"], hitl.env, hitl.folder) as terminal:
        terminal.asks(SEND)
        terminal.shows("amount: 120")
        terminal.type("c" + ENTER)
        terminal.asks("Which field (amount, to): ")
        terminal.type("amount" + ENTER)
        terminal.asks("amount: 120")
        terminal.type(CTRL_U + "80" + ENTER)
        terminal.shows("changed amount: 120 → 80")
        terminal.asks(SEND)
        terminal.type("yes" + ENTER)
        terminal.shows("approved by")
    assert hitl.json("ask", "--id", "a")["arguments"] == {"amount": 80, "to": "x"}


def test_review_changes_arguments(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Pay?", arguments={"amount": 120}, editable=True))
    with Terminal([HITL, "review"], hitl.env, hitl.folder) as terminal:
        terminal.shows("e change")
        terminal.type("e")
        terminal.asks(SEND)
        terminal.type("c" + ENTER)
        terminal.asks("amount: 120")
        terminal.type(CTRL_U + "80" + ENTER)
        terminal.shows("changed amount: 120 → 80")
        terminal.asks(SEND)
        terminal.type("yes" + ENTER)
        terminal.shows("u to undo")
        terminal.type("q")
        assert terminal.end() == 0
    assert hitl.json("ask", "--id", "a")["arguments"] == {"amount": 80}
