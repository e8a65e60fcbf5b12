"""The built-in workflow `approval`, with a prompt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Hitl


def test_it_asks_what_it_is_told_to(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "release-1", "--kwarg", "prompt=Ship **1.4.2**?")
    [item] = hitl.waiting()
    assert (item["id"], item["prompt"], item["function"]) == ("release-1:1", "Ship **1.4.2**?", "approval")
    hitl.ok("approve", "release-1", "--data", '{"window": "tonight"}')
    result = json.loads(hitl.ok("wait", "release-1", "--timeout", "30s"))
    assert result == {"message": "workflow release-1 completed", "data": {"window": "tonight"}}


def test_without_a_prompt_it_says_what_is_approved(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "hitl-001")
    [item] = hitl.waiting()
    assert item["prompt"] == "Approve hitl-001?"
