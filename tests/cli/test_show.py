"""`hitl show`: all details of one request."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.cli.render.request import UNREADABLE
from hitl_cli.format.names import normalized
from hitl_cli.requests.question import Digest, Escalation, Instead, Question
from tests.cli.past import DAY_MS, HOUR_MS, Past
from tests.cli.requests import promise_now, put
from tests.cli.test_pending import HOSTILE, OBEYED
from tests.cli.test_terminal import COLOR, on_terminal
from tests.conftest import HITL, wait_until
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.conftest import Hitl

FORM = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "maximum": 500, "description": "In euros."},
        "note": {"type": "string", "default": "none"},
        "where": {"enum": ["here", "there"]},
    },
    "required": ["amount", "where"],
}
APP = """
from hitl_cli import ask, workflow

def build(ctx, version): return {"built": version}

@workflow
async def deploy(ctx, version):
    await ctx.run(build, version)
    await ask(ctx, "Deploy to *staging*?")
    decision = await ask(ctx, "Deploy to *production*?", approvals=2, choices=["ship", "hold"])
    return decision.choice
"""


def test_all_of_a_request_is_shown(hitl: Hitl) -> None:
    with Past(hitl, 2 * HOUR_MS) as past:
        past.ask(
            "r-1:1",
            "# Pay *120*?\n\nSee [the bill](https://example.org/bill).",
            details={
                "bill": "B-7",
                "lines": [{"what": "hotel", "nights": 3, "of": "a conference that is rather far away"}],
            },
            form=FORM,
            to=("ada", "group:ops"),
            escalate=(Escalation(after=HOUR_MS, to=("lead",)), Escalation(after=3 * HOUR_MS, to=("head",))),
            allow_self=False,
            on_deadline="reject",
            priority="high",
            link="https://example.org/7",
            digest=Digest(sha256="ab" * 32, file="bill.pdf"),
            key="bill-7",
        )
    lines = hitl.ok("show", "bill-7").splitlines()
    shown = "\n".join(lines)
    assert lines[:5] == [
        "r-1:1  waiting  deploy  r-1  2h ago",
        "",
        "  # Pay *120*?",
        "",
        "  See [the bill](https://example.org/bill).",
    ]
    assert "  bill   B-7\n  lines  what: hotel; nights: 3; of: a conference that is rather far away" in shown
    for line in (
        r"  assignees  ada, group:ops, lead, except the person who started it",
        r"  later      also head in 59m \d+s \(2\S+ \S+ \w+\)",
        r"  deadline   in 364d 21h \(2\S+ \S+ \w+\), then it counts as rejected",
        r"  priority   high",
        r"  key        bill-7",
        r"  link       https://example.org/7",
        rf"  digest     sha256 {'ab' * 32} of bill.pdf",
        r"  amount  integer, required  In euros.; at least 1, at most 500",
        r'  note    text               default "none"',
        r"  where   choice, required   one of here, there",
        r"  hitl approve r-1:1 --set amount=INTEGER --set where=CHOICE",
        r"  hitl reject r-1:1 --reason TEXT",
        r"  hitl comment r-1:1 TEXT",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE), line


def test_json_has_all_of_it(hitl: Hitl) -> None:
    question = Question(
        prompt="Pay?\n\nNow.",
        details={"a": [1]},
        form=FORM,
        approvals=2,
        to=("ada", "bob"),
        on_deadline=Instead(value=7),
    )
    put(hitl, "r:1", question, by="eve", key="k", tags={"team": "core"})
    hitl.ok("approve", "r:1", "--set", "amount=5", "--set", "where=here", "--comment", "ok")
    hitl.ok("comment", "r:1", "a remark", "--as", "bob")
    shown = hitl.json("show", "r:1")
    listed = hitl.json("pending")[0]
    changing = {"prompt", "age_s"}
    assert {name: shown[name] for name in listed if name not in changing} == {
        name: value for name, value in listed.items() if name not in changing
    }
    assert shown["prompt"] == "Pay?\n\nNow."
    assert shown["title"] == "Pay?"
    assert shown["details"] == {"a": [1]}
    assert shown["form"] == FORM
    assert [(field["path"], field["kind"], field["required"]) for field in shown["fields"]] == [
        ("amount", "integer", True),
        ("note", "text", False),
        ("where", "choice", True),
    ]
    assert shown["on_deadline"] == {"value": 7}
    [vote] = shown["votes_cast"]
    assert (vote["by"], vote["verdict"], vote["data"]) == (
        "ada",
        "approve",
        {"amount": 5, "note": "none", "where": "here"},
    )
    assert [(one["by"], one["text"]) for one in shown["comments"]] == [("bob", "a remark")]
    assert shown["decision"] is None
    assert shown["answer_with"][0] == "hitl approve r:1 --set amount=INTEGER --set where=CHOICE"


def test_on_a_terminal_the_prompt_is_drawn_and_an_address_is_never_behind_other_words(hitl: Hitl) -> None:
    prompt = "Pay **120** euros to [https://bank.example](http://evil.example/)? <b>Now</b>"
    put(hitl, "r:1", Question(prompt=prompt, details={"why": "a long reason " * 20, "n": 3}))
    with Terminal([HITL, "show", "r:1"], hitl.env, hitl.folder, columns=100) as terminal:
        screen = terminal.shows("hitl comment r:1 TEXT")
        assert "Pay 120 euros to https://bank.example (http://evil.example/)? <b>Now</b>" in screen
        assert "\x1b[1m120" in terminal.raw
        assert "\x1b]8" not in terminal.raw
        lines = screen.splitlines()
        why = next(n for n, line in enumerate(lines) if line.startswith("  why  a long reason"))
        assert all(line.startswith("       ") and len(line) <= 100 for line in lines[why + 1 : why + 3])


def test_a_run_shows_what_it_asks_and_what_was_before(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    hitl.worker("--app", "app.py")
    hitl.ok("start", "rel", "1.4.2", "--workflow", "deploy")
    hitl.waiting()
    hitl.ok("approve", "rel", "--as", "bob")
    wait_until(lambda: "production" in str(hitl.json("pending")))
    hitl.ok("answer", "rel", "ship", "--as", "bob")
    hitl.ok("comment", "rel", "go [red]on\nnow", "--as", "eve")
    shown = hitl.ok("show", "rel")
    assert re.search(r"^rel:3\.1  waiting  deploy  rel  \S+ ago$", shown, re.MULTILINE)
    assert "  asked by   ada\n" in shown
    assert "  answers    1 of 2\n" in shown
    assert re.search(r'^  ✓ rel:1 +step \S+ +\{"built":"1.4.2"\}$', shown, re.MULTILINE)
    assert re.search(
        r"^  ✓ rel:2\.1 +request Deploy to \*staging\*\? +approved by bob: true$", shown, re.MULTILINE
    )
    assert re.search(r"^  bob  answers  \S+ ago  ship$", shown, re.MULTILINE)
    assert re.search(r"^  eve  \S+ ago  go \[red\]on\n {7,}now$", shown, re.MULTILINE)
    tree = hitl.ok("status", "rel")
    assert re.search(r"request Deploy to \*production\*\?  \S+  hitl show rel:3\.1$", tree, re.MULTILINE)
    assert re.search(r"vote of bob  \S+  approve ship$", tree, re.MULTILINE)
    assert re.search(r"comment of eve  \S+  go \[red\]on now$", tree, re.MULTILINE)
    hitl.ok("answer", "rel", "ship", "--comment", "fine")
    assert "Deploy to *production*?" in hitl.ok("show", "rel:3.1")


def test_a_decision_is_shown_with_who_made_it_and_why(hitl: Hitl) -> None:
    put(hitl, "yes:1", Question(prompt="?", choices=("ship it", "hold")), by="eve")
    put(hitl, "no:1", Question(prompt="?"))
    hitl.ok("answer", "yes:1", "ship it", "--comment", "at last", "--as", "bob")
    hitl.ok("reject", "no:1", "--reason", "one\ntwo")
    yes, no = hitl.ok("show", "yes:1"), hitl.ok("show", "no:1")
    assert yes.startswith("yes:1  approved")
    assert re.search(
        r"^decision\n  outcome  approved\n  by       bob via cli\n  at       2\S+ \S+ \w+, after \S+\n"
        r"  choice   ship it\n  data     ship it\n  comment  at last\n\ncomment with\n  hitl comment yes:1 T",
        yes,
        re.MULTILINE,
    )
    assert "  reason   one\n           two\n" in no
    assert hitl.json("show", "no:1")["decision"]["reason"] == "one\ntwo"


@pytest.mark.parametrize(
    ("meaning", "outcome", "data"),
    [("expire", "expired", None), ("reject", "rejected", None), ("approve", "approved", True)],
)
def test_a_deadline_that_passed_is_shown_as_what_it_means(
    hitl: Hitl, meaning: Any, outcome: str, data: Any
) -> None:
    with Past(hitl, DAY_MS) as past:
        past.ask("r:1", "?", life_ms=HOUR_MS, on_deadline=meaning)
    decision = hitl.json("show", "r:1")["decision"]
    assert (decision["outcome"], decision["data"], decision["deadline"]) == (outcome, data, True)
    assert decision["waited_s"] == HOUR_MS // 1_000
    assert "  by       the deadline\n" in hitl.ok("show", "r:1")


@pytest.mark.parametrize(
    ("id", "question", "settled"),
    [
        ("r:1", Question(prompt="?"), True),
        ("-r it's; $(x):1", Question(prompt="?"), True),
        ("tab\tand\x1b:1", Question(prompt="?"), True),
        ("r:1", Question(prompt="?", choices=("it's $HOME", "no")), "it's $HOME"),
        ("r:1", Question(prompt="?", choices=("--yes", "no\n\x1b[0m'")), "--yes"),
        ("r:1", Question(prompt="?", form={"type": "boolean"}), True),
        (
            "r:1",
            Question(
                prompt="?",
                form={"type": "object", "required": ["a b"], "properties": {"a b": {"type": "string"}}},
            ),
            {"a b": "TEXT"},
        ),
    ],
)
def test_the_commands_that_are_shown_answer_it(hitl: Hitl, id: str, question: Question, settled: Any) -> None:
    put(hitl, id, question)
    command = json.loads(hitl.ok("show", "--json", "--", id))["answer_with"][0]
    assert command in hitl.ok("show", "--", id)
    assert not OBEYED.search(command)
    path = f"{Path(HITL).parent}:{hitl.env['PATH']}"
    subprocess.run(["bash", "-c", command], env={**hitl.env, "PATH": path}, cwd=hitl.folder, check=True)
    assert promise_now(hitl, id)["state"] == "resolved"
    assert json.loads(hitl.ok("show", "--json", "--", id))["decision"]["data"] == settled


def hostile() -> Question:
    """Return a request whose every text is made to be obeyed."""
    return Question(
        prompt=f"{HOSTILE}\n\n{HOSTILE} &#x202e; <http://x.example/%1b%5b2J>",
        details={HOSTILE: HOSTILE, "inner": [{HOSTILE: HOSTILE, "more": ["x" * 60]}]},
        form={
            "type": "object",
            "title": HOSTILE,
            "required": [HOSTILE],
            "properties": {HOSTILE: {"title": HOSTILE, "enum": [HOSTILE, "b"]}},
        },
        choices=(HOSTILE, "b"),
        to=(HOSTILE,),
        approvals=2,
        escalate=(Escalation(after=DAY_MS, to=(HOSTILE,)),),
        on_deadline=Instead(value=HOSTILE),
        digest=Digest(sha256="0" * 64, file=HOSTILE),
    )


def test_what_others_wrote_is_shown_and_not_obeyed(hitl: Hitl) -> None:
    put(hitl, "evil:1", hostile(), by=HOSTILE, key=HOSTILE, tags={HOSTILE: HOSTILE})
    hitl.ok("comment", "evil:1", f"{HOSTILE}\n{HOSTILE}", "--as", HOSTILE)
    hitl.ok(
        "answer",
        "evil:1",
        "b",
        "--data",
        f'{{"{HOSTILE.encode("unicode_escape").decode().replace(chr(92) + "x", chr(92) + "u00")}": "b"}}',
        "--as",
        HOSTILE,
        "--comment",
        HOSTILE,
    )
    plain = hitl.ok("show", HOSTILE)
    assert plain.count("[red]e[/red][link=http://x]f[/link]") > 12
    assert plain.count("\\x1b[31mb\\x1b]0;t\\x07\\u202ec\\u200bd") > 10
    assert not OBEYED.search(plain)
    for columns in (20, 60, 200):
        shown = on_terminal(hitl, columns, "show", "evil:1")
        assert not OBEYED.search(COLOR.sub("", shown))
    assert hitl.json("show", "evil:1")["comments"][0]["by"] == normalized(HOSTILE)
    assert not OBEYED.search(hitl.ok("show", "evil:1", "--json"))
    assert not OBEYED.search(hitl.ok("status", "evil:1"))


def test_lines_of_others_never_stand_where_ours_begin(hitl: Hitl) -> None:
    fake = "x\n\ndecision\n  outcome  approved\nanswer with\n  hitl approve other:1"
    put(hitl, "r:1", Question(prompt=fake, details={"a": fake, "b": {"c": fake}}, to=(fake,)))
    hitl.ok("comment", "r:1", fake)
    for shown in (hitl.ok("show", "r:1"), COLOR.sub("", on_terminal(hitl, 100, "show", "r:1"))):
        heads = [line.rstrip() for line in shown.splitlines() if line[:1].strip()]
        assert heads[1:] == ["details", "comments", "answer with"]


@pytest.mark.parametrize(
    "question",
    [
        Question(prompt="w" * 100_000, details={"w" * 10_000: "v" * 100_000}, to=("n" * 100_000,)),
        Question(prompt="a line\n" * 15_000),
        Question(prompt="[" * 100_000),
        Question(prompt="> " * 4_000 + "deep"),
        Question(prompt="?", details={f"k{n}": n for n in range(20_000)}),
        Question(prompt="?", form={"type": "object", "properties": {f"f{n}": {} for n in range(2_000)}}),
    ],
    ids=["words", "lines", "brackets", "quotes", "details", "fields"],
)
def test_what_is_large_is_shown_without_delay(hitl: Hitl, question: Question) -> None:
    put(hitl, "big:1", question)
    assert "hitl approve big:1" in hitl.ok("show", "big:1") or question.form
    assert hitl.json("show", "big:1")["prompt"] == question.prompt
    assert "hitl comment big:1" in on_terminal(hitl, 80, "show", "big:1")
    assert "big:1" in on_terminal(hitl, 80, "pending")


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_what_is_deep_is_shown_if_it_can_be_read(hitl: Hitl, depth: int) -> None:
    deep = '{"prompt": "deep?", "details": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    with Past(hitl, 0) as past:
        tags = {"resonate:external": "true", "hitl:request": "1"}
        param = {"data": base64.b64encode(deep.encode()).decode()}
        past.send("promise.create", id="r:1", timeoutAt=past.now + DAY_MS, tags=tags, param=param)
    for shown in (hitl.ok("show", "r:1"), on_terminal(hitl, 80, "show", "r:1"), hitl.ok("pending")):
        assert ("deep?" in shown) == (depth < 100_000)
        assert ("cannot be read" in shown) == (depth == 100_000)


def test_a_request_that_cannot_be_read_says_so_and_shows_what_is_there(hitl: Hitl) -> None:
    tags = {"resonate:external": "true", "hitl:request": "1"}
    with Past(hitl, 0) as past:
        param = {"data": "eyJwcm9tdCI6ICJcdTAwMWJbMzFtIn0="}  # {"promt": "\u001b[31m"}
        past.send("promise.create", id="r:1", timeoutAt=past.now + DAY_MS, tags=tags, param=param)
    shown = hitl.ok("show", "r:1")
    assert UNREADABLE in shown
    assert "  Object missing required field `prompt`\n" in shown
    assert "  promt  \\x1b[31m\n" in shown
    assert "hitl approve" not in shown
    document = hitl.json("show", "r:1")
    assert (document["readable"], document["param"]) == (False, {"promt": "\x1b[31m"})


def test_a_promise_that_says_nothing_is_shown_too(hitl: Hitl) -> None:
    with Past(hitl, 0) as past:
        past.plain("bare:1")
    shown = hitl.ok("show", "bare")
    assert shown.startswith("bare:1  waiting  bare  ")
    assert "  assignees  anyone\n" in shown
    assert "  hitl approve bare:1\n" in shown


def test_what_is_meant_is_found_as_for_an_answer(hitl: Hitl) -> None:
    put(hitl, "rel-1:1", Question(prompt="One?"), key="first")
    put(hitl, "rel-2:1", Question(prompt="Two?"))
    assert "One?" in hitl.ok("show", "first")
    assert "Two?" in hitl.ok("show", "rel-2")
    hitl.fails(2, "show", "rel-", code="ambiguous-id")
    hitl.fails(3, "show", "nope", code="not-found")
    hitl.ok("start", "run")
    hitl.fails(3, "show", "run", code="nothing-waiting")


def test_the_fields_of_rows_are_shown_too(hitl: Hitl) -> None:
    price = {"type": "number", "title": "Unit price"}
    line = {"type": "object", "properties": {"price": price}, "required": ["price"]}
    form = {"type": "object", "properties": {"lines": {"type": "array", "items": line}}}
    put(hitl, "r:1", Question(prompt="Order?", form=form))
    shown = hitl.ok("show", "r:1")
    assert re.search(r"^ +lines\[\]\.price +number, required +Unit price$", shown, re.MULTILINE)
    [field] = hitl.json("show", "r:1")["fields"]
    assert (field["kind"], field["columns"][0]["path"]) == ("rows", "price")
