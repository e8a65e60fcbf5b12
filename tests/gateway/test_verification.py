"""E-mail verification, the whole way: asked by a program, sent by SMTP, confirmed on the page of the link."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hitl_cli.builtin.verification_api import run_id
from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.wire import decode
from tests.conftest import Hitl, wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.visiting import Browser
from tests.notify.receivers import Mailbox
from tests.worker.watching import result_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage


class Town:
    """A gateway, both services, and the mailbox of everybody."""

    def __init__(self, hitl: Hitl, mailbox: Mailbox) -> None:
        self.hitl, self.mailbox = hitl, mailbox
        self.gateway = begin_gateway(hitl)
        settings = f'gateway = "{self.gateway.url}"\n{mailbox.settings}'
        (hitl.folder / "hitl.toml").write_text(settings)
        self.processes = [self.gateway, hitl.worker()]
        self.post = hitl.worker("--group", "email-service")
        self.processes.append(self.post)

    def start(self, address: str) -> None:
        reply = self.gateway.post("/start", {"email": address})
        assert reply.json == {"result": "workflow started"}

    def mail_for(self, address: str) -> EmailMessage:
        """Wait for the first mail to an address."""
        return wait_until(lambda: [mail for mail in self.mailbox.received if mail["To"] == address])[0]

    def page_of(self, mail: EmailMessage) -> str:
        """Return the path of the link in a mail."""
        link = next(line for line in mail.get_content().splitlines() if line.startswith("http"))
        assert link.startswith(f"{self.gateway.url}/l/")
        return str(urlsplit(link).path)

    def state(self, id: str) -> str:
        with self.hitl.client() as client:
            promise = get_promise(client, id)
        return promise.state if promise else "none"

    def result(self, address: str) -> Any:
        with self.hitl.client() as client:
            return result_of(client, run_id(address))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Shared by the tests of this file, which each use another address."""
    with Mailbox() as mailbox:
        town = Town(Hitl(tmp_path_factory.mktemp("town")), mailbox)
        yield town
        for process in town.processes:
            process.clear_away()


def test_whoever_opens_the_link_and_approves_confirms_the_address(town: Town) -> None:
    for _ in range(2):
        town.start("a@example.org")
    mail = town.mail_for("a@example.org")
    assert mail["Subject"] == "Please confirm your e-mail address"
    assert mail["From"] == "hitl@example.org"
    path, browser = town.page_of(mail), Browser(town.gateway.url)
    for _ in range(2):
        assert "Is a@example.org yours?" in browser.get(path).text
    assert town.state("workflow-a@example.org:1.1") == "pending"
    browser.answer(path)
    result = town.result("a@example.org")
    assert (result["confirmed"], result["by"]) == (True, "a@example.org")
    town.processes[1].said("e-mail address a@example.org confirmed")
    assert len([mail for mail in town.mailbox.received if mail["To"] == "a@example.org"]) == 1
    with town.hitl.client() as client:
        kept = [decode(value) for promise in search(client) for value in (promise.param, promise.value)]
    assert "workflow-a@example.org:1.1" in str(kept)
    assert "/l/" not in str(kept)


def test_whoever_says_no_on_the_page_ends_it_unconfirmed(town: Town) -> None:
    town.start("b@example.org")
    path = town.page_of(town.mail_for("b@example.org"))
    Browser(town.gateway.url).answer(path, "reject", reason="not me")
    assert town.result("b@example.org") == {"email": "b@example.org", "confirmed": False, "reason": "not me"}
    assert town.gateway.post("/confirm", {"email": "b@example.org"}).status == 409


def test_a_mail_that_is_refused_for_good_is_said_and_holds_up_no_other_way(town: Town) -> None:
    town.mailbox.fail_with(550, at="RCPT", saying="no such user")
    town.start("c@example.org")
    assert "no such user" in town.post.said("the mail to c@example.org was refused")
    assert "no such user" in town.hitl.ok("status", "workflow-c@example.org", "--json")
    assert town.gateway.post("/confirm", {"email": "c@example.org"}).status == 200
    assert town.result("c@example.org")["confirmed"] is True


def test_what_is_no_address_is_not_asked_about_and_gets_no_mail(town: Town) -> None:
    town.hitl.ok("start", "workflow-no", "a@example.org\nBcc: b@example.org", "-w", "email-verification")
    result = json.loads(town.hitl.ok("wait", "workflow-no"))
    assert result["confirmed"] is False
    assert "is not an e-mail address" in result["reason"]
    assert town.state("workflow-no:1") == "none"
    assert not [mail for mail in town.mailbox.received if "\n" in mail["To"]]


def test_whoever_may_only_start_runs_is_sent_no_link_to_what_another_run_asks(town: Town) -> None:
    town.start("asked@example.org")
    town.mail_for("asked@example.org")
    request = "workflow-asked@example.org:1.1"
    call = {"workflow": "send_email", "args": ["thief@example.org", request]}
    assert town.gateway.post("/start-workflow", {"workflow_id": "thief", **call}).status == 200
    assert "does not belong to this run" in town.hitl.ok("wait", "thief")
    assert not [mail for mail in town.mailbox.received if mail["To"] == "thief@example.org"]
