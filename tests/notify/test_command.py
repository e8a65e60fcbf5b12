"""`hitl notify test` and `list`, and what `hitl doctor` says of how people are reached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.notify.receivers import parts_of

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway
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
        ["name", "channel", "address", "result"],
        ["reviewer", "webhook", "http://127.0.0.1/…", "sent"],
        ["reviewer", "email", "a@example.org", "sent"],
        ["reviewer", "console", "the", "worker's", "terminal", "sent"],
    ]
    assert "reviewer: Test message for reviewer https://hitl.example.org/" in done.stderr
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


def test_who_of_a_group_has_no_contact_is_named(people: Hitl, mailbox: Mailbox) -> None:
    done = people.run("notify", "test", "group:ops", "--channel", "email")
    assert done.returncode == 0
    assert "somebody" in done.stderr
    assert "lead" not in done.stderr
    assert "somebody of group ops" in people.fails(2, "notify", "test", "somebody", code="bad-setting")
    assert "ops" not in people.run("notify", "test", "lead").stderr
    assert len(mailbox.received) == 3


def test_that_links_lead_to_this_computer_is_said(people: Hitl, start_gateway: StartGateway) -> None:
    settings = people.folder / "hitl.toml"
    assert "127.0.0.1" not in people.run("notify", "test", "lead").stderr
    settings.write_text(settings.read_text().partition("\n")[2])
    assert "http://127.0.0.1:5001" in people.run("notify", "test", "lead").stderr
    only = people.run("notify", "test", "reviewer", "--channel", "console")
    assert "hitl.toml" not in only.stderr
    assert "this machine" in start_gateway().complained("links")


def test_a_name_that_nobody_has_is_told_with_the_nearest(people: Hitl) -> None:
    assert "Did you mean reviewer?" in people.fails(3, "notify", "test", "reviewr", code="not-found")
    assert "Did you mean ops?" in people.fails(3, "notify", "test", "group:opps", code="not-found")
    assert "[people.quiet]" in people.fails(2, "notify", "test", "quiet", code="bad-setting")
    assert "no slack address for lead" in people.fails(
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
    assert "somebody of group ops" in people.run("notify", "list").stderr
    assert "secret" not in said


def test_the_list_of_nobody_says_how_somebody_is_named(hitl: Hitl) -> None:
    assert "[people.reviewer]" in hitl.run("notify", "list").stderr


def test_doctor_says_what_is_wrong_with_how_people_are_reached(people: Hitl) -> None:
    said = people.ok("doctor")
    assert "people: 3, groups: 1" in said
    assert "no contact for quiet, so they are not notified" in said
    assert "answers" in said
    assert "webhooks are unsigned" in said
    settings = people.folder / "hitl.toml"
    settings.write_text('[people.lead]\nemail = "b@example.org"\n')
    said = people.ok("doctor")
    assert "no mail server is set" in said
    assert "http://127.0.0.1:5001" in said
    settings.write_text('[people.lead]\nslack = "$SLACK_LEAD"\n')
    assert "$SLACK_LEAD, which is not set" in people.ok("doctor")


def emails(people: Hitl) -> list[tuple[str, str]]:
    """What doctor says of how mail is sent."""
    findings = people.json("doctor")["findings"]
    return [(one["level"], f"{one['text']}. {one['advice']}") for one in findings if one["name"] == "email"]


def test_doctor_tries_the_connection_and_the_sender_and_sends_nothing(people: Hitl, mailbox: Mailbox) -> None:
    [(level, said)] = emails(people)
    assert (level, mailbox.received) == ("ok", [])
    assert f"127.0.0.1:{mailbox.port}" in said
    assert "hitl@example.org" in said
    mailbox.fail_with(553, at="MAIL", saying="sender not allowed")
    [(level, said)] = emails(people)
    assert level == "warning"
    assert "553 sender not allowed" in said
    settings = people.folder / "hitl.toml"
    settings.write_text(settings.read_text().replace(f"port = {mailbox.port}", "port = 465"))
    [(level, said)] = emails(people)
    assert level == "warning"
    assert 'tls = "tls"' in said


def test_a_worker_and_doctor_name_what_keeps_people_from_being_notified(people: Hitl) -> None:
    settings = people.folder / "hitl.toml"
    text = (
        settings.read_text()
        .partition("\n")[2]
        .replace('tls = "none"', "")
        .replace("port = ", "port = 465 # ")
    )
    settings.write_text(
        text
        + """
        [people.pager]
        apprise = ["nonsense://token@place"]
        [people.bot]
        webhook = "http://example..org/hook"
        """
    )
    worker = people.worker()
    wanted = {
        "http://127.0.0.1:5001": "gateway =",
        "somebody of group ops": "[people.somebody]",
        "465": 'tls = "tls"',
        "people.pager.apprise": "nonsense://…",
        "people.bot.webhook": "URL",
    }
    found = people.json("doctor")["findings"]
    doctor = [f"{one['text']}. {one['advice']}" for one in found if one["level"] == "warning"]
    for wrong, advice in wanted.items():
        for said in (worker.complained(wrong), next(one for one in doctor if wrong in one)):
            assert advice in said
            assert "token" not in said
    assert len(worker.errors) == len(wanted)


def test_a_sender_that_is_no_mailbox_is_refused_by_name(people: Hitl) -> None:
    settings = people.folder / "hitl.toml"
    settings.write_text(settings.read_text().replace('"hitl@example.org"', '"Requests <hitl>"'))
    assert "email.from is 'Requests <hitl>'" in people.fails(2, "doctor", code="bad-setting")


@pytest.mark.parametrize("name", ["Billing, Requests", "a@b via Requests", 'The "A" team', "=?utf-8?q?a?="])
def test_a_sender_may_have_any_name(people: Hitl, mailbox: Mailbox, name: str) -> None:
    settings = people.folder / "hitl.toml"
    quoted = name.replace('"', '\\"')
    sender = f'"{quoted}" <hitl@example.org>' if '"' in name else f"{name} <hitl@example.org>"
    settings.write_text(settings.read_text().replace('"hitl@example.org"', f"'{sender}'"))
    people.ok("notify", "test", "lead")
    [mailed] = mailbox.received
    [shown] = mailed["From"].addresses
    assert (shown.display_name, shown.addr_spec) == (name, "hitl@example.org")
    assert mailbox.envelopes[0].mail_from == "hitl@example.org"
