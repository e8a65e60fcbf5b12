"""`hitl history`: decisions, with their author, time and reason."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.format.times import iso
from hitl_cli.inbox.history import HistoryFilter, history, story
from tests.cli.past import DAY_MS, HOUR_MS, MINUTE_MS, Past
from tests.cli.test_terminal import on_terminal
from tests.conftest import HITL

if TYPE_CHECKING:
    from tests.conftest import Hitl

FIELDS = [
    "kind",
    "id",
    "workflow",
    "function",
    "asked",
    "asked_at",
    "outcome",
    "deadline",
    "choice",
    "data",
    "reason",
    "by",
    "via",
    "at",
    "waited_ms",
    "comment",
    "votes",
    "replaces",
    "replaced_by",
    "run",
    "workflow_name",
    "rule",
    "changes",
    "to",
    "until",
    "deputy_for",
    "of",
]
ESCAPE = "\x1b[2J\x1b]0;title\x07"
BIDI = "\u202egpj.exe"
MARKUP = "[bold red]"


def ids(hitl: Hitl, *args: str) -> list[str]:
    """Return the ids that `hitl history` lists."""
    return [entry["id"] for entry in hitl.json("history", *args)]


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows as a reader of CSV gets them."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_decision_is_told_with_who_made_it_when_and_why(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "r")
    [item] = hitl.waiting()
    hitl.ok("approve", "r", "--data", '{"amount": 5}', "--comment", "fine", "--as", "bob")
    hitl.ok("wait", "r")

    [entry] = hitl.json("history")  # no run, and no step of it

    assert list(entry) == FIELDS
    assert (entry["kind"], entry["id"], entry["workflow"], entry["function"]) == (
        *("decision", item["id"], "r", "approval"),
    )
    assert (entry["outcome"], entry["deadline"], entry["data"]) == ("approved", False, {"amount": 5})
    assert (entry["by"], entry["via"], entry["comment"], entry["votes"]) == ("bob", "cli", "fine", [])
    assert entry["asked_at"] == item["created_at"] <= entry["at"]
    assert 0 <= entry["waited_ms"] < HOUR_MS
    assert "bob via cli" in hitl.ok("history")


def test_the_newest_comes_first_whatever_came_of_it(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for id in ("d", "a", "b", "c", "open"):
            past.ask(f"{id}:1", f"# Deploy {id}?\nnow")
        past.ask("late:1", "Late?", life_ms=30 * MINUTE_MS)
        past.plain("timer", HOUR_MS, {"resonate:timer": "true", "resonate:scope": "global"})
        past.plain("run", HOUR_MS, {"resonate:target": "poll://any@default", "resonate:external": "true"})
        past.now += HOUR_MS
        past.approve("a:1")
        past.reject("b:1", "bob", "over budget", state="rejected_canceled")
        past.now += MINUTE_MS
        past.reject("c:1", "bob", "not now", comment="sorry")

    entries = hitl.json("history")

    assert [(e["id"], e["outcome"], e["deadline"], e["reason"]) for e in entries] == [
        ("c:1", "rejected", False, "not now"),
        ("b:1", "canceled", False, "over budget"),
        ("a:1", "approved", False, None),
        ("late:1", "expired", True, None),
    ]
    assert [e["asked"] for e in entries] == ["Deploy c?", "Deploy b?", "Deploy a?", "Late?"]
    assert [e["waited_ms"] for e in entries] == [
        *(HOUR_MS + MINUTE_MS, HOUR_MS, HOUR_MS, 30 * MINUTE_MS),
    ]
    assert entries[0]["at"] == iso(past.now)
    table = [line.split() for line in hitl.ok("history").splitlines()]
    assert table[0] == ["request", "at", "outcome", "by", "waited", "prompt", "data", "or", "reason"]
    assert table[1][2:] == [
        "rejected",
        "bob",
        "via",
        "web",
        "1h",
        "1m",
        "Deploy",
        "c?",
        "not",
        "now",
        "(sorry)",
    ]


def test_only_what_is_asked_for_is_listed(hitl: Hitl) -> None:
    with Past(hitl, 10 * DAY_MS) as past:
        past.ask("old:1", "Old?")
        past.approve("old:1", "bob")
        past.now += 8 * DAY_MS
        for n in range(3):
            past.ask(f"r{n}:1", "Ship?")
            past.approve(f"r{n}:1", "ada" if n else "bob")
            past.now += MINUTE_MS
        past.ask("no:1", "No?", life_ms=MINUTE_MS, on_deadline="reject")
        vote = {"by": "eve", "verdict": "approve", "at": past.now}
        past.plain("plain:1")
        past.approve("plain:1", "ada", votes=[vote])

    with hitl.client() as client:

        def found(**wanted: Any) -> list[str]:
            return [entry.id for entry in history(client, HistoryFilter(**wanted))[0]]

        week = client.now() - 7 * DAY_MS
        assert found() == ["no:1", "plain:1", "r2:1", "r1:1", "r0:1", "old:1"]
        assert found(since=week) == ["no:1", "plain:1", "r2:1", "r1:1", "r0:1"]
        assert found(since=client.now()) == []
        assert found(by="bob") == ["r0:1", "old:1"]
        assert found(by="bob", since=week) == ["r0:1"]
        assert found(by="eve") == ["plain:1"]
        assert found(by="nobody") == []
        assert found(workflow="r*") == ["r2:1", "r1:1", "r0:1"]
        assert found(workflow="deploy", outcome="approved") == ["r2:1", "r1:1", "r0:1", "old:1"]
        assert found(outcome="rejected") == ["no:1"]
        assert found(outcome="expired") == found(outcome="canceled") == []
    asked = ["--by", "bob", "--since", "7d", "--workflow", "deploy", "--outcome", "approved"]
    assert ids(hitl, *asked) == ["r0:1"]


def test_as_many_are_shown_as_are_asked_for_and_whether_there_are_more_is_said(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for n in range(30):
            past.plain(f"r{n:02}:1")
            past.now += 1
            past.approve(f"r{n:02}:1")

    assert len(ids(hitl)) == 25
    assert ids(hitl, "--limit", "2") == ["r29:1", "r28:1"]
    assert ids(hitl, "--limit", "3", "--workflow", "r0*") == ["r09:1", "r08:1", "r07:1"]
    assert "there are more" in hitl.run("history", "-n", "29").stderr
    for enough in (["-n", "30"], ["--all"]):
        done = hitl.run("history", *enough)
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) == 31
    assert len(rows(hitl.ok("history", "--all", "--csv"))) == 30


def test_what_a_deadline_means_is_told_as_its_outcome(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for meant in ("approve", "reject", "expire"):
            past.ask(f"{meant}:1", "Ship?", life_ms=MINUTE_MS, on_deadline=meant)
            past.now += MINUTE_MS
        past.ask(
            "value:1", "Which?", life_ms=MINUTE_MS, on_deadline={"value": "hold"}, choices=("ship", "hold")
        )

    told = {
        e["workflow"]: (e["outcome"], e["deadline"], e["data"], e["choice"]) for e in hitl.json("history")
    }

    assert told == {
        "approve": ("approved", True, True, None),
        "reject": ("rejected", True, None, None),
        "expire": ("expired", True, None, None),
        "value": ("approved", True, "hold", "hold"),
    }
    assert "approved (deadline)" in hitl.ok("history", "value")


def test_what_another_tool_settled_is_told_as_far_as_it_is_known(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for id in ("yes", "no", "wild"):
            past.plain(id, tags={"resonate:scope": "global"})
        past.now += HOUR_MS
        past.approve("yes", None, "text")
        past.send("promise.settle", id="no", state="rejected")
        past.approve("wild", "eve", at=5)

    entries = {entry["id"]: entry for entry in hitl.json("history")}

    assert {name: entries["yes"][name] for name in ("by", "via", "at", "waited_ms", "data", "asked")} == {
        "by": None,
        "via": None,
        "at": iso(past.now),
        "waited_ms": HOUR_MS,
        "data": "text",
        "asked": None,
    }
    assert (entries["no"]["outcome"], entries["no"]["reason"]) == ("rejected", None)
    assert entries["wild"]["at"] == iso(past.now), "nobody answers in 1970 what was asked today"
    assert " - " in hitl.ok("history", "yes")


def test_of_one_request_all_that_was_said_is_told_in_order(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        past.ask("two:1", "Pay?", approvals=2, key="pay-7")
        past.ask("two:2", "And this?")
        past.plain("two", tags={"resonate:target": "poll://any@default", "resonate:scope": "global"})
    hitl.ok("reject", "two:1", "--as", "bob", "--reason", "why?")
    hitl.ok("comment", "two:1", "for the office", "--as", "ops")
    hitl.ok("approve", "two:1", "--as", "bob")
    hitl.ok("approve", "two:1", "--as", "eve", "--comment", "fine")

    told = [
        (e["kind"], e["by"], e["outcome"], e["reason"] or e["comment"]) for e in hitl.json("history", "two:1")
    ]

    assert told == [
        ("vote", "bob", "rejected", "why?"),
        ("comment", "ops", None, "for the office"),
        ("vote", "bob", "approved", None),
        ("vote", "eve", "approved", "fine"),
        ("decision", "eve", "approved", "fine"),
    ]
    with hitl.client() as client:
        entries = story(client, "two:1")
        assert story(client, "two") == story(client, "pay-7") == entries
        assert [vote.by for vote in entries[-1].votes] == ["bob", "eve"]
        of_bob = story(client, "two", HistoryFilter(by="bob"))
        assert [entry.kind for entry in of_bob] == ["vote", "vote", "decision"]
        assert story(client, "two:2") == []
        assert history(client)[0] == entries[-1:]
    shown = hitl.run("history", "two:1", "--limit", "4")
    assert "vote: rejected" not in shown.stdout
    assert "vote: approved" in shown.stdout
    assert "there are more" in shown.stderr
    assert "two:2" in hitl.run("history", "two:2").stderr


def test_an_id_that_means_nothing_or_nobody_can_answer_is_not_found(hitl: Hitl) -> None:
    with Past(hitl, HOUR_MS) as past:
        past.plain("r:1", tags={"resonate:scope": "local"})

    assert "no request, run or key 'nosuch'" in hitl.fails(3, "history", "nosuch", code="not-found")
    hitl.fails(3, "history", "r:1", code="not-found")
    hitl.fails(3, "history", "", code="not-found")


@pytest.mark.parametrize(
    "args",
    [
        ["--since", "7x"],
        ["--since", "0s"],
        ["--since", "-1d"],
        ["--since", "200y"],
        ["--limit", "0"],
        ["--outcome", "maybe"],
        ["--json", "--csv"],
        ["--excel"],
    ],
)
def test_what_makes_no_sense_is_refused(hitl: Hitl, args: list[str]) -> None:
    hitl.fails(2, "history", *args)


def test_where_nothing_was_answered_that_is_said_and_nothing_is_printed(hitl: Hitl) -> None:
    hitl.create()
    done = hitl.run("history")
    assert (done.returncode, done.stdout) == (0, "")
    assert "No decisions" in done.stderr
    assert hitl.json("history") == []
    assert hitl.ok("history", "--csv") == ",".join(FIELDS) + "\n"


def hostile(hitl: Hitl) -> None:
    """Record decisions of people who mean the reader's terminal."""
    bad = f"{ESCAPE}{BIDI}{MARKUP}\n=1+1"
    with Past(hitl, DAY_MS) as past:
        past.ask("r:1", bad)
        past.reject("r:1", bad, bad, comment=bad, via=bad)
        past.ask("s:1", "Which?", choices=(bad,))
        past.approve("s:1", bad, bad, choice=bad, votes=[{"by": bad, "verdict": "approve", "at": past.now}])


@pytest.mark.parametrize("args", [["history"], ["history", "r:1"], ["history", "--csv"], ["stats"]])
def test_what_people_wrote_is_shown_and_not_obeyed(hitl: Hitl, args: list[str]) -> None:
    hostile(hitl)
    for shown in (hitl.ok(*args), on_terminal(hitl, 200, *args), on_terminal(hitl, 40, *args)):
        assert MARKUP in shown
        assert "\x1b[2J" not in shown
        assert "\x1b]" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown


def test_json_has_what_people_wrote_to_the_letter(hitl: Hitl) -> None:
    hostile(hitl)
    [_, rejection] = hitl.json("history")
    assert rejection["reason"] == rejection["comment"] == rejection["by"] == f"{ESCAPE}{BIDI}{MARKUP}\n=1+1"


def test_csv_is_read_back_as_it_was_written(hitl: Hitl) -> None:
    comment = 'one, "two"\nthree; ünï 日本 \U0001f642'
    with Past(hitl, DAY_MS) as past:
        past.ask("r:1", 'Ship, "now"?')
        past.approve("r:1", data={"a": [1, None, "x"]}, comment=comment)
        past.plain("s:1")
        past.approve("s:1", None, "text")

    assert hitl.ok("history", "--csv", "--excel") == "\ufeff" + hitl.ok("history", "--csv")
    text, lifted = rows(hitl.ok("history", "--csv"))
    [_, entry] = hitl.json("history")

    assert list(lifted) == list(entry) == FIELDS
    assert lifted["comment"] == comment
    assert lifted["asked"] == 'Ship, "now"?'
    assert json.loads(lifted["data"]) == {"a": [1, None, "x"]}
    assert {name: lifted[name] for name in ("id", "at", "asked_at", "outcome", "by")} == {
        name: entry[name] for name in ("id", "at", "asked_at", "outcome", "by")
    }
    assert (lifted["deadline"], lifted["waited_ms"], lifted["votes"]) == ("false", "0", "")
    assert (text["data"], text["by"], text["comment"]) == ("text", "", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(hitl: Hitl, start: str) -> None:
    formula = f'{start}HYPERLINK("http://example.org")'
    with Past(hitl, DAY_MS) as past:
        past.ask("r:1", formula)
        past.reject("r:1", formula, formula, comment=formula)

    [row] = rows(hitl.ok("history", "--csv"))

    assert [row[name] for name in ("asked", "reason", "by", "comment")] == [f"'{formula}"] * 4


def test_a_reader_that_goes_ends_it(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for n in range(20):
            past.plain(f"r{n}:1")
            past.approve(f"r{n}:1")
    command = f"{HITL} history --all --csv | head -1"
    done = subprocess.run(
        command, shell=True, env=hitl.env, capture_output=True, text=True, check=True, cwd=hitl.folder
    )
    assert done.stdout == ",".join(FIELDS) + "\n"
    assert done.stderr == ""


@pytest.mark.only("file", reason="a trace is of a file")
def test_the_newest_are_listed_without_a_look_at_the_rest(hitl: Hitl) -> None:
    with Past(hitl, DAY_MS) as past:
        for n in range(200):
            past.plain(f"r{n}:1")
            past.approve(f"r{n}:1", "ada" if n < 190 else "bob")
            past.now += MINUTE_MS

    def read(*args: str) -> list[Any]:
        trace = hitl.folder / "trace.ndjson"
        trace.unlink(missing_ok=True)
        hitl.ok("--trace", str(trace), "history", *args)
        lines = [json.loads(line) for line in trace.read_text().splitlines()]
        return [line["res"]["data"]["promises"] for line in lines if line["kind"] == "promise.search"]

    assert [len(page) for page in read("-n", "3")] == [4]
    assert [len(page) for page in read("--since", f"{24 * 60 - 197}m", "--by", "bob")] == [2]
    assert [len(page) for page in read("--outcome", "canceled")] == [0]
