"""Text of others on a terminal: shown, and never obeyed."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.format.terminal import JOINERS, cells, printable, printable_json, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("invoice\u202egnp.exe", "invoice\\u202egnp.exe"),
        ("ad\u200bmin\ufeff\u2066\u00ad", "ad\\u200bmin\\ufeff\\u2066\\xad"),
        ("a\nb\tc\r\nd\u00a0e", "a b c d e"),
        ("over\rwritten\x9b2J\u2028", "over\\rwritten\\x9b2J\\u2028"),
        ("fill\u3164er", "fill\\u3164er"),
        ("half \ud800 a pair", "half \\ud800 a pair"),
        ("[red]as it is[/red] [link=http://x]y[/link]", "[red]as it is[/red] [link=http://x]y[/link]"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["👩\u200d💻", "نمی\u200cشود", "क्\u200dष", "❤\ufe0f", "审批", "Ünïcödé"])
def test_scripts_and_emoji_are_left_alone(text: str) -> None:
    assert printable(text) == text


def test_several_lines_stay_several() -> None:
    assert printable_lines("a\n\tb\r\nc\x1b[A\rd") == "a\n    b\nc\\x1b[A\\rd"


@given(st.text())
def test_nothing_shown_can_do_anything(text: str) -> None:
    shown = printable(text)
    assert shown == printable_lines(shown)
    for char in shown:
        assert char in JOINERS or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert cells(shown) >= 0


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("审批", 4), ("e\u0301", 1), ("❤\ufe0f", 2), ("نمی\u200cشود", 6), ("กำ", 2)],
)
def test_columns_are_counted_as_a_terminal_takes_them(text: str, width: int) -> None:
    assert cells(text) == width


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_is_made_harmless_and_means_the_same(value: object) -> None:
    for text in (json.dumps(value, ensure_ascii=False, indent=2), json.dumps(value)):
        shown = printable_json(text)
        assert json.loads(shown) == value
        assert all(char in JOINERS or char.isprintable() for char in shown.replace("\n", ""))
