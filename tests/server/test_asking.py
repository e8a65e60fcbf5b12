"""`ask` and votes on a server that is no file: by the protocol alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hitl_cli.client import search
from tests.recovery.crew import ASKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served


def test_over_http_it_is_asked_reminded_voted_on_and_told_and_nothing_is_left(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    url = serve().url
    worker = hitl.worker("--app", ASKS, "-S", url)
    options = {"prompt": "Well?", "approvals": 2, "remind": "400ms", "form": {"type": "integer"}}
    hitl.ok("start", "r", json.dumps(options), "--workflow", "asks", "-S", url)
    worker.said("promise r:1.1 waits for anybody")
    assert "is kept" in hitl.ok("approve", "r", "--data", "7", "--as", "ada", "-S", url)
    assert "4" in hitl.fails(2, "approve", "r", "--data", '"4"', "--as", "bob", "-S", url)
    hitl.ok("answer", "r", "8", "--as", "bob", "-S", url)

    told = json.loads(hitl.ok("wait", "r", "-S", url))
    assert (told["data"], told["by"], [vote["by"] for vote in told["votes"]]) == (8, "bob", ["ada", "bob"])
    with hitl.client() as client:
        assert search(client, state="pending") == []


def test_over_http_the_deadline_means_what_was_said_it_would(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    url = serve().url
    hitl.worker("--app", ASKS, "-S", url)
    options = {"prompt": "Well?", "deadline": "2s", "on_deadline": "hold", "choices": ["ship", "hold"]}
    hitl.ok("start", "r", json.dumps(options), "--workflow", "asks", "-S", url)
    told = json.loads(hitl.ok("wait", "r", "-S", url))
    assert (told["approved"], told["choice"], told["expired"]) == (True, "hold", True)
