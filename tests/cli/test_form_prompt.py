"""A form, asked field by field on a terminal."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.requests.question import Question
from tests.cli.requests import promise_now, put
from tests.cli.test_answers import data_of
from tests.conftest import HITL
from tests.terminal import BACKSPACE, CTRL_C, CTRL_D, CTRL_U, ENTER, TAB, Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Hitl

SCRIPT = str(Path(__file__).with_name("form_to_fill.py"))
SEND = "Send it (yes, change a field, no): "


def obj(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


EXPENSE = obj(
    "kind",
    "amount",
    kind={"const": "expense"},
    amount={"type": "integer", "maximum": 500, "title": "Amount", "description": "In euros"},
    size={"enum": ["small", "medium", "large"], "default": "medium"},
    urgent={"type": "boolean"},
    tags={"type": "array", "items": {"type": "string", "minLength": 2}, "maxItems": 2},
    address=obj("city", city={"type": "string"}),
)


@pytest.fixture
def filling(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(
        schema: Any, *given: str, term: str = "xterm-256color", columns: int = 100, **env: str
    ) -> Terminal:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        command = [sys.executable, SCRIPT, json.dumps(schema), *given]
        opened.append(Terminal(command, {**kept, **env}, tmp_path, columns=columns, term=term))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def answer(terminal: Terminal) -> Any:
    shown = terminal.shows("answer ")
    assert terminal.end() == 0
    return json.loads("".join(shown.partition("answer ")[2].splitlines()))


def test_a_form_is_asked_field_by_field_and_sent_when_it_is_right(filling: Callable[..., Terminal]) -> None:
    terminal = filling(EXPENSE)
    shown = terminal.asks("amount: ")
    assert shown.splitlines()[0] == "Pay it?"
    assert "Amount\nIn euros\na whole number, at most 500\n" in shown
    terminal.type("6x")
    terminal.shows("amount must be a whole number, such as 120.")
    terminal.type(BACKSPACE + "00")
    terminal.shows("must be at most 500")
    terminal.type(ENTER)
    terminal.shows("must be at most 500")
    terminal.type(CTRL_U + "120" + ENTER)
    assert "if empty: medium\n  1) small\n  2) medium\n  3) large\n" in terminal.asks("size: ")
    terminal.type("3" + ENTER)
    terminal.asks("urgent: ")
    terminal.type("y" + ENTER)
    terminal.asks("tags[0]: ")
    terminal.type("ab" + ENTER)
    terminal.asks("tags[1]: ")
    terminal.type("c")
    terminal.shows("must have at least 2 characters")
    terminal.type("d" + ENTER)
    terminal.asks("tags[2]: ")
    terminal.type(ENTER)
    terminal.asks("address.city: ")
    terminal.type(ENTER)
    shown = terminal.asks(SEND)
    assert 'amount: 120\nsize: large\nurgent: true\ntags: ["ab","cd"]\naddress.city: -\n' in shown
    terminal.type("change" + ENTER)
    terminal.asks("Which field (kind, amount, size, urgent, tags, address.city): ")
    terminal.type("amount" + ENTER)
    terminal.asks("amount: 120")
    terminal.type(BACKSPACE + "1" + ENTER)
    terminal.asks(SEND)
    terminal.type("yes" + ENTER)
    assert answer(terminal) == {
        "kind": "expense", "amount": 121, "size": "large", "urgent": True, "tags": ["ab", "cd"],
    }  # fmt: skip


def test_what_is_given_already_is_not_asked(filling: Callable[..., Terminal]) -> None:
    terminal = filling(EXPENSE, "amount=7", "urgent=no", "tags=ab", "tags=cd", "address.city=Paris")
    terminal.asks("size: ")
    terminal.type(ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal)["size"] == "medium"


def test_a_choice_is_completed(filling: Callable[..., Terminal]) -> None:
    terminal = filling({"enum": ["ship", "hold", "roll back"]})
    terminal.asks("answer: ")
    terminal.type("ro")
    terminal.shows("answer: ro")
    terminal.type(TAB)
    terminal.asks("answer: roll back")
    terminal.type(ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal) == "roll back"


def test_choices_that_are_numbers_are_not_numbered(filling: Callable[..., Terminal]) -> None:
    terminal = filling({"enum": [10, 2, 1]})
    assert "  - 10\n  - 2\n  - 1\n" in terminal.asks("answer: ")
    terminal.type("2" + ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal) == 2


def test_what_is_required_cannot_be_left_empty(filling: Callable[..., Terminal]) -> None:
    terminal = filling(obj("note", note={"type": "string"}))
    terminal.asks("note: ")
    terminal.type(ENTER)
    terminal.shows("note is required")


def test_a_list_that_does_not_fit_is_asked_again(filling: Callable[..., Terminal]) -> None:
    terminal = filling({"type": "array", "items": {"type": "integer"}, "maxItems": 1})
    for index in range(2):
        terminal.asks(f"[{index}]: ")
        terminal.type("1" + ENTER)
    terminal.asks("[2]: ")
    terminal.type(ENTER)
    terminal.shows("it must have at most 1 entry: enter the list again")
    terminal.asks("[0]: ")
    terminal.type("5" + ENTER)
    terminal.asks("[1]: ")
    terminal.type(ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal) == [5]


def test_what_does_not_fit_as_a_whole_cannot_be_sent(filling: Callable[..., Terminal]) -> None:
    schema = {**obj(a={"type": "integer"}, b={"type": "integer"}), "dependentRequired": {"a": ["b"]}}
    terminal = filling(schema, "a=1")
    terminal.asks("b: ")
    terminal.type(ENTER)
    assert "! b is required" in terminal.asks("Not valid yet (change a field, no): ")
    terminal.type("yes")
    terminal.shows("must be one of change a field, no")
    terminal.type(CTRL_U + "c" + ENTER)
    terminal.asks("Which field (a, b): ")
    terminal.type("b" + ENTER)
    terminal.asks("b: ")
    terminal.type("2" + ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal) == {"a": 1, "b": 2}


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_it_can_be_canceled_at_any_field(filling: Callable[..., Terminal], key: str, term: str) -> None:
    terminal = filling(EXPENSE, term=term)
    terminal.asks("amount: ")
    terminal.type("5" + ENTER)
    terminal.asks("size: ")
    terminal.type(key)
    terminal.shows("NotDone: canceled; nothing was changed.")
    assert terminal.end() == 0


def test_it_can_be_canceled_at_the_end(filling: Callable[..., Terminal]) -> None:
    terminal = filling({"type": "integer"}, "=5")
    terminal.asks(SEND)
    terminal.type("n" + ENTER)
    terminal.shows("NotDone: canceled; nothing was changed.")


def test_a_secret_is_not_shown(filling: Callable[..., Terminal]) -> None:
    for term in ("xterm-256color", "dumb"):
        terminal = filling(obj(pin={"type": "string", "format": "password"}), term=term)
        terminal.asks("pin: ")
        terminal.type("sesame" + ENTER)
        terminal.asks(SEND)
        assert "sesame" not in terminal.raw
        terminal.type("y" + ENTER)
        assert answer(terminal) == {"pin": "sesame"}


def test_a_terminal_that_can_only_print_gets_nothing_else(filling: Callable[..., Terminal]) -> None:
    terminal = filling(EXPENSE, "size=small", "urgent=no", "address.city=Paris", term="dumb")
    terminal.asks("amount: ")
    terminal.type("600" + ENTER)
    terminal.shows("! must be at most 500")
    terminal.asks("amount: ")
    terminal.type("5" + ENTER)
    terminal.asks("tags[0]: ")
    terminal.type(ENTER)
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal)["amount"] == 5
    assert "\x1b" not in terminal.raw


def colored(raw: str) -> bool:
    return any(f"\x1b[{start}" in raw for start in ("0;31", "31", "91", "38;"))


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_colors_are_for_terminals_that_want_them(
    filling: Callable[..., Terminal], env: dict[str, str]
) -> None:
    terminal = filling({**obj(a={"type": "integer"}), "minProperties": 2}, "a=5", **env)
    terminal.asks("Not valid yet (change a field, no): ")
    assert colored(terminal.raw) is not bool(env)


def test_what_a_form_says_is_shown_and_not_obeyed(filling: Callable[..., Terminal]) -> None:
    evil = "\x1b]0;title\x07\u202e[red]x"
    schema = obj(
        evil,
        **{evil: {"enum": [evil, f"{evil}2"], "title": evil, "description": evil, "default": evil}},
        b={"type": "string", "pattern": evil, "examples": [evil]},
    )
    terminal = filling(schema)
    shown = terminal.asks('["\\u001b]0;title\\u0007\\u202e[red]x"]: ')
    assert "\\x1b]0;title\\x07\\u202e[red]x" in shown
    terminal.type("1" + ENTER)
    terminal.asks("b: ")
    terminal.type("nothing")
    terminal.shows("must match")
    terminal.type(CTRL_U + ENTER)
    terminal.asks(SEND)
    assert "\x1b]0;" not in terminal.raw
    assert "\x07" not in terminal.raw
    assert "\u202e" not in terminal.raw
    terminal.type("y" + ENTER)
    assert answer(terminal) == {evil: evil}


LINES = obj(
    "lines",
    lines={
        "type": "array",
        "items": obj(
            "what", what={"type": "string", "minLength": 2}, pin={"type": "string", "writeOnly": True}
        ),
        "minItems": 1,
    },
    order={"type": "string", "readOnly": True, "default": "PO-7"},
    region={"oneOf": [{"const": "eu-w-1", "title": "Ireland"}, {"const": None, "title": "Nowhere"}]},
)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_rows_are_added_changed_and_removed(filling: Callable[..., Terminal], term: str) -> None:
    terminal = filling(LINES, term=term)

    def say(*pairs: tuple[str, str]) -> str:
        shown = ""
        for asked, typed in pairs:
            shown += terminal.asks(asked)
            terminal.type(typed + ENTER)
        return shown

    say(("lines (add, done): ", "done"))
    terminal.shows("! lines must have at least 1 entry")
    say(("lines (add, done): ", "a"), ("lines[0].what: ", "one"), ("lines[0].pin: ", "sesame"))
    menu = "lines (add, change, remove, done): "
    say((menu, "add"), ("lines[1].what: ", "two"), ("lines[1].pin: ", ""))
    say((menu, "c"), ("Which row (1, 2): ", "2"))
    if term == "dumb":
        say(("lines[1].what: ", "two three"))
    else:
        say(("lines[1].what: two", " three"))
    say(("lines[1].pin: ", ""), (menu, "remove"), ("Which row (1, 2): ", "1"))
    shown = say((menu, "done"), ("region: ", "Ireland"), (SEND, "change"))
    assert "lines[0].what: two three\nlines[0].pin: -\norder: PO-7\nregion: Ireland\n" in shown
    assert "sesame" not in terminal.raw
    say(("Which field (lines, region): ", "region"))
    if term == "dumb":
        say(("region: ", "eu-w-1"))
    else:
        say(("region: Ireland", CTRL_U + "eu-w-1"))
    say((SEND, "y"))
    assert answer(terminal) == {"lines": [{"what": "two three"}], "order": "PO-7", "region": "eu-w-1"}


def test_rows_that_are_given_are_not_asked(filling: Callable[..., Terminal]) -> None:
    terminal = filling(LINES, "lines[0].what=one", "lines[1].what=two", "region=Nowhere")
    terminal.asks(SEND)
    terminal.type("y" + ENTER)
    assert answer(terminal) == {
        "lines": [{"what": "one"}, {"what": "two"}], "order": "PO-7", "region": None,
    }  # fmt: skip


def test_a_form_that_is_none_is_refused_before_anything_is_asked(filling: Callable[..., Terminal]) -> None:
    terminal = filling({"properties": {"a": {"type": "foo"}}})
    assert terminal.shows("BadInput").startswith(
        "BadInput: the form is not a valid JSON Schema: properties.a.type"
    )


def test_approving_a_form_on_a_terminal_asks_for_it(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How much?", form=EXPENSE))
    with Terminal([HITL, "approve", "a"], hitl.env, hitl.folder) as terminal:
        terminal.asks("amount: ")
        terminal.type(CTRL_C)
        terminal.shows("nothing was changed")
        assert terminal.end() == 1
    assert promise_now(hitl, "a")["state"] == "pending"
    with Terminal([HITL, "approve", "a"], hitl.env, hitl.folder) as terminal:
        for asked, typed in (("amount: ", "5"), ("size: ", "1"), ("urgent: ", ""), ("tags[0]: ", "")):
            terminal.asks(asked)
            terminal.type(typed + ENTER)
        terminal.asks("address.city: ")
        terminal.type(ENTER)
        terminal.asks(SEND)
        terminal.type("y" + ENTER)
        terminal.shows("approved by ada")
        assert terminal.end() == 0
    assert data_of(hitl, "a") == {"kind": "expense", "amount": 5, "size": "small"}


def test_who_may_not_answer_is_not_asked_to_fill_in_the_form(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How much?", form=EXPENSE, to=("reviewer",)))
    with Terminal([HITL, "approve", "a"], hitl.env, hitl.folder) as terminal:
        assert "amount" not in terminal.shows("ada cannot")
        assert terminal.end() == 7
    hitl.fails(7, "approve", "a", "--set", "nothing=1", code="not-assignee")


def test_where_another_approved_with_other_data_that_is_shown_before_it_is_sent(hitl: Hitl) -> None:
    amount = {"type": "integer", "title": "Amount"}
    put(hitl, "a", Question(prompt="How much?", form=obj("n", n=amount), approvals=2))
    hitl.ok("approve", "a", "--set", "n=1", "--as", "reviewer")
    with Terminal([HITL, "approve", "a"], hitl.env, hitl.folder) as terminal:
        terminal.asks("n: ")
        terminal.type("2" + ENTER)
        assert "! differs from other votes: Amount: 1 (reviewer), 2 (you)" in terminal.asks(SEND)
        terminal.type("y" + ENTER)
        terminal.shows("answers differ: Amount: 1 (reviewer), 2 (ada)")
        assert terminal.end() == 0


def test_in_a_narrow_terminal_the_reason_is_shown_whole(filling: Callable[..., Terminal]) -> None:
    names = ["the first size", "the second size", "the third size", "the last size"]
    terminal = filling(obj("size", size={"enum": names}), columns=40)
    terminal.shows("size:")
    terminal.type("x" + ENTER)
    whole = ", ".join(names).replace(" ", "")
    terminal.becomes(lambda screen: whole in "".join(screen.split()))
    terminal.type(CTRL_U + names[0])
    terminal.becomes(lambda screen: whole not in "".join(screen.split()))
