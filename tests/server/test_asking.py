"""`ask` and votes on a server that is no file: by the protocol alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import search
from tests.conftest import APPS, wait_until
from tests.notify.receivers import HttpReceiver
from tests.recovery.crew import ASKS
from tests.worker.watching import end_of, waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Hitl
    from tests.server.conftest import Served


def test_over_http_it_is_asked_reminded_voted_on_and_told_and_nothing_is_left(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    url = serve().url
    worker = hitl.worker("--app", ASKS, "-S", url)
    options = {"prompt": "Well?", "approvals": 2, "remind": "400ms", "form": {"type": "integer"}}
    hitl.ok("start", "r", json.dumps(options), "--workflow", "asks", "-S", url)
    worker.said("r:1.1 has been waiting for anyone")
    assert "recorded" in hitl.ok("approve", "r", "--data", "7", "--as", "ada", "-S", url)
    assert "4" in hitl.fails(
        2, "approve", "r", "--data", '"4"', "--as", "bob", "-S", url, code="does-not-fit-form"
    )
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


def test_over_http_those_who_are_asked_are_told_once_and_the_others_what_came_of_it(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    url = serve().url
    with HttpReceiver() as receiver:
        (hitl.folder / "hitl.toml").write_text(f'[people.reviewer]\nwebhook = "{receiver.url}"\n')
        for _ in range(2):
            hitl.worker("--app", ASKS, "-S", url)
        options = {"prompt": "Well?", "to": ["reviewer", "lead"]}
        hitl.ok("start", "r", json.dumps(options), "--workflow", "asks", "-S", url)
        hitl.ok("ask", "Sure?", "--to", "reviewer", "--id", "q", "--no-wait", "-S", url)
        receiver.wait_for(2)
        wait_until(lambda: "notified by webhook" in " ".join(hitl.ok("show", "r:1.1", "-S", url).split()))
        hitl.ok("approve", "r:1.1", "--as", "lead", "-S", url)
        receiver.wait_for(3)
        hitl.ok("wait", "r", "-S", url)
    said = [(one.json["type"], one.json["data"]["requests"][0]["id"]) for one in receiver.received]
    assert sorted(said) == [("hitl.approved", "r:1.1"), ("hitl.asked", "q"), ("hitl.asked", "r:1.1")]


def test_over_http_a_group_suspends_and_the_first_no_takes_the_other_question_back(
    hitl: Hitl, serve: Callable[..., Served]
) -> None:
    url = serve().url
    hitl.worker("--app", str(APPS / "at_once.py"), "-S", url)
    hitl.ok("start", "r", "--no-args", "--workflow", "groups", "-S", url)
    with hitl.client() as client:
        assert waiting(client, 2) == ["r:1.1", "r:2.1"]
        hitl.ok("reject", "r:1", "--reason", "no", "-S", url)
        assert end_of(client, "r").state == "failed"
        wait_until(lambda: search(client, state="pending") == [])


CHANGES = """
from hitl_cli import ask, workflow

@workflow
async def deploys(ctx, _id):
    return (await ask(ctx, "{prompt}", to="{to}")).question.prompt
"""


def test_over_http_a_question_that_the_code_changed_is_asked_anew_and_a_check_says_so(
    hitl: Hitl, serve: Callable[..., Served], tmp_path: Path
) -> None:
    url = serve().url
    app = tmp_path / "changing.py"
    app.write_text(CHANGES.format(prompt="Delete staging?", to="reviewer"))
    worker = hitl.worker("--app", str(app), "-S", url)
    hitl.ok("start", "r", "--workflow", "deploys", "-S", url)
    hitl.waiting(1, "-S", url)
    worker.kill()
    hitl.ok("approve", "r", "--as", "reviewer", "-S", url)
    app.write_text(CHANGES.format(prompt="Delete production?", to="lead"))
    check = hitl.run("worker", "--check", "--log-json", "--app", str(app), "-S", url)
    assert check.returncode == 1
    assert json.loads(check.stdout)["change"] == "asked-anew"
    hitl.worker("--app", str(app), "-S", url)
    [item] = hitl.waiting(1, "-S", url)
    assert (item["id"], item["prompt"]) == ("r:1.r1.1", "Delete production?")
    hitl.ok("approve", item["id"], "--as", "lead", "-S", url)
    assert json.loads(hitl.ok("wait", "r", "-S", url)) == "Delete production?"
