"""Markdown of others: the heading of a page, and no active content."""

from __future__ import annotations

import time

import pytest

from hitl_cli.format.markdown import LONGEST, as_html, as_mail, as_prompt, as_words

QUICK_S = 2.0
"""Of the processor: much more than it takes."""


@pytest.mark.parametrize(
    ("prompt", "title", "body"),
    [
        ("# Ship **1.4**?\n\nIt is tested.", "Ship <strong>1.4</strong>?", "<p>It is tested.</p>\n"),
        ("Ship?", "Ship?", ""),
        ("Ship?\nSoon, *please*.", "Ship?", "<p>Soon, <em>please</em>.</p>\n"),
        ("Ship?\n=====\nSoon.", "Ship?", "<p>Soon.</p>\n"),
        ("- a\n- b", "- a", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("**a\nb**", "**a", "<p><strong>a\nb</strong></p>\n"),
        ("# A\n### B\n#### C", "A", "<h2>B</h2>\n<h3>C</h3>\n"),
        ("", "", ""),
    ],
)
def test_the_first_line_is_the_heading_and_the_rest_follows(prompt: str, title: str, body: str) -> None:
    made = as_prompt(prompt)
    assert (str(made.title), str(made.body)) == (title, body)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "[x](//evil.example)",
        "[x](/sign-out)",
        "[x]: javascript:alert(1)\n\n[x]",
        "<javascript:alert(1)>",
        '[x](https://a.example/"onmouseover="alert(1))',
        "![x](javascript:alert(1))",
        "![x](https://a.example/x.png 'y\" onerror=\"alert(1)')",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "| a |\n|:-:|\n| <b onclick=alert(1)> |",
        "```html\n<script>alert(1)</script>\n```",
        "`<script>`",
    ],
)
def test_nothing_in_it_does_anything(text: str) -> None:
    for html in (str(as_html(text)), str(as_prompt(f"Look\n\n{text}").body), str(as_prompt(text).title)):
        plain = html.lower()
        for evil in ("<script", "<img", ' href="javascript', ' href="data', ' href="/', "style=", "<b "):
            assert evil not in plain
        for handler in ("onerror=", "onclick=", "onmouseover="):
            assert f'" {handler}' not in plain


def test_a_link_elsewhere_tells_nobody_where_it_was() -> None:
    assert str(as_html("[x](https://a.example)")) == (
        '<p><a href="https://a.example" target="_blank" rel="noopener noreferrer nofollow">x</a></p>\n'
    )


@pytest.mark.parametrize("piece", ["[", "*a_", "![](", "> ", "`", "a\n", "<", "|a", "- ", "[a](<b"])
def test_a_text_that_is_made_to_take_long_does_not(piece: str) -> None:
    began = time.thread_time()
    as_prompt(piece * (LONGEST // len(piece)))
    assert time.thread_time() - began < QUICK_S


def test_a_text_too_long_to_be_read_is_shown_as_it_is() -> None:
    text = "<b>*x*</b> " * LONGEST
    assert as_prompt(text).body.startswith('<pre class="code">&lt;b&gt;*x*')
    assert as_html(text).startswith('<pre class="code">&lt;b&gt;*x*')


def test_in_a_mail_no_link_is_its_authors_and_addresses_are_written_out() -> None:
    html = as_mail(
        "See **[the plan](https://a.example/p)**, ![it](https://b.example/i.png) <b>x</b>\n\n- <https://c.example>"
    )
    assert "<strong>the plan (https://a.example/p)</strong>" in html
    assert "it (https://b.example/i.png)" in html
    assert "https://c.example (https://c.example)" in html
    assert "<a" not in html
    assert "<img" not in html
    assert "&lt;b&gt;x" in html


def test_a_line_of_a_list_has_no_marks() -> None:
    assert as_words("Ship **1.4** of [a](https://a.example) ![b](c.png) `d`?") == "Ship 1.4 of a b d?"
    assert as_words("x" * 500) == f"{'x' * 200}…"
