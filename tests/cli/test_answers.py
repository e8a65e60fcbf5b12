"""Answers to requests: forms, choices, who may answer, names that mean something, votes, and remarks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import ProtocolRequest, get_promise
from hitl_cli.client.wire import decode, encode
from hitl_cli.requests.question import Question
from tests.cli.requests import DAY_MS, promise_now, put

if TYPE_CHECKING:
    from tests.conftest import Hitl

AMOUNT = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "maximum": 500},
        "note": {"type": "string"},
        "to": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
    "required": ["amount"],
}


def data_of(hitl: Hitl, id: str) -> Any:
    """Return the data that a promise was settled with."""
    with hitl.client() as client:
        found = get_promise(client, id)
        assert found is not None
        return decode(found.value)


def is_pending(hitl: Hitl, id: str) -> bool:
    return bool(promise_now(hitl, id)["state"] == "pending")


def test_a_form_is_filled_in_by_field(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How much?", form=AMOUNT))
    hitl.ok("approve", "a", "--set", "amount=120", "--set", "note=1e3", "--set", "to.city=Rome")
    assert data_of(hitl, "a") == {"amount": 120, "note": "1e3", "to": {"city": "Rome"}}


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ([], "does-not-fit-form", "amount"),
        (["--set", "amount=501"], "does-not-fit-form", "500"),
        (["--set", "amount=many"], "does-not-fit-form", "amount"),
        (["--set", "amount"], "bad-usage", "amount"),
        (["--set", "sum=1"], "does-not-fit-form", "sum"),
        (["--data", '{"amount": "1"}'], "does-not-fit-form", "amount"),
        (["--data", "3"], "does-not-fit-form", "object"),
        (["--set", "amount=1", "--data", "{}"], "bad-answer", ""),
    ],
)
def test_an_answer_that_does_not_fit_settles_nothing(
    hitl: Hitl, given: list[str], code: str, says: str
) -> None:
    put(hitl, "a", Question(prompt="How much?", form=AMOUNT))
    assert says in hitl.fails(2, "approve", "a", *given, code=code)
    assert is_pending(hitl, "a")


def test_a_form_can_be_rejected_without_filling_it_in(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How much?", form=AMOUNT))
    hitl.ok("reject", "a", "--reason", "no")
    assert promise_now(hitl, "a")["state"] == "rejected"


def test_a_choice_is_the_answer_and_stands_on_the_record(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", choices=("ship", "hold", "roll back")))
    assert "'ship' or 'hold' or 'roll back'" in hitl.fails(2, "approve", "a", code="bad-answer")
    assert "'ship'" in hitl.fails(2, "answer", "a", "shipp", code="bad-answer")
    assert is_pending(hitl, "a")
    assert "answered 'roll back' by ada" in hitl.ok("answer", "a", "roll back")
    assert data_of(hitl, "a") == "roll back"
    assert hitl.json("answer", "a", "roll back")["choice"] == "roll back"
    hitl.fails(4, "answer", "a", "ship", code="already-decided")


def test_choices_with_a_form_take_both(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", choices=("ship", "hold"), form=AMOUNT))
    hitl.fails(2, "answer", "a", "ship", code="does-not-fit-form")
    hitl.ok("answer", "a", "ship", "--set", "amount=5")
    assert data_of(hitl, "a") == {"amount": 5}
    assert promise_now(hitl, "a")["value"]["headers"]["hitl:choice"] == "ship"


def test_one_value_is_asked_for_and_answered_as_it_is(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="How much?", form={"type": "integer", "maximum": 500}))
    hitl.fails(2, "answer", "a", "501", code="does-not-fit-form")
    hitl.fails(2, "answer", "a", "a lot", code="does-not-fit-form")
    hitl.ok("answer", "a", "42")
    assert data_of(hitl, "a") == 42


@pytest.mark.parametrize(("text", "state"), [("yes", "resolved"), ("No", "rejected")])
def test_a_plain_question_is_answered_by_yes_or_no(hitl: Hitl, text: str, state: str) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    hitl.fails(2, "answer", "a", "perhaps", code="bad-answer")
    hitl.ok("answer", "a", text)
    assert promise_now(hitl, "a")["state"] == state


def test_only_who_is_asked_may_answer(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('[groups.ops]\nmembers = ["eve"]\n')
    for id in ("a", "b", "c"):
        put(hitl, id, Question(prompt="Now?", to=("reviewer", "group:ops")))
    says = hitl.fails(7, "approve", "a", code="not-assignee")
    assert "reviewer or group:ops" in says
    assert "ada" in says
    hitl.fails(7, "reject", "a", code="not-assignee")
    assert is_pending(hitl, "a")
    hitl.ok("approve", "a", "--as", "reviewer")
    hitl.ok("approve", "b", "--as", "eve")
    hitl.fails(2, "approve", "c", "--as", "group:ops", code="bad-name")
    (hitl.folder / "hitl.toml").unlink()
    assert "group:ops is not in the settings" in hitl.fails(
        7, "approve", "c", "--as", "eve", code="not-assignee"
    )


def test_who_asks_may_be_kept_from_answering(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", allow_self=False), by="ada")
    hitl.fails(7, "approve", "a", code="self-approval")
    hitl.ok("approve", "a", "--as", "reviewer")


def test_a_key_a_prefix_or_a_run_is_enough(hitl: Hitl) -> None:
    for n in range(3):
        put(hitl, f"email-{n}:1", Question(prompt=f"Is it {n}?"), key=f"confirmed-{n}@example.org")
    hitl.ok("approve", "confirmed-0@example.org")
    hitl.ok("approve", "email-1")
    says = hitl.fails(3, "approve", "mail", code="not-found")
    assert "email-2:1" in says
    put(hitl, "email-3:1", Question(prompt="Is it 3?"))
    says = hitl.fails(2, "approve", "email-", code="ambiguous-id")
    assert [line.strip() for line in says.splitlines()[1:]] == ["email-2:1  Is it 2?", "email-3:1  Is it 3?"]
    assert is_pending(hitl, "email-2:1")
    assert is_pending(hitl, "email-3:1")
    assert hitl.json("approve", "confirmed-0@example.org")["fresh"] is False


def test_a_key_that_two_requests_have_is_ambiguous_until_one_is_answered(hitl: Hitl) -> None:
    put(hitl, "a:1", Question(prompt="First?"), key="k")
    put(hitl, "b:1", Question(prompt="Second?"), key="k")
    assert "First?" in hitl.fails(2, "approve", "k", code="ambiguous-id")
    hitl.ok("approve", "a:1")
    hitl.ok("approve", "k")
    assert not is_pending(hitl, "b:1")


def test_several_must_approve_and_may_change_their_minds(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2, to=("x", "y", "z")))
    assert "1 of 2" in hitl.ok("approve", "a", "--as", "x")
    assert "1 of 2" in hitl.ok("approve", "a", "--as", "x")
    hitl.ok("reject", "a", "--as", "x", "--reason", "wait")
    assert "1 of 2" in hitl.ok("approve", "a", "--as", "y", "--comment", "fine")
    assert is_pending(hitl, "a")
    assert "approved by x" in hitl.ok("approve", "a", "--as", "x")
    votes = json.loads(promise_now(hitl, "a")["value"]["headers"]["hitl:votes"])
    assert [(vote["by"], vote["verdict"], vote.get("comment")) for vote in votes] == [
        ("y", "approve", "fine"),
        ("x", "approve", None),
    ]


def test_it_is_a_no_once_too_few_are_left_to_approve(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2, to=("x", "y", "z")))
    hitl.ok("reject", "a", "--as", "x")
    hitl.ok("approve", "a", "--as", "y")
    assert is_pending(hitl, "a")
    hitl.ok("reject", "a", "--as", "z", "--reason", "too early")
    assert promise_now(hitl, "a")["state"] == "rejected"
    assert data_of(hitl, "a")["message"] == "too early"
    assert "already rejected by z" in hitl.fails(4, "approve", "a", "--as", "x", code="already-decided")


def test_several_must_agree_on_the_same_choice(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", approvals=2, choices=("ship", "hold")))
    hitl.ok("answer", "a", "ship", "--as", "x")
    hitl.ok("answer", "a", "hold", "--as", "y")
    assert is_pending(hitl, "a")
    hitl.ok("answer", "a", "hold", "--as", "z")
    assert data_of(hitl, "a") == "hold"


@pytest.mark.parametrize(
    ("asked", "answer", "shown"),
    [
        ({"form": {"type": "boolean"}}, "false", "No"),
        ({"form": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}, '{"ok": true}', "Yes"),
        ({"choices": ("ship", "hold")}, "hold", "hold"),
    ],
)
def test_a_vote_with_an_answer_is_not_called_an_approval(
    hitl: Hitl, asked: dict[str, Any], answer: str, shown: str
) -> None:
    put(hitl, "a", Question(prompt="Is it well?", approvals=2, **asked))
    said = ["answer", "a", answer] if "choices" in asked else ["approve", "a", "--data", answer]
    told = hitl.ok(*said, "--as", "x")
    seen = hitl.ok("show", "a")
    assert "1 of 2 answers" in told
    [vote] = [line.split() for line in seen.splitlines() if line.split()[:1] == ["x"]]
    assert (vote[1], vote[-1]) == ("answers", shown)
    assert "approv" not in told + seen.replace("hitl approve", "")


def test_a_remark_decides_nothing(hitl: Hitl) -> None:
    put(hitl, "a", Question(prompt="Now?", to=("reviewer",)))
    hitl.ok("comment", "a", "looks odd", "--as", "eve")
    hitl.ok("comment", "a", "-", stdin="from a pipe\n")
    assert is_pending(hitl, "a")
    hitl.fails(2, "comment", "a", "   ", code="bad-answer")
    hitl.fails(3, "comment", "nope", "x", code="not-found")
    assert len(hitl.json("pending")) == 1


@pytest.mark.parametrize(
    "data",
    [
        {"__type": "error", "message": "no"},
        {"__py_pickle": "gASVAAAA"},
        [{"deep": [{"__py_pickle": "gASVAAAA"}]}],
        "__INF__",
        ["__NEG_INF__"],
    ],
)
def test_data_in_which_an_sdk_would_see_more_than_json_is_refused(hitl: Hitl, data: Any) -> None:
    put(hitl, "a", Question(prompt="Now?"))
    put(hitl, "b", Question(prompt="Now?", approvals=2))
    for id in ("a", "b"):
        assert "is reserved by the SDKs" in hitl.fails(
            2, "approve", id, "--data", json.dumps(data), code="bad-answer"
        )
        assert is_pending(hitl, id)


def test_a_request_that_cannot_be_read_is_listed_and_not_decided(hitl: Hitl) -> None:
    unreadable: list[Any] = [{"prompt": "Now?", "to": "reviewer"}, {"prompt": 1}, [], None]
    tags = {"resonate:external": "true", "hitl:request": "1"}
    with hitl.client() as client:
        for n, data in enumerate(unreadable):
            timeout = client.now() + DAY_MS
            create = {"id": f"r{n}", "timeoutAt": timeout, "param": encode(data), "tags": tags}
            client.call_many([ProtocolRequest("promise.create", create)])
    assert [item["prompt"] for item in hitl.json("pending")] == ["(a request that cannot be read)"] * 4
    for n in range(4):
        hitl.fails(2, "approve", f"r{n}", code="unreadable")
        assert is_pending(hitl, f"r{n}")


def test_what_a_form_gives_by_itself_need_not_be_said(hitl: Hitl) -> None:
    form = {
        "type": "object",
        "properties": {"kind": {"const": "x"}, "share": {"type": "integer", "default": 5}},
        "required": ["kind"],
    }
    put(hitl, "a", Question(prompt="Now?", form=form))
    hitl.ok("approve", "a")
    assert data_of(hitl, "a") == {"kind": "x", "share": 5}
    put(hitl, "b", Question(prompt="Now?", form=form))
    hitl.ok("reject", "b")


def test_one_word_is_no_answer_to_a_form_of_several_fields(hitl: Hitl) -> None:
    form = {"type": "object", "properties": {"amount": {"type": "integer"}, "note": {"type": "string"}}}
    put(hitl, "a", Question(prompt="How much?", form=form))
    assert "amount, note" in hitl.fails(2, "answer", "a", "maybe", code="bad-answer")
