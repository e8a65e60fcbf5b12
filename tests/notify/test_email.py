"""E-mail: content, recipients, and servers that refuse it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from hitl_cli.notify.channels import email
from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.contacts import Address, Contact, Directory, EmailSettings
from tests.certificates import self_signed
from tests.notify.receivers import Mailbox, parts_of
from tests.notify.samples import HOSTILE, hostile, item, message

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path

    from hitl_cli.notify.messages import Message

PASSWORD = "correct-horse-battery"


def directory(mailbox: Mailbox, **changes: object) -> Directory:
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "port": mailbox.port,
        "tls": "none",
        "from_": "hitl <hitl@example.org>",
    }
    return Directory(
        people={"lead": Contact(email="lead@example.org"), "reviewer": Contact(email="a@example.org")},
        email=EmailSettings(**{**settings, **changes}),  # type: ignore[arg-type]
        gateway="https://hitl.example.org",
    )


def mailed(mailbox: Mailbox, sent: Message, **changes: object) -> EmailMessage:
    asyncio.run(send(sent, Address("email", "a@example.org"), directory(mailbox, **changes)))
    return mailbox.received[-1]


def not_mailed(mailbox: Mailbox, **changes: object) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        mailed(mailbox, message(), **changes)
    return caught.value


class Seen(HTMLParser):
    """The tags and addresses of a page, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.texts))


def test_a_mail_says_what_is_asked_and_leads_to_the_page_in_text_and_in_html(mailbox: Mailbox) -> None:
    mail = mailed(mailbox, message())
    assert mail["Subject"] == "Ship release 1.4.2?"
    assert mail["To"] == "a@example.org"
    assert mail["From"] == "hitl <hitl@example.org>"
    assert mail["Date"] == "Sat, 21 Nov 2026 12:01:00 +0000"
    assert mail.get_content_type() == "multipart/alternative"
    text, page = parts_of(mail)
    for said in ("lead asks for your decision.", "1.4.2", '{"unit":212,"failed":0}'):
        assert said in text
        assert said in Seen(page).text
    assert "All checks are *green*." in text
    assert "All checks are <em>green</em>." in page
    assert "Deadline: 2026-11-23 12:00 UTC (in 1d 23h)" in text
    assert "http://hitl.example.org/l/SIGNED" in text.splitlines()


def test_the_buttons_are_links_to_the_page_where_one_decides(mailbox: Mailbox) -> None:
    seen = Seen(parts_of(mailed(mailbox, message()))[1])
    assert {"Approve…", "Reject…"} <= set(seen.texts)
    assert "form" not in seen.tags
    assert {link.partition("#")[0] for link in seen.links} == {
        "http://hitl.example.org/l/SIGNED",
        "http://hitl.example.org/",
    }


def test_a_request_with_choices_has_one_button(mailbox: Mailbox) -> None:
    choosing = message(item(question={"choices": ("ship", "hold")}))
    seen = Seen(parts_of(mailed(mailbox, choosing))[1])
    assert "Answer…" in seen.texts
    assert "Approve…" not in seen.texts
    assert "ship, hold" in seen.text


def test_a_request_that_needs_a_signature_has_one_button_and_says_how_to_sign(mailbox: Mailbox) -> None:
    signed = item(question={"proof": "signed"})
    for sent in (message(signed), message(signed, item(), occasion="digest")):
        text, page = parts_of(mailed(mailbox, sent))
        assert "hitl approve deploy-7:1 --sign" in text
        seen = Seen(page)
        assert seen.texts.count("Approve…") == len(sent.items) - 1
        assert "Answer…" in seen.texts


def test_what_came_of_a_request_is_said_with_who_and_why(mailbox: Mailbox) -> None:
    over = item(outcome="rejected", by="lead", reason="over budget")
    text, page = parts_of(mailed(mailbox, message(over, occasion="rejected")))
    assert "Rejected by lead (over budget)" in text
    assert "Approve…" not in page
    assert "Deadline" not in text


def test_a_digest_lists_the_requests_each_with_its_link(mailbox: Mailbox) -> None:
    several = [item(title=f"Number {n}?", url=f"http://hitl.example.org/l/N{n}") for n in range(40)]
    text, _ = parts_of(mailed(mailbox, message(*several, occasion="digest")))
    assert text.index("Number 0?") < text.index("http://hitl.example.org/l/N0") < text.index("Number 1?")
    assert "and 10 more" in text


def test_a_page_of_a_mail_loads_nothing_and_runs_nothing(mailbox: Mailbox) -> None:
    seen = Seen(parts_of(mailed(mailbox, message()))[1])
    assert seen.tags.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert not seen.handlers


def test_all_mails_about_a_request_are_one_thread_and_one_mail_sent_twice_is_one(mailbox: Mailbox) -> None:
    first = mailed(mailbox, message())
    again = mailed(mailbox, message())
    reminder = mailed(mailbox, message(occasion="reminder"))
    other = mailed(mailbox, message(id="other", thread="other"))
    assert first["Message-ID"] == again["Message-ID"] != reminder["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f]{32}@hitl\.example\.org>", first["Message-ID"])
    assert first["References"] == reminder["References"] == reminder["In-Reply-To"] != other["References"]
    assert first["In-Reply-To"] is None
    assert first.get_content_type() == again.get_content_type()


def test_a_mail_says_that_a_program_wrote_it_and_a_reply_goes_to_who_asks(mailbox: Mailbox) -> None:
    mail = mailed(mailbox, message())
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Id"] == "hitl requests <requests.hitl.example.org>"
    assert mail["Reply-To"] == "lead@example.org"
    assert mail["Importance"] is None
    urgent = mailed(mailbox, message(item(asker="nobody", question={"priority": "urgent"})))
    assert urgent["Reply-To"] is None
    assert urgent["Importance"] == "high"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_is_shown_and_does_nothing(mailbox: Mailbox, text: str) -> None:
    mail = mailed(mailbox, hostile(text))
    assert set(mail.keys()) == set(mailed(mailbox, message(item(asker=None), item())).keys())
    assert mailbox.envelopes[0].rcpt_tos == ["a@example.org"]
    assert len(" ".join(mail["Subject"].split())) <= 150
    assert mail["Subject"].isprintable() or "\u200d" in mail["Subject"]
    plain, page = parts_of(mail)
    seen = Seen(page)
    assert seen.tags.isdisjoint({"script", "img"})
    assert not seen.handlers
    assert all(link.startswith("http://hitl.example.org/") for link in seen.links)
    assert not set(plain + page) & set("\x1b\x00\x07\x08\u202e\u2066")
    assert "49" not in plain
    assert len(page) < 100_000


def test_a_server_that_takes_no_mail_now_is_tried_again_and_one_that_never_will_is_not(
    mailbox: Mailbox,
) -> None:
    for status, at, for_good in (
        (450, "RCPT", False),
        (451, "DATA", False),
        (550, "RCPT", True),
        (554, "DATA", True),
    ):
        mailbox.fail_with(status, at=at, saying="mailbox is \x1b[2Jfull")
        error = not_mailed(mailbox)
        assert error.for_good is for_good
        assert f"127.0.0.1:{mailbox.port}" in str(error)
        assert f"{status} mailbox is " in str(error)
        assert "\x1b" not in str(error)
    assert mailed(mailbox, message())


def test_what_answers_in_place_of_the_server_is_not_believed_for_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        proxy = Mailbox()
        proxy.port = listening.getsockname()[1]
        error = not_mailed(proxy)
        answering.join()
    assert not error.for_good


def test_a_server_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = Mailbox()
        away.port = closed.getsockname()[1]
        error = not_mailed(away)
    assert not error.for_good
    assert f":{away.port}" in str(error)
    assert "Connect call" not in str(error)


@pytest.mark.parametrize(
    ("address", "envelope"),
    [
        ("jörg@example.org", "jörg@example.org"),
        ("a@müller.example", "a@xn--mller-kva.example"),
        ("a+b.c@example.org", "a+b.c@example.org"),
        ("o'neill@example.org", "o'neill@example.org"),
    ],
)
def test_an_address_may_be_in_any_alphabet(mailbox: Mailbox, address: str, envelope: str) -> None:
    asyncio.run(send(message(), Address("email", address), directory(mailbox)))
    assert mailbox.envelopes[0].rcpt_tos == [envelope]
    assert mailbox.received[0]["To"] == envelope


def test_a_server_that_says_nothing_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = Mailbox()
        mute.port = silent.getsockname()[1]
        error = not_mailed(mute)
    assert not error.for_good
    assert 'tls = "tls"' in str(error)


@pytest.mark.parametrize("tls", ["starttls", "none"])
def test_the_port_for_tls_from_the_first_byte_is_not_waited_for_and_it_says_what_to_set(tls: str) -> None:
    never = Mailbox()
    never.port = 465
    error = not_mailed(never, host="192.0.2.1", tls=tls)  # nobody answers there
    assert not error.for_good
    assert 'tls = "tls"' in str(error)


def test_a_server_that_does_not_begin_with_tls_is_told_with_what_to_set(mailbox: Mailbox) -> None:
    assert 'tls = "starttls"' in str(not_mailed(mailbox, tls="tls"))


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize(
    "settings", [{"host": "a..b"}, {"host": "a\0b"}, {"user": "u", "password": "secret\ud800"}]
)
def test_settings_that_cannot_be_sent_are_a_failure_for_good(settings: dict[str, str]) -> None:
    with Mailbox(login=("u", "p")) as guarded:
        error = not_mailed(guarded, **settings)
    assert error.for_good
    assert "[email]" in str(error)
    assert "secret" not in str(error)


def test_what_the_server_said_is_returned_for_the_record(mailbox: Mailbox) -> None:
    said = asyncio.run(send(message(), Address("email", "a@example.org"), directory(mailbox)))
    assert said == f"accepted by 127.0.0.1:{mailbox.port}: taken"


def test_without_email_settings_no_mail_is_sent_and_it_says_what_is_missing() -> None:
    with pytest.raises(DeliveryFailed, match=r"\[email\]") as caught:
        asyncio.run(send(message(), Address("email", "a@example.org"), Directory()))
    assert caught.value.for_good


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_a_login_is_made_and_a_wrong_one_is_told_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with Mailbox(login=("hitl", PASSWORD)) as mailbox:
        assert mailed(mailbox, message(), user="hitl", password=PASSWORD)
        error = not_mailed(mailbox, user="hitl", password="wrong-" + PASSWORD)
    assert error.for_good
    assert PASSWORD not in f"{error} {error.__cause__} {error.__context__!r}"
    assert PASSWORD not in caplog.text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of this machine, with its key."""
    return self_signed(tmp_path / "server.pem")


def test_starttls_is_used_where_the_certificate_is_one_to_trust(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(certificate, login=("hitl", PASSWORD)) as mailbox:
        error = not_mailed(mailbox, tls="starttls", user="hitl", password=PASSWORD)
        assert "certificate" in str(error)
        assert not mailbox.received
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert mailed(mailbox, message(), tls="starttls", user="hitl", password=PASSWORD)


def test_a_server_without_starttls_is_given_nothing_unless_the_settings_allow_it(mailbox: Mailbox) -> None:
    error = not_mailed(mailbox, tls="starttls", user="hitl", password=PASSWORD)
    assert error.for_good
    assert "STARTTLS" in str(error)
    assert not mailbox.received
