"""The built-in workflow `ask`: what every language can ask by calling it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Hitl

WHOLE = {
    "prompt": "Refund?",
    "details": {"order": 7},
    "arguments": [7],
    "form": {"type": "object", "properties": {"amount": {"type": "integer"}}},
    "to": ["reviewer"],
    "allow_self": False,
    "deadline": "2d",
    "on_deadline": {"value": {"amount": 0}},
    "valid_for": "10m",
    "remind": "4h",
    "escalate": {"8h": ["lead"], "12h": "ops"},
    "key": "refund-7",
    "priority": "high",
    "tags": {"team": "shop"},
    "link": "https://example.org/7",
}


def result(hitl: Hitl, id: str) -> Any:
    return json.loads(hitl.ok("wait", id, "--timeout", "30s"))


def test_it_asks_all_that_ask_can(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "r1", "--workflow", "ask", "--args", json.dumps([WHOLE]))
    [item] = hitl.waiting()
    shown = hitl.json("show", item["id"])
    for name in ("prompt", "details", "arguments", "form", "to", "priority", "key", "tags", "link"):
        assert shown[name] == WHOLE[name], name
    assert [step["to"] for step in shown["escalate"]] == [["lead"], ["ops"]]
    hitl.ok("approve", "r1", "--set", "amount=7", "--as", "reviewer", "--comment", "as agreed")
    decided = result(hitl, "r1")
    assert (decided["approved"], decided["data"], decided["by"]) == (True, {"amount": 7}, "reviewer")
    assert decided["comment"] == "as agreed"
    assert decided["arguments_digest"] == shown["arguments_digest"]
    assert decided["valid_until"].endswith("Z")


def test_a_text_is_the_prompt_and_fields_may_be_named(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "r1", "--workflow", "ask", "Deploy?")
    hitl.ok("start", "r2", "--workflow", "ask", "--kwarg", "prompt=Deploy?", "--kwarg", 'choices=["a", "b"]')
    assert {item["prompt"] for item in hitl.waiting(2)} == {"Deploy?"}
    hitl.ok("reject", "r1", "--reason", "not now")
    hitl.ok("answer", "r2", "b")
    assert (result(hitl, "r1")["approved"], result(hitl, "r1")["reason"]) == (False, "not now")
    assert result(hitl, "r2")["choice"] == "b"


WRONG = ['{"prompt": ""}', '{"prompt": "?", "id": "x"}', '{"prompt": "?", "unknown": 1}', "[]", "7", "{}"]
WRONG += [
    '{"prompt": "?", "callback": "https://example.org/x"}',
    '{"prompt": "?", "offer": {"where": {"a": 1}}}',  # it has no arguments
]


@pytest.mark.parametrize("request_", WRONG)
def test_what_cannot_be_asked_fails_the_run(hitl: Hitl, request_: str) -> None:
    hitl.worker()
    hitl.ok("start", "r1", "--workflow", "ask", "--args", f"[{request_}]")
    assert "request is not valid" in hitl.fails(1, "wait", "r1", "--timeout", "30s", code="run-failed")


def test_every_language_gets_the_arguments_that_were_approved(hitl: Hitl) -> None:
    hitl.worker()
    asked = {"prompt": "Pay?", "arguments": {"amount": 120}, "editable": True}
    hitl.ok("start", "r", "--workflow", "ask", "--args", json.dumps([asked]))
    hitl.waiting()
    hitl.ok("approve", "r", "--set", "amount=80")
    told = result(hitl, "r")
    assert (told["arguments"], told["data"], told["changed"]) == ({"amount": 80}, {"amount": 80}, True)
