"""`hitl notify test` and `list`, and what `hitl doctor` says of how people are reached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.notify.receivers import parts_of

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.notify.receivers import HttpReceiver, Mailbox


@pytest.fixture
def people(hitl: Hitl, mailbox: Mailbox, receiver: HttpReceiver) -> Hitl:
    """The command, with settings that reach a reviewer in three ways, and a group by its members."""
    (hitl.folder / "hitl.toml").write_text(
        'gateway = "https://hitl.example.org"\n'
        + mailbox.settings
        + f"""
        [people.reviewer]
        email = "a@example.org"
        webhook = "{receiver.url}?token=secret"
        notify = ["webhook", "email", "console"]
        [people.lead]
        email = "b@example.org"
        [people.quiet]
        [groups.ops]
        members = ["reviewer", "lead", "somebody"]
        """
    )
    return hitl


def test_a_test_goes_out_by_each_channel_of_a_person(
    people: Hitl, mailbox: Mailbox, receiver: HttpReceiver
) -> None:
    done = people.run("notify", "test", "reviewer")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["who", "by", "where", "result"],
        ["reviewer", "webhook", "http://127.0.0.1/…", "taken"],
        ["reviewer", "email", "a@example.org", "taken"],
        ["reviewer", "console", "the", "worker's", "terminal", "taken"],
    ]
    assert "reviewer: A test for reviewer https://hitl.example.org/" in done.stderr
    assert "This is a test" in parts_of(mailbox.received[0])[0]
    assert receiver.received[0].json["type"] == "hitl.test"


def test_a_channel_that_does_not_take_it_is_told_and_the_exit_code_says_so(
    people: Hitl, receiver: HttpReceiver
) -> None:
    receiver.fail_with(410)
    done = people.run("notify", "test", "reviewer", "--json")
    assert done.returncode == 1
    assert [(one["by"], one["taken"]) for one in json.loads(done.stdout)] == [
        ("webhook", False),
        ("email", True),
        ("console", True),
    ]
    assert "127.0.0.1 refused it (410)." in done.stdout
    assert "secret" not in done.stdout + done.stderr


def test_one_channel_can_be_tried_and_a_group_is_its_members(people: Hitl, mailbox: Mailbox) -> None:
    tried = people.json("notify", "test", "ops", "--channel", "email")
    assert [(one["to"], one["where"]) for one in tried] == [
        ("lead", "b@example.org"),
        ("reviewer", "a@example.org"),
    ]
    assert {mail["To"] for mail in mailbox.received} == {"a@example.org", "b@example.org"}


def test_a_name_that_nobody_has_is_told_with_the_nearest(people: Hitl) -> None:
    assert "Did you mean reviewer?" in people.fails(3, "notify", "test", "reviewr", code="not-found")
    assert "Did you mean ops?" in people.fails(3, "notify", "test", "group:opps", code="not-found")
    assert "do not say how quiet is reached" in people.fails(2, "notify", "test", "quiet", code="bad-setting")
    assert "lead is reached by slack" in people.fails(
        2, "notify", "test", "lead", "--channel", "slack", code="bad-setting"
    )


def test_the_list_shows_who_is_reached_how_without_secrets(people: Hitl) -> None:
    listed = people.json("notify", "list")
    assert listed[0] == {
        "name": "reviewer",
        "addresses": [
            {"by": "webhook", "where": "http://127.0.0.1/…"},
            {"by": "email", "where": "a@example.org"},
            {"by": "console", "where": "the worker's terminal"},
        ],
        "members": [],
        "digest": None,
    }
    assert listed[3]["name"] == "group:ops"
    said = people.ok("notify", "list")
    assert "reviewer, lead, somebody" in said
    assert "secret" not in said


def test_the_list_of_nobody_says_how_somebody_is_named(hitl: Hitl) -> None:
    assert "[people.NAME]" in hitl.run("notify", "list").stderr


def test_doctor_says_what_is_wrong_with_how_people_are_reached(people: Hitl) -> None:
    said = people.ok("doctor")
    assert "people: 3, groups: 1" in said
    assert "told nothing, for they have no address: quiet" in said
    assert "answers" in said
    assert "they are not signed" in said
    settings = people.folder / "hitl.toml"
    settings.write_text('[people.lead]\nemail = "b@example.org"\n')
    assert "nothing says how to send" in people.ok("doctor")
    settings.write_text('[people.lead]\nslack = "$SLACK_LEAD"\n')
    assert "$SLACK_LEAD, which is not set" in people.ok("doctor")
