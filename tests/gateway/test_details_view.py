"""Typed parts of details: drawn for people, and obeyed by nobody."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.errors import BadInput
from hitl_cli.format.markdown import as_html, as_mail, as_prompt
from hitl_cli.gateway.pages.details_view import drawn_details
from hitl_cli.notify.phrases import content_of
from hitl_cli.requests.parts import MAX_IMAGE_BYTES, part_of, split
from hitl_cli.requests.question import Question, sensible
from tests.cli.requests import put
from tests.cli.test_terminal import on_terminal
from tests.gateway.test_request_page import HOSTILE, desk  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.desk import Desk

BAD = "\x1b]0;x\x07\u202e\u00a0\u2028\x85\r<script>alert(1)</script>"


def png(width: int = 2, height: int = 2) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 2) * 2))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")).decode()


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


GIF = encoded(b"GIF89a" + struct.pack("<HH", 3, 4) + b"\0" * 10)
JPEG = encoded(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08" + struct.pack(">HH", 4, 3) + b"\0" * 10)
WEBP = encoded(b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + b"\x02\0\0\x03\0\0")

PARTS: dict[str, dict[str, Any]] = {
    "run": {"$view": "command", "text": "rm -rf build\u00a0/\ncurl evil"},
    "change": {"$view": "diff", "text": "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n same"},
    "source": {"$view": "code", "text": "def f():\n    return 1", "language": "python"},
    "config": {"$view": "json", "value": {"a": [1, None]}},
    "why": {"$view": "markdown", "text": "*soon* [x](javascript:alert(1)) <b>hi</b>"},
    "picture": {"$view": "image", "data": png(), "alt": "a red square"},
    "users": {"$view": "table", "columns": ["name", "n"], "rows": [["ada", 1], ["bob", None]]},
}


def drawn(part: dict[str, Any]) -> str:
    [shown] = drawn_details(part).parts
    return str(shown.html)


def test_each_part_is_drawn_as_what_it_is() -> None:
    assert "rm -rf build\\xa0/↵\ncurl evil" in drawn(PARTS["run"])
    change = drawn(PARTS["change"])
    assert "<del>-old</del>\n<ins>+new</ins>\n<span> same</span>" in change
    assert '<span class="hl-k">def</span>' in drawn(PARTS["source"])
    assert "null" in drawn(PARTS["config"])
    assert "<em>soon</em>" in drawn(PARTS["why"])
    assert 'alt="a red square" width="2" height="2"' in drawn(PARTS["picture"])
    assert drawn(PARTS["users"]).count("<tr>") == 3


@pytest.mark.parametrize("name", PARTS)
def test_nothing_in_a_part_is_obeyed_by_a_browser(name: str) -> None:
    part = {key: BAD if key in ("text", "alt", "language") else value for key, value in PARTS[name].items()}
    part |= {"value": {BAD: BAD}} if name == "config" else {}
    part |= {"columns": [BAD, BAD], "rows": [[BAD, BAD]]} if name == "users" else {}
    html = drawn_details({BAD: part}).parts[0].html
    for char in "\x1b\x07\u202e\x85":
        assert (name == "why" and char != "\u202e") or char not in html
    assert "<script" not in html
    assert "href" not in drawn(PARTS["why"])


@pytest.mark.parametrize("name", PARTS)
def test_arguments_are_drawn_only_as_what_hides_nothing_of_them(name: str) -> None:
    for arguments in (PARTS[name], {"a": PARTS[name]}):
        shown = drawn_details(arguments, exact=True)
        if name in ("why", "picture", "users"):
            assert (shown.rest, shown.parts) == (arguments, ())
        else:
            assert (shown.rest, len(shown.parts)) == (None, 1)


def test_no_text_reorders_what_is_shown_beside_it() -> None:
    """A Markdown text, a prompt and plain details are prose, so joiners and letters of any script stay."""
    evil, arabic = "rm \u202egnp.exe\u2066\u202c", "\u0645\u06cc\u200c\u062e"
    for shown in (as_html(evil), as_prompt(evil).title, as_prompt("x" * 300 + evil).body, as_mail(evil)):
        assert r"rm \u202egnp.exe\u2066\u202c" in shown
    assert arabic in as_html(arabic)
    assert drawn_details({evil: [evil, arabic, "a\r\nb"]}).rest == {
        r"rm \u202egnp.exe\u2066\u202c": [r"rm \u202egnp.exe\u2066\u202c", arabic, "a\r\nb"]
    }


def test_what_is_long_is_folded() -> None:
    text = "\n".join(f"line {number}" for number in range(100))
    html = drawn({"$view": "code", "text": text})
    assert html.index("line 19") < html.index("80 more lines") < html.index("line 20")
    rows = [[number] for number in range(100)]
    assert "80 more rows" in drawn({"$view": "table", "columns": ["n"], "rows": rows})


@pytest.mark.parametrize(
    "part",
    [
        {"$view": "svg", "data": "x"},
        {"$view": 7},
        {"$view": "command"},
        {"$view": "command", "text": "ls", "more": 1},
        {"$view": "command", "text": ["ls"]},
        {"$view": "image", "data": png(), "alt": ""},
        {"$view": "image", "data": "no base64!", "alt": "x"},
        {"$view": "image", "data": encoded(b"<svg onload=alert(1)>"), "alt": "x"},
        {"$view": "image", "data": encoded(b"\x89PNG\r\n\x1a\n"), "alt": "x"},
        {"$view": "image", "data": encoded(b"\xff\xd8\xff\xe0\0\0" * 9), "alt": "x"},
        {"$view": "image", "data": encoded(b"\xff\xd8\xff\xff"), "alt": "x"},
        {"$view": "image", "data": encoded(b"GIF89a" + b"\0" * (MAX_IMAGE_BYTES + 1)), "alt": "x"},
        {"$view": "image", "data": png(60_000, 60_000), "alt": "x"},
        {"$view": "image", "data": png(0, 2), "alt": "x"},
        {"$view": "table", "columns": [], "rows": []},
        {"$view": "table", "columns": ["a"], "rows": [[1, 2]]},
        {"$view": "table", "columns": ["a"], "rows": [[{}]]},
    ],
)
def test_a_part_that_is_not_valid_is_refused_when_asked_and_plain_when_read(part: dict[str, Any]) -> None:
    for details, where in ((part, "details"), ({"it": part}, "details.it"), ([1, part], "details.1")):
        with pytest.raises(BadInput) as refused:
            sensible(Question(prompt="?", details=details))
        assert refused.value.code == "bad-question"
        assert f"{where} is not a valid part" in str(refused.value)
        assert split(details) == (details, [])
    assert part_of(part) is None


@pytest.mark.parametrize(
    ("data", "kind"), [(png(), "PNG, 2x2"), (GIF, "GIF, 3x4"), (JPEG, "JPEG, 3x4"), (WEBP, "WEBP, 3x4")]
)
def test_an_image_is_known_by_its_first_bytes(data: str, kind: str) -> None:
    assert kind in drawn({"$view": "image", "data": data, "alt": "x"})


def test_messages_show_parts_in_short() -> None:
    facts = {fact.name: fact.text for fact in content_of(Question(prompt="?", details=PARTS))}
    assert facts["change"] == "1 lines added, 1 removed"
    assert facts["picture"].startswith("a red square (PNG, 2x2")
    assert facts["users"] == "2 rows: name, n"
    assert facts["run"] == "rm -rf build\\xa0/↵ curl evil"
    assert content_of(Question(prompt="?", details=PARTS["run"]))[0].text == facts["run"]


def test_the_page_and_the_terminal_show_parts(desk: Desk) -> None:  # noqa: F811
    hostile = {HOSTILE: {"$view": "command", "text": HOSTILE}, "it": {"$view": HOSTILE}}
    path = desk.put("parts:1", Question(prompt="?", details=PARTS | hostile, arguments=PARTS["run"]))
    page = desk.get(path)
    assert {(at["src"] or "")[:15] for at in page.all("img")} == {"/static/icon.sv", "data:image/png;"}
    assert page.text.count("curl evil") == 2
    shown = desk.hitl.ok("show", "parts:1")
    assert "details: picture\n  [image: a red square, PNG, 2x2" in shown
    assert "rm -rf build\\xa0/↵\n  curl evil" in shown
    assert not {"\x1b", "\x07", "\u202e"} & {*shown}


def test_a_terminal_obeys_nothing_and_says_how_to_see_all(hitl: Hitl) -> None:
    long = {"$view": "command", "text": f"{BAD}\n" * 100}
    put(
        hitl,
        "a",
        Question(
            prompt="?", details={"run": long, "code": {"$view": "code", "text": BAD, "language": "bash"}}
        ),
    )
    shown = on_terminal(hitl, 80, "show", "a")
    assert "41 more: hitl show ID | less" in shown
    assert not {"\x07", "\u202e", "\x85"} & {*shown}


def test_a_script_asks_with_parts(hitl: Hitl) -> None:
    given = json.dumps({"run": {"$view": "comand", "text": "ls"}})
    assert "details.run" in hitl.fails(2, "ask", "?", "--details", given, "--no-wait", code="bad-question")


def test_arguments_are_shown_exactly_and_a_changed_text_as_a_diff(desk: Desk) -> None:  # noqa: F811
    text = "".join(f"line {number}\n" for number in range(40))
    arguments = {"argv": ["rm", "build\u00a0/", "\u202egpj"], "content": text}
    path = desk.put("exact:1", Question(prompt="?", arguments=arguments, editable=True))
    page = desk.get(path)
    assert "build\\xa0/" in page.text
    assert "\u202e" not in page.source.partition("<form")[0]
    assert "21 more lines" in page.text
    sent = {"field_content": text.replace("line 7\n", "line seven\n"), "verdict": "approve"}
    page = desk.refused(409, path, "arguments-changed", **sent)
    assert "content: lines added: 1, removed: 1" in page.text
    assert "-line 7\n+line seven" in page.text
    mark = page.control("stand_by")["value"] or ""
    page = desk.taken(path, (), stand_by=mark, **sent)
    assert "+line seven" in page.text
    shown = desk.hitl.ok("show", "exact:1")
    assert "+line seven" in shown
    assert "build\\xa0/" in shown
