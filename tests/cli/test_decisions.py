"""`hitl pending`, `approve` and `reject`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import decode
from hitl_cli.engine.records import Value
from tests.conftest import HITL, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

DAY_MS = 86_400_000


def ask(hitl: Hitl, id: str, tags: dict[str, str] | None = None, timeout_ms: int = DAY_MS) -> None:
    """Create a promise as any Resonate client would."""
    with hitl.client() as client:
        data = {
            "id": id,
            "timeoutAt": client.now() + timeout_ms,
            "param": {},
            "tags": {"resonate:external": "true"} if tags is None else tags,
        }
        [answer] = client.call_many([ProtocolRequest("promise.create", data)])
        assert answer.status == 200


def test_only_what_a_person_can_settle_is_listed(hitl: Hitl) -> None:
    ask(hitl, "person")
    ask(hitl, "npm", {"resonate:scope": "global"})
    ask(hitl, "timer", {"resonate:scope": "global", "resonate:timer": "true"})
    ask(hitl, "sleep", {"resonate:timer": "true", "resonate:target": "poll://any@default"})
    ask(hitl, "rpc", {"resonate:scope": "global", "resonate:target": "poll://any@default"})
    ask(hitl, "step", {"resonate:scope": "local"})
    ask(hitl, "past", timeout_ms=1)
    wait_until(lambda: [item["id"] for item in hitl.json("pending")] == ["person", "npm"])


@pytest.mark.parametrize(
    ("id", "tags", "what"),
    [
        ("timer", {"resonate:timer": "true"}, "timer"),
        ("a:1", {"resonate:target": "poll://any@default"}, "call of another workflow"),
        ("a:2", {"resonate:scope": "local"}, "step"),
    ],
)
def test_what_is_not_for_a_person_cannot_be_approved(
    hitl: Hitl, id: str, tags: dict[str, str], what: str
) -> None:
    ask(hitl, id, tags)
    assert what in hitl.fails(3, "approve", id, code="nothing-waiting")
    with hitl.client() as client:
        [answer] = client.call_many([ProtocolRequest("promise.get", {"id": id})])
    assert b'"pending"' in bytes(answer.data)


def test_the_decision_is_on_the_wire_as_the_design_says(hitl: Hitl) -> None:
    ask(hitl, "yes")
    ask(hitl, "no")
    ask(hitl, "plain")
    hitl.ok("approve", "yes", "--data", '{"a": 1}', "--comment", "fine", "--as", "bob")
    hitl.ok("reject", "no", "--reason", "over budget")
    hitl.ok("approve", "plain")
    with hitl.client() as client:
        answers = client.call_many(
            [ProtocolRequest("promise.get", {"id": id}) for id in ("yes", "no", "plain")]
        )
    yes, no, plain = (json.loads(bytes(answer.data))["promise"] for answer in answers)
    assert yes["state"] == "resolved"
    assert set(yes["value"]["headers"]) == {"hitl:id", "hitl:by", "hitl:via", "hitl:at", "hitl:comment"}
    assert yes["value"]["headers"]["hitl:by"] == "bob"
    assert yes["value"]["headers"]["hitl:via"] == "cli"
    assert yes["value"]["data"] == "eyJhIjoxfQ=="
    assert no["state"] == "rejected"
    assert decode_value(no) == {"__type": "error", "message": "over budget"}
    assert decode_value(plain) is True


def decode_value(promise: dict[str, object]) -> object:
    return decode(msgspec.convert(promise["value"], Value))


def test_a_reason_cannot_smuggle_a_pickle(hitl: Hitl) -> None:
    ask(hitl, "a")
    hitl.ok("reject", "a", "--reason", '{"__py_pickle": "gASVAAAA"}')
    with hitl.client() as client:
        [answer] = client.call_many([ProtocolRequest("promise.get", {"id": "a"})])
    assert set(decode_value(json.loads(bytes(answer.data))["promise"])) == {"__type", "message"}  # type: ignore[call-overload]


def test_the_same_decision_again_is_no_error_and_says_who_made_it(hitl: Hitl) -> None:
    ask(hitl, "a")
    ask(hitl, "b")
    hitl.ok("approve", "a", "--as", "bob")
    assert "was already approved by bob via cli" in hitl.ok("approve", "a")
    hitl.ok("reject", "b", "--as", "bob", "--reason", "late")
    assert "was already rejected by bob" in hitl.ok("reject", "b")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["approve", "a"], ["reject", "a"]),
        (["reject", "a"], ["approve", "a"]),
        (["approve", "a", "--data", "1"], ["approve", "a", "--data", "2"]),
        (["approve", "a", "--data", "1"], ["approve", "a", "--data", "true"]),
        (["approve", "a", "--data", "[1]"], ["approve", "a", "--data", "[true]"]),
    ],
)
def test_another_decision_is_a_conflict_and_changes_nothing(
    hitl: Hitl, first: list[str], second: list[str]
) -> None:
    ask(hitl, "a")
    before = json.loads(hitl.ok(*first, "--as", "bob", "--json"))
    complaint = hitl.fails(4, *second, code="already-decided")
    assert "by bob via cli" in complaint
    after = json.loads(hitl.ok(*first, "--json"))
    assert after["decision_id"] == before["decision_id"]
    assert after["by"] == "bob"
    assert (before["fresh"], after["fresh"]) == (True, False)


def test_past_its_deadline_it_cannot_be_answered(hitl: Hitl) -> None:
    ask(hitl, "a", timeout_ms=1)
    hitl.fails(5, "approve", "a", code="deadline-passed")
    hitl.fails(5, "reject", "a", code="deadline-passed")


def test_a_workflow_with_several_questions_is_ambiguous_and_nothing_is_changed(hitl: Hitl) -> None:
    hitl.worker("--app", str(Path(__file__).with_name("two_questions.py")))
    hitl.ok("start", "a", "--workflow", "two_questions")
    hitl.waiting(2)
    complaint = hitl.fails(2, "approve", "a", code="ambiguous-id")
    assert "a:1" in complaint
    assert "a:2" in complaint
    assert len(hitl.json("pending")) == 2
    hitl.ok("approve", "a:2", "--data", '"second"')
    hitl.ok("approve", "a", "--data", '"first"')
    assert json.loads(hitl.ok("wait", "a")) == ["first", "second"]


def test_an_unknown_id_is_answered_with_the_nearest_that_wait(hitl: Hitl) -> None:
    hitl.create()
    hitl.fails(3, "approve", "hitl-001:1", code="not-found")
    ask(hitl, "hitl-001:1")
    assert "hitl-001:1" in hitl.fails(3, "approve", "hitl-01:1", code="not-found")
    assert "hitl pending" in hitl.fails(3, "approve", "quite another", code="not-found")


def test_several_are_answered_and_a_failure_does_not_stop_the_rest(hitl: Hitl) -> None:
    ask(hitl, "a")
    ask(hitl, "c")
    done = hitl.run("approve", "a", "b", "c")
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["a approved by ada", "c approved by ada"]
    assert "'b'" in done.stderr


def test_data_comes_from_a_file_or_from_standard_input(hitl: Hitl, tmp_path: Path) -> None:
    ask(hitl, "a")
    ask(hitl, "b")
    (tmp_path / "data.json").write_text('{"from": "file"}')
    hitl.ok("approve", "a", "--data", "@data.json")
    hitl.ok("approve", "b", "--data", "-", stdin='{"from": "stdin"}')
    assert json.loads(hitl.ok("approve", "a", "--data", "@data.json", "--json"))["data"] == {"from": "file"}
    assert json.loads(hitl.ok("approve", "b", "--data", '{"from": "stdin"}', "--json"))["data"] == {
        "from": "stdin"
    }


def test_a_decision_as_json_has_its_fields(hitl: Hitl) -> None:
    ask(hitl, "a")
    document = hitl.json("approve", "a", "--comment", "fine")
    assert {"id", "state", "decision_id", "by", "via", "at", "comment", "data"} <= set(document)
    assert document["comment"] == "fine"
    assert document["at"].endswith("Z")


def test_pending_filters_by_workflow_age_and_number(hitl: Hitl) -> None:
    for id in ("release-1:1", "release-2:1", "review-1:1"):
        ask(hitl, id)
    assert [item["workflow"] for item in hitl.json("pending", "--workflow", "release-*")] == [
        "release-1",
        "release-2",
    ]
    assert hitl.json("pending", "--older", "1d") == []
    limited = hitl.run("pending", "--limit", "2")
    assert "there are more" in limited.stderr
    assert len(hitl.json("pending", "--limit", "2")) == 2
    assert len(hitl.json("pending", "--all")) == 3


@pytest.mark.parametrize("columns", ["20", "40", "80", "200"])
def test_an_id_is_never_cut_or_wrapped(hitl: Hitl, columns: str) -> None:
    id = "a-rather-long-workflow-id-that-somebody-chose-for-a-release-2026-11-21:1.2.3"
    ask(hitl, id)
    done = hitl.run("pending", env={"COLUMNS": columns})
    assert any(id in line for line in done.stdout.splitlines())


def test_what_is_in_a_promise_cannot_move_the_cursor(hitl: Hitl) -> None:
    ask(hitl, "a\x1b[31m\nb:1")
    shown = hitl.ok("pending")
    assert "\x1b" not in shown


def test_a_reader_that_goes_away_is_no_error(hitl: Hitl) -> None:
    for n in range(300):
        ask(hitl, f"request-{n:03}")
    done = subprocess.run(
        f"{HITL} pending --all | head -1",
        shell=True,
        env=hitl.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.replace("Answer with: hitl approve ID  or  hitl reject ID --reason TEXT\n", "") == ""


def test_a_refusal_of_the_login_name_says_how_to_act_under_another(hitl: Hitl) -> None:
    hitl.ok("ask", "Deploy?", "--id", "for-boss", "--to", "boss", "--no-wait")
    assert "HITL_AS" not in hitl.fails(7, "approve", "for-boss", code="not-assignee")
    hitl.env.pop("HITL_AS", None)
    for answer in (("approve", "for-boss"), ("reject", "for-boss"), ("answer", "for-boss", "yes")):
        assert "HITL_AS" in hitl.fails(7, *answer, code="not-assignee")
