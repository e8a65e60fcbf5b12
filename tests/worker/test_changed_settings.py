"""A worker uses the people in its settings, also when they change while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

APP = """
from hitl_cli import ask, workflow

@workflow
async def release(ctx, id):
    return (await ask(ctx, "Ship it?", to=["group:opps", " Lead "])).approved
"""

PEOPLE = "[people.lead]\n[groups.ops]\nmembers = ['lead']\n"


@pytest.mark.long
@pytest.mark.heavy  # a worker looks every half minute
def test_a_worker_names_who_lost_their_contact_when_the_settings_change(hitl: Hitl) -> None:
    people = "gateway = 'https://hitl.example.org'\n[people.lead]\nnotify = ['console']\n"
    (hitl.folder / "hitl.toml").write_text(people)
    worker = hitl.worker()
    (hitl.folder / "hitl.toml").write_text(people + "[groups.ops]\nmembers = ['lead', 'intern']\n")
    hitl.ok("start", "looks")
    assert "intern of group ops" in worker.complained("no contact")


def test_a_worker_warns_of_a_name_and_refuses_it_once_its_settings_are_strict(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    (hitl.folder / "hitl.toml").write_text(PEOPLE)
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "before", "--workflow", "release")
    assert "group:opps is not in the settings" in worker.complained("before:1")
    [asked] = hitl.waiting()
    assert asked["to"] == ["group:opps", "lead"]

    (hitl.folder / "hitl.toml").write_text("strict_people = true\n" + PEOPLE)
    hitl.ok("start", "after", "--workflow", "release")
    assert "group:opps" in hitl.fails(1, "wait", "after")
    hitl.ok("approve", "before", "--as", "LEAD")  # what was asked before goes on
    assert hitl.ok("wait", "before") == "true\n"


SEVERAL = """
from hitl_cli import ask, workflow

@workflow
async def release(ctx, id):
    return (await ask(ctx, "Ship it?", to="group:ops", approvals=2, allow_self=False)).approved
"""


def test_a_run_that_needs_more_approvals_than_its_group_can_give_fails_and_names_the_numbers(
    hitl: Hitl,
) -> None:
    (hitl.folder / "app.py").write_text(SEVERAL)
    hitl.worker("--app", "app.py")
    hitl.ok("start", "before", "--workflow", "release", "--as", "ada")  # the group is not known yet
    hitl.waiting()
    (hitl.folder / "hitl.toml").write_text("[groups.ops]\nmembers = ['ada', 'bob']\n")
    hitl.ok("start", "after", "--workflow", "release", "--as", "ada")
    assert "approvals is 2" in hitl.fails(1, "wait", "after")
    hitl.ok("start", "by-another", "--workflow", "release", "--as", "eve")
    assert {one["workflow"] for one in hitl.waiting(2)} == {"before", "by-another"}
    hitl.ok("reject", "before", "--as", "bob", "--reason", "no")  # what was asked before goes on
    assert hitl.ok("wait", "before") == "false\n"


TO_LEAD = """
from hitl_cli import ask, workflow

@workflow
async def release(ctx, id):
    return (await ask(ctx, "Ship it?", to="lead")).approved
"""


def test_what_was_asked_stays_as_it_was_when_a_policy_is_raised_beyond_its_assignees(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(TO_LEAD)
    worker = hitl.worker("--app", "app.py")
    for id in ("no", "yes"):
        hitl.ok("start", id, "--workflow", "release")
    hitl.ok("ask", "Ship it?", "--id", "release-1", "--to", "lead", "--no-wait")
    assert len(hitl.waiting(3)) == 3
    worker.stop()
    (hitl.folder / "hitl.toml").write_text("[policy]\n'release*' = {approvals = 2}\n")
    hitl.worker("--app", "app.py")
    hitl.ok("start", "after", "--workflow", "release")
    assert "approvals is 2 by the policy" in hitl.fails(1, "wait", "after")
    for id in ("no", "release-1"):
        hitl.ok("reject", id, "--as", "lead")
    assert hitl.ok("wait", "no") == "false\n"
    hitl.ok("approve", "yes", "--as", "lead")  # one of the two that it needs now
    assert [one["id"] for one in hitl.waiting()] == ["yes:1.1"]
    (hitl.folder / "hitl.toml").write_text("")
    hitl.ok("approve", "yes", "--as", "lead")
    assert hitl.ok("wait", "yes") == "true\n"
    (hitl.folder / "hitl.toml").write_text("[policy]\n'release*' = {approvals = 2}\n")
    hitl.fails(1, "ask", "Ship it?", "--id", "release-1", "--to", "lead")
    hitl.fails(2, "ask", "Ship it?", "--id", "release-2", "--to", "lead", code="bad-question")


ALONE = """
from hitl_cli import ask, workflow

@workflow
async def release(ctx, id):
    return (await ask(ctx, "Ship it?", to="lead", allow_self=False)).approved
"""


def test_a_run_of_the_only_assignee_who_may_not_answer_fails(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(ALONE)
    hitl.worker("--app", "app.py")
    hitl.ok("start", "own", "--workflow", "release", "--as", "lead")
    assert "lead" in hitl.fails(1, "wait", "own")
    hitl.ok("start", "by-another", "--workflow", "release", "--as", "eve")
    assert [one["workflow"] for one in hitl.waiting()] == ["by-another"]
    hitl.ok("approve", "by-another", "--as", "lead")
    assert hitl.ok("wait", "by-another") == "true\n"


def test_a_worker_without_contacts_notifies_once_its_settings_have_one(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    hitl.worker("--app", "app.py")
    (hitl.folder / "hitl.toml").write_text("[people.lead]\nnotify = ['console']\n")
    hitl.ok("start", "release-1", "--workflow", "release")
    hitl.waiting()

    def notified() -> bool:
        return [one["outcome"] for one in hitl.json("show", "release-1:1")["told"]] == ["told"]

    wait_until(notified)
