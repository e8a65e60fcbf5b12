"""`hitl pending`: the columns, the filters and the order."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import encode
from hitl_cli.requests.question import Escalation, Question
from tests.cli.past import HOUR_MS, Past
from tests.cli.requests import DAY_MS, put
from tests.cli.test_terminal import COLOR, on_terminal
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

GROUPS = '[groups.ops]\nmembers = ["ada", "bob"]\n\n[groups.board]\nmembers = ["eve"]\n'
HOSTILE = "a\x1b[31mb\x1b]0;t\x07\u202ec\u200bd[red]e[/red][link=http://x]f[/link]\rg\x9b2J"
"""An escape sequence of a terminal of each kind, an override of direction, and Rich's markup."""

OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]")


def some(hitl: Hitl) -> None:
    """Put requests to several people."""
    (hitl.folder / "hitl.toml").write_text(GROUPS)
    core = {"team": "core", "stage": "prod"}
    put(hitl, "a:1", Question(prompt="A?", to=("ada",), priority="high"), by="bob", tags=core)
    put(hitl, "b:1", Question(prompt="B?", to=("group:ops",)), by="eve", deadline_ms=HOUR_MS)
    put(hitl, "c:1", Question(prompt="C?", to=("ops", "eve")), by="eve", tags={"team": "core"})
    put(hitl, "d:1", Question(prompt="D?", priority="low"), deadline_ms=2 * DAY_MS)
    put(hitl, "e:1", Question(prompt="E?", to=("eve",), priority="urgent"), by="bob", deadline_ms=HOUR_MS)


def ids(hitl: Hitl, *args: str) -> list[str]:
    """Return the ids that are listed, in their order."""
    return [item["id"][0] for item in hitl.json("pending", *args)]


def test_who_asks_whom_by_when_is_shown_where_there_is_something_to_show(hitl: Hitl) -> None:
    put(hitl, "bare:1", Question(prompt="# Deploy 1.4.2?\n\nIt has *three* changes."))
    head, _ = hitl.ok("pending").splitlines()
    assert " ".join(head.split()) == "request run workflow prompt age time left"
    assert "Deploy 1.4.2?" in hitl.ok("pending")
    put(hitl, "many:1", Question(prompt="Pay?", approvals=2, to=("ada", "group:ops")), by="eve", key="pay-7")
    put(hitl, "now:1", Question(prompt="Now?", priority="urgent"))
    hitl.ok("approve", "many:1", "--as", "ada")
    head, bare, many, now = hitl.ok("pending").splitlines()
    assert " ".join(head.split()) == "request run workflow prompt to from age time left votes priority"
    assert many.split()[3:] == ["Pay?", "ada,", "group:ops", "eve", *many.split()[7:-1], "1/2"]
    assert now.split()[-1] == "urgent"
    assert "/" not in bare


def test_json_has_what_a_program_needs(hitl: Hitl) -> None:
    question = Question(
        prompt="Pay?\nmore", approvals=2, to=("ada",), choices=("now", "later"), priority="high"
    )
    put(hitl, "many:1", question, by="eve", key="pay-7", tags={"team": "core"})
    hitl.ok("answer", "many:1", "now", "--as", "ada")
    [item] = hitl.json("pending")
    assert {name: item.pop(name) for name in ("created_at", "deadline", "age_s")}
    assert item == {
        "id": "many:1",
        "workflow": "many",
        "function": None,
        "state": "pending",
        "prompt": "Pay?",
        "to": ["ada"],
        "from": "eve",
        "key": "pay-7",
        "priority": "high",
        "approvals": 2,
        "approvals_by": {},
        "votes": 1,
        "votes_by": {},
        "asked_back": None,
        "away": [],
        "claimed_by": None,
        "claimed_until": None,
        "choices": ["now", "later"],
        "has_form": False,
        "tags": {"team": "core"},
        "replaces": None,
        "refused": None,
        "run": "many",
        "workflow_name": None,
    }


def test_what_is_asked_of_somebody_is_found_by_name_and_by_group(hitl: Hitl) -> None:
    some(hitl)
    assert ids(hitl, "--mine") == ["a", "b", "c", "d"]  # ada is in ops, and d asks anyone
    assert ids(hitl, "--mine", "--as", "bob") == ["b", "c", "d"]
    assert ids(hitl, "-m", "--as", "eve") == ["c", "d", "e"]
    assert ids(hitl, "--mine", "--as", "nobody") == ["d"]
    assert ids(hitl, "--to", "ops") == ids(hitl, "--to", "group:ops") == ["b", "c"]
    assert ids(hitl, "--to", "ada", "--to", "eve") == ["a", "c", "e"]


def test_what_somebody_started_and_may_not_answer_is_not_theirs(hitl: Hitl) -> None:
    put(hitl, "f:1", Question(prompt="F?", to=("ada", "bob"), allow_self=False))
    with hitl.client() as client:
        started = {"id": "f", "timeoutAt": client.now() + DAY_MS, "param": encode(None, {"hitl:by": "ada"})}
        client.call_many([ProtocolRequest("promise.create", started)])
    assert ids(hitl, "--mine", "--as", "ada") == []
    assert ids(hitl, "--mine", "--as", "bob") == ["f"]


def test_filters_hold_together(hitl: Hitl) -> None:
    some(hitl)
    assert ids(hitl, "--from", "eve") == ["b", "c"]
    assert ids(hitl, "--from", "eve", "--due", "2h") == ["b"]
    assert ids(hitl, "--tag", "team=core") == ["a", "c"]
    assert ids(hitl, "--tag", "team=core", "--tag", "stage=prod") == ["a"]
    assert ids(hitl, "--priority", "urgent") == ["e"]
    assert ids(hitl, "--mine", "--tag", "team=core", "--workflow", "c*") == ["c"]
    assert ids(hitl, "--to", "eve", "--due", "1d", "--priority", "urgent", "--from", "bob") == ["e"]
    assert ids(hitl, "--mine", "--older", "1h") == []


def test_the_most_pressing_or_the_next_due_come_first(hitl: Hitl) -> None:
    some(hitl)
    assert ids(hitl) == ids(hitl, "--sort", "age") == ["a", "b", "c", "d", "e"]
    assert ids(hitl, "--sort", "priority") == ["e", "a", "b", "c", "d"]
    assert ids(hitl, "--sort", "due") == ["b", "e", "a", "c", "d"]
    assert ids(hitl, "--sort", "due", "-n", "2") == ["b", "e"]
    assert "2 next due are shown" in hitl.run("pending", "--sort", "due", "-n", "2").stderr


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--sort", "size"], "bad-usage", "age, due, priority"),
        (["--priority", "top"], "bad-usage", "urgent, high, normal, low"),
        (["--tag", "team"], "bad-usage", "NAME=VALUE"),
        (["--tag", "=x"], "bad-usage", "NAME=VALUE"),
        (["--tag", "hitl:key=x"], "bad-name", "--tag"),
        (["--tag", "a=1", "--tag", "a=2"], "bad-usage", "'a'"),
        (["--due", "soon"], "bad-duration", "'soon'"),
        (["--to", ""], "bad-name", "--to"),
        (["--to", "group: "], "bad-name", "--to"),
        (["--from", " "], "bad-name", "--from"),
        (["--mine", "--to", "eve"], "bad-usage", "--mine"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(hitl: Hitl, args: list[str], code: str, said: str) -> None:
    assert said in hitl.fails(2, "pending", *args, code=code)
    assert not hitl.database.exists()


def test_who_may_answer_after_a_while_is_asked_then(hitl: Hitl) -> None:
    steps = (Escalation(after=HOUR_MS, to=("lead",)), Escalation(after=3 * HOUR_MS, to=("head",)))
    with Past(hitl, 2 * HOUR_MS) as past:
        past.ask("a:1", "A?", to=("ada",), escalate=steps)
        past.ask("b:1", "B?", to=("ada",))
    assert ids(hitl, "--to", "lead") == ["a"]
    assert ids(hitl, "--to", "head") == []
    assert [item["to"] for item in hitl.json("pending")] == [["ada", "lead"], ["ada"]]
    assert ids(hitl, "--older", "1h") == ["a", "b"]


def test_the_time_left_is_red_when_there_is_less_than_a_day(hitl: Hitl) -> None:
    put(hitl, "soon:1", Question(prompt="Soon?"), deadline_ms=DAY_MS - 1)
    put(hitl, "late:1", Question(prompt="Late?"), deadline_ms=2 * DAY_MS)
    soon, late = on_terminal(hitl, 120, "pending").splitlines()[1:3]
    assert re.search(r"\x1b\[31m\s*23h 59m", soon)
    assert "\x1b[31m" not in late


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_a_table_of_requests_fits_the_terminal(hitl: Hitl, columns: int) -> None:
    put(hitl, "release-1.4.2:2.1", Question(prompt="Deploy 1.4.2? " * 5, to=("reviewer", "ops")), by="ada")
    put(hitl, "b:1", Question(prompt="Pay?", approvals=2, priority="high", to=("n" * 5_000,)))
    lines = COLOR.sub("", on_terminal(hitl, columns, "pending")).splitlines()
    assert any(line.startswith("release-1.4.2:2.1") for line in lines)
    assert "Deploy 1.4.2?" in "".join(lines)
    assert all(len(line) <= columns for line in lines) or columns < 80


def test_what_others_wrote_is_shown_and_not_obeyed(hitl: Hitl) -> None:
    question = Question(prompt=f"{HOSTILE}\nmore", to=(HOSTILE,), choices=(HOSTILE,))
    put(hitl, f"evil{HOSTILE}:1", question, by=HOSTILE, key=HOSTILE, tags={"t": HOSTILE})
    plain = hitl.ok("pending")
    assert "\\x1b[31mb\\x1b]0;t\\x07\\u202ec\\u200bd[red]e[/red][link=http://x]f[/link]\\rg\\x9b2J" in plain
    assert not OBEYED.search(plain)
    for columns in (40, 80, 300):
        shown = on_terminal(hitl, columns, "pending")
        assert not OBEYED.search(COLOR.sub("", shown))
        assert "evila\\x1b[31mb\\x1b]0;t\\x07\\u202ec\\u200bd[red]e[/red]" in COLOR.sub("", shown)
    [item] = hitl.json("pending", "--to", HOSTILE, "--from", HOSTILE, "--tag", f"t={HOSTILE}")
    assert item["to"] == [item["from"]] == [item["key"]] == [HOSTILE]


def test_a_request_that_cannot_be_read_is_listed_as_such(hitl: Hitl) -> None:
    with Past(hitl, 0) as past:
        past.plain("bad:1", tags={"resonate:external": "true", "hitl:request": "1"})
    [item] = hitl.json("pending")
    assert item["prompt"] == "(a request that cannot be read)"
    assert item["to"] == []


def test_watching_shows_what_is_asked_of_me_and_each_vote(hitl: Hitl) -> None:
    question = Question(prompt="Pay?", to=("ada", "bob"), approvals=2)
    shown: list[list[dict[str, Any]]] = []
    hitl.create()
    watcher = hitl.popen("pending", "--watch", "--mine", "--json")
    assert watcher.stdout is not None
    try:
        shown.append(json.loads(watcher.stdout.readline()))
        put(hitl, "other:1", Question(prompt="Other?", to=("eve",)))
        put(hitl, "pay:1", question)
        shown.append(json.loads(watcher.stdout.readline()))
        hitl.ok("approve", "pay:1", "--as", "bob")
        shown.append(json.loads(watcher.stdout.readline()))
        hitl.ok("approve", "pay:1")
        shown.append(json.loads(watcher.stdout.readline()))
        if shown[-1]:  # it looked between the last vote and the decision that follows from it
            assert shown.pop()[0]["votes"] == 2
            shown.append(json.loads(watcher.stdout.readline()))
    finally:
        watcher.kill()
        watcher.communicate()
    assert [[(item["id"], item["votes"]) for item in items] for items in shown] == [
        [],
        [("pay:1", 0)],
        [("pay:1", 1)],
        [],
    ]


def test_the_votes_on_each_are_counted(hitl: Hitl) -> None:
    for n in range(3):
        put(hitl, f"r{n}:1", Question(prompt="?", approvals=3))
        for person in range(n):
            hitl.ok("approve", f"r{n}:1", "--as", f"p{person}")
    wait_until(lambda: [item["votes"] for item in hitl.json("pending")] == [0, 1, 2])
