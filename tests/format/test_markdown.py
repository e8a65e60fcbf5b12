"""Markdown of others: nothing in it is hidden, and nothing is obeyed."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hitl_cli.cli.render.markdown import markdown

COLOR = re.compile(r"\x1b\[[0-9;]*m")
WORD = re.compile(r"w\d+w")


def drawn(source: str, width: int = 80) -> str:
    """Return what a terminal is sent, without colors."""
    screen = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    screen.print(markdown(source, width))
    return COLOR.sub("", screen.file.getvalue())  # type: ignore[attr-defined]


def test_it_is_drawn_as_markdown() -> None:
    shown = drawn("# Deploy\n\nTo *production* with `--all`.\n\n1. one\n   * two\n\n```sh\nmake\n```\n")
    assert "*production*" not in shown
    assert "`" not in shown
    assert "#" not in shown
    assert " • two" in shown
    assert shown.rstrip().endswith("make")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("[https://bank.example](http://evil.example/)", "https://bank.example (http://evil.example/)"),
        ("![cat](http://evil.example/x.png)", "http://evil.example/x.png"),
        ("see [docs]\n\n[docs]: http://evil.example/", "http://evil.example/"),
        ("[//]: # (a hidden remark)", "a hidden remark"),
        ('[here](http://x.example "a hidden title")', "a hidden title"),
        ("<b onclick='x'>bold</b>", "<b onclick='x'>bold</b>"),
        ("<!-- a hidden remark -->", "<!-- a hidden remark -->"),
        ("<details>\nmore\n</details>", "<details>"),
        ("| a |\n|---|\n| b | hidden |", "hidden"),
        ("``` a hidden remark\ncode\n```", "a hidden remark"),
        (">" * 30 + " deep", "deep"),
        ("&#x202e;txt.exe", "&#x202e;txt.exe"),
        ("&ZeroWidthSpace;", "&ZeroWidthSpace;"),
        ("<http://x.example/%1b%5b2J>", "\\x1b[2J"),
        ("\x1b]8;;http://evil.example\x07text", "\\x1b]8;;http://evil.example\\x07text"),
        (
            "[red]no[/red] [link=http://x]markup[/link] :boom:",
            "[red]no[/red] [link=http://x]markup[/link] :boom:",
        ),
    ],
)
def test_what_would_be_hidden_or_obeyed_is_shown(source: str, shown: str) -> None:
    assert shown in drawn(source)
    for width in (20, 80):
        there = drawn(source, width)
        assert "\x1b" not in there
        assert "\u202e" not in there


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "*",
                "**",
                "_",
                "`",
                "```\n",
                "~~",
                "[",
                "](",
                ")",
                "![",
                "]: ",
                "<",
                ">",
                "<!--",
                "-->",
                "> ",
                "# ",
            ]
        ),
        st.sampled_from(
            ["* ", "1. ", "  ", "    ", "\n", "\n\n", "|", "\n|--|\n", "---\n", "&amp;", "\\", '"']
        ),
        st.just("w"),
    ),
    max_size=60,
)


@given(PIECES, st.integers(8, 120))
def test_every_word_is_seen(pieces: list[str], width: int) -> None:
    source = "".join(f"w{n}w" if piece == "w" else piece for n, piece in enumerate(pieces))
    there = re.sub(r"[\s▌]", "", drawn(source, width))
    for word in WORD.findall(source):
        assert word in there


@pytest.mark.parametrize(
    "piece", ["[", "![", ">", "* ", "a\n\n", "# a\n", "*a _b ", "`", "&#", "<", "|a", "审"]
)
def test_a_text_made_to_take_long_is_drawn(piece: str) -> None:
    assert drawn(piece * (100_000 // len(piece)))
    assert drawn(piece * (2_000 // len(piece)))
