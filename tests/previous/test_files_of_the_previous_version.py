"""Files, links, tokens, keys and sessions of an earlier version work with this one.

The recording is made by record.py. Each test opens a copy, in processes whose clock shows the time of
the recording.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import hitl_cli
from tests.conftest import Hitl, wait_until
from tests.gateway.conftest import begin_gateway
from tests.notify.receivers import HttpReceiver
from tests.previous.record import CLOCK, FOLDER, HOUR_MS, KEPT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gateway.conftest import GatewayProcess

SECOND_MS = 1_000
RECORDED: dict[str, Any] = json.loads((FOLDER / "recorded.json").read_text())
PRINTED: dict[str, Any] = RECORDED["printed"]
TOKEN = {"Authorization": f"Bearer {RECORDED['tokens']['reviewer']['token']}"}

CHANGES = {"age_s", "next_at"}
"""Fields whose value depends on the present time."""

CHANGES_IN_STATS = {"at", "since"}
"""The same for the statistics."""

CAUGHT = [
    ["Rejected", "caught-1:1.1.1 was rejected by lead: no budget", None],
    ["Rejected", "caught-1:2.1.1 was rejected by lead: no time", None],
    ["Rejected", "caught-1:3.1.1 was not answered before its deadline", None],
    ["OverBudget", "700", 700],
    ["BadInput", "nowhere.tar cannot be read: No such file or directory.", None],
    ["BadInput", "'soon' is not a duration: write it like 90s, 1h30m or 30d.", None],
    ["answered", True, None],
]
"""What `catches` returns: its exceptions are read on replay, from pickles in the recorded file."""

PICKLED = [
    "hitl_cli.decisions.Rejected",
    "hitl_cli.errors.HitlError",
    "hitl_cli.errors.BadInput",
    "hitl_cli.errors.NotFound",
    "hitl_cli.errors.Conflict",
    "hitl_cli.errors.NotAllowed",
    "hitl_cli.errors.TimedOut",
    "hitl_cli.errors.Unreachable",
    "hitl_cli.errors.RunFailed",
    "hitl_cli.errors.NotDone",
]
"""Exceptions that a step could raise. The SDK stores each as a pickle, under this path.

If the path does not lead to the class, the SDK raises ApplicationError instead: then `except Rejected` does
not catch it, and the run fails.
"""


def restored(folder: Path) -> Hitl:
    """Return the command on a copy of the recording."""
    hitl = Hitl(folder)
    for name in (*KEPT, "hitl.db.keys"):
        shutil.copy(FOLDER / name, folder)
    (folder / "hitl.db.keys").chmod(0o600)
    with closing(sqlite3.connect(hitl.database, isolation_level=None)) as db:
        db.executescript((FOLDER / "hitl.sql").read_text())
        db.execute("PRAGMA journal_mode = WAL")
    hitl.env |= {"HITL_AS": "ops", "HOOK_URL": "http://127.0.0.1:9/", "PYTHONPATH": str(CLOCK)}
    set_clock(hitl, SECOND_MS)
    return hitl


def set_clock(hitl: Hitl, since_ms: int) -> None:
    """Set the clock of the processes that start from now on, to a time after the recording."""
    ahead_ms = RECORDED["at_ms"] + since_ms - time.time_ns() // 1_000_000
    hitl.env["CLOCK_AHEAD_MS"] = str(ahead_ms)


@pytest.fixture
def hitl(tmp_path: Path) -> Iterator[Hitl]:
    """The command on a copy of the recording; its workers end with the test."""
    command = restored(tmp_path)
    yield command
    for worker in command.workers:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Hitl:
    """The command on a copy that the tests of this module only read."""
    return restored(tmp_path_factory.mktemp("unchanged"))


@pytest.fixture
def gateway(hitl: Hitl) -> Iterator[GatewayProcess]:
    """A gateway that requires to sign in."""
    process = begin_gateway(hitl, "--sign-in")
    yield process
    process.kill()


def ids_in(hitl: Hitl) -> set[str]:
    """Return the ids of all promises in the file."""
    with closing(sqlite3.connect(hitl.database)) as db:
        return {id for (id,) in db.execute("SELECT id FROM promises")}


def like(then: Any, now: Any, changes: set[str] = CHANGES) -> Any:
    """Return `now` without the fields in `changes`, and without fields that `then` does not have."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {
            name: like(then[name], value, changes)
            for name, value in now.items()
            if name in then and name not in changes
        }
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [like(*pair, changes) for pair in zip(then, now, strict=True)]
    return re.sub(r"\d+\w( \d+\w)? left$", "… left", now) if isinstance(now, str) else now


def path_of(url: str) -> str:
    return urlsplit(url).path


# Commands


@pytest.mark.parametrize("name", PRINTED)
def test_commands_print_the_same_fields_and_values(unchanged: Hitl, name: str) -> None:
    then = PRINTED[name]["printed"]
    now = unchanged.json(*PRINTED[name]["command"])
    changes = CHANGES | CHANGES_IN_STATS if name == "stats" else CHANGES
    assert like(then, now, changes) == like(then, then, changes)


# Runs


def test_pending_requests_are_answered_and_their_runs_complete(hitl: Hitl) -> None:
    hitl.worker()
    hitl.worker("--group", "email-service")
    for args in (
        ("approve", "approval-1", "linked-1", "linked-3", "api-1", "caught-1:7.1", "--yes"),
        ("approve", "second-thoughts", "email-confirmed-a@example.org", "--yes"),
        ("approve", "form-1", "--set", "amount=7", "--as", "reviewer"),
        ("reject", "escalated-1", "--reason", "no", "--as", "reviewer"),
        ("answer", "quorum-1", "ship", "--set", "percent=60", "--as", "lead"),
        ("approve", "first", "--as", "reviewer"),
    ):
        hitl.ok(*args)
    awaited = {
        "approval-1",
        "linked-1",
        "linked-3",
        "api-1",
        "caught-1",
        "twice-1",
        "workflow-a@example.org",
        "form-1",
        "escalated-1",
        "quorum-1",
        "program-1",
        "hook-1",
    }
    runs: dict[str, Any] = {}

    def all_ended() -> bool:
        runs.update({run["id"]: run for run in hitl.json("status", "--limit", "100")})
        failed = [f"{id}: {runs[id]['error']}" for id in awaited if runs[id]["state"] == "failed"]
        assert not failed, failed
        return all(runs[id]["state"] == "completed" for id in awaited)

    wait_until(all_ended)
    ended = {id: runs[id]["result"] for id in awaited}
    assert ended["caught-1"] == CAUGHT
    assert ended["quorum-1"] == ["ship", 60, ["lead", "reviewer"]]
    assert ended["twice-1"] == [20, "slowly", "ops", True]
    assert ended["form-1"]["data"] == {"amount": 7}
    assert (ended["escalated-1"]["approved"], ended["escalated-1"]["reason"]) == (False, "no")
    assert ended["workflow-a@example.org"]["confirmed"] is True
    assert ended["program-1"]["data"] == {"a": None, "b": [1, 2.5]}
    assert hitl.json("ask", "--id", "release-1")["by"] == "reviewer"
    notice, vote = "quorum-1:1.1.t-approved", "quorum-1:1.1.v7b2d62597cd66902-1"  # the same in every version
    wait_until(lambda: {notice, vote} <= ids_in(hitl))
    assert set(RECORDED["ids"]) <= ids_in(hitl)


def test_timers_retries_schedules_and_refused_messages_continue_the_next_day(hitl: Hitl) -> None:
    refused = RECORDED["refused"]
    open_now = {item["id"] for item in PRINTED["pending"]["printed"]}
    late = {id for id, said in refused.items() if said["data"]["requests"][0]["id"] in open_now}
    (hitl.folder / "printer-is-on").touch()
    set_clock(hitl, 20 * HOUR_MS)
    with HttpReceiver() as receiver:
        hitl.env["HOOK_URL"] = receiver.url
        worker = hitl.worker()
        assert hitl.json("wait", "sleeping-1")["result"] == ["before", "after"]
        assert hitl.json("wait", "retried-1")["result"] == "printed"
        wait_until(lambda: late <= {message.headers["webhook-id"] for message in receiver.received})
        worker.said("requests are waiting for you")
        [nightly] = hitl.waiting(1, "--workflow", "nightly*")
        assert nightly["id"] == "nightly-1767664800000:1"
        first = {m.headers["webhook-id"] for m in receiver.received if m.json["type"] == "hitl.asked"}
        assert first <= refused.keys()  # nobody is told the same thing under a second id


@pytest.mark.parametrize("path", PICKLED)
def test_pickled_exceptions_of_earlier_runs_are_found(path: str) -> None:
    module, _, name = path.rpartition(".")
    found = pickle.loads(f"c{module}\n{name}\n.".encode())
    assert issubclass(found, Exception)
    assert found.__name__ == name


def test_the_recorded_rejection_is_the_one_that_authors_catch() -> None:
    assert pickle.loads(b"chitl_cli.decisions\nRejected\n.") is hitl_cli.Rejected


# Links, sessions, tokens and requests of programs


def test_links_open_with_the_same_status_and_a_valid_one_decides(hitl: Hitl, gateway: GatewayProcess) -> None:
    links = {name: path_of(link["url"]) for name, link in RECORDED["links"].items()}
    opened = {name: gateway.get(path) for name, path in links.items()}
    assert {name: page.status for name, page in opened.items()} == {
        "good": 200,
        "signed_by_the_key_before": 200,
        "answered": 200,
        "answered_by_another": 410,
        "revoked": 410,
    }
    assert gateway.ask("POST", links["good"], form=RECORDED["link_form"]).status in {200, 303}
    decided = hitl.json("history", "linked-1")[-1]
    assert (decided["by"], decided["via"], decided["comment"]) == ("lead", "link", "by a link")


def test_the_link_in_a_message_decides(hitl: Hitl, gateway: GatewayProcess) -> None:
    [asked] = (
        request
        for said in RECORDED["refused"].values()
        for request in said["data"]["requests"]
        if request["id"] == "form-1:1.1"
    )
    path = path_of(asked["url"])
    page = gateway.get(path)
    form = {"csrf": page.csrf, "verdict": "approve", "field:amount": "8"}
    assert gateway.ask("POST", path, form=form).status in {200, 303}
    assert hitl.json("history", "form-1")[-1]["data"] == {"amount": 8}


def test_a_session_and_an_open_form_stay_valid(hitl: Hitl, gateway: GatewayProcess) -> None:
    session = RECORDED["session"]
    cookie = {"Cookie": f"hitl-session={session['cookie']}"}
    assert gateway.get("/", **cookie).status == 200
    assert gateway.ask("POST", session["path"], form=session["form"], headers=cookie).status in {200, 303}
    decided = hitl.json("history", "session-1")[-1]
    assert (decided["by"], decided["via"], decided["comment"]) == ("reviewer", "web", "in a browser")


def test_tokens_are_accepted_and_refused_as_before(gateway: GatewayProcess) -> None:
    then = PRINTED["pending"]["printed"]
    now = gateway.ask("GET", "/api/v1/requests", headers=TOKEN).json["items"]
    assert like(then, now) == like(then, then)
    revoked = {"Authorization": f"Bearer {RECORDED['tokens']['revoked']['token']}"}
    assert gateway.ask("GET", "/api/v1/requests", headers=revoked).status == 401


def test_a_repeated_request_gets_the_same_answer_and_changes_nothing(
    hitl: Hitl, gateway: GatewayProcess
) -> None:
    before = ids_in(hitl)
    for sent in (*RECORDED["sent"], RECORDED["hook"]):
        again = gateway.ask(sent["method"], sent["path"], data=sent["body"].encode(), headers=sent["headers"])
        then = json.loads(sent["answer"])
        assert (again.status, like(then, again.json)) == (sent["status"], like(then, then)), sent["path"]
    assert ids_in(hitl) == before
