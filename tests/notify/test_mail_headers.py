"""Headers of mails: whatever a text has in it, the mail has the headers that were set, and that text."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default as modern
from email.utils import parseaddr
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hitl_cli.builtin.verification_api import normal_address
from hitl_cli.errors import BadInput
from hitl_cli.format.mail_headers import Mailbox, is_address, mailbox
from hitl_cli.format.terminal import printable
from hitl_cli.notify.channels.email import _compose, mail_of
from hitl_cli.notify.phrases import subject_of
from hitl_cli.people.contacts import Contact, Directory, EmailSettings
from hitl_cli.requests.notification import Occasion
from tests.notify.samples import hostile, item, message

if TYPE_CHECKING:
    from email.message import EmailMessage

    from hypothesis.strategies import SearchStrategy

BCC = "=?utf-8?q?a=0D=0ABcc=3A_evil=40example=2Eorg=0D=0A=0D=0A=3Ch1=3E?= x"
"""What Python 3.12.1 decodes where it is given it for a header, and then writes as it is."""

PIECES = [
    BCC,
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5vcmc=?=",
    "=?us-ascii?q?a?=  =?us-ascii?q?b?=",
    "=?",
    "?=",
    "\r\nBcc: evil@example.org",
    "\r",
    "\n",
    "\x00",
    "\u2028",
    "\x85",
    "\ud800",
    "\udcff",
    "\u0301",
    "\u202e",
    " ",
    "  ",
    '"',
    "\\",
    ",",
    "<",
    "a@b",
    "é",
    "🚢",
    "x" * 10_000,
    "word " * 40,
]


def texts() -> SearchStrategy[str]:
    """Any text, and more often one that a header could be hurt by."""
    any_char = st.characters(exclude_categories=())
    return st.lists(st.sampled_from(PIECES) | st.text(any_char, max_size=80), max_size=6).map("".join)


def parsed(mail: bytes) -> EmailMessage:
    return message_from_bytes(mail, policy=modern)


def names_in(mail: bytes) -> list[str]:
    """The names of the headers in the bytes, by their lines alone."""
    lines = mail.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(len(line) <= 998 and not re.search(rb"[\r\n\0]", line) for line in lines)
    assert all(line.strip() for line in lines)
    return [line.partition(b":")[0].decode() for line in lines if line[:1] not in (b" ", b"\t")]


def name_in(mail: bytes) -> str:
    """The name in From; the modern parser puts spaces between the encoded words of a name."""
    name, _ = parseaddr(str(message_from_bytes(mail)["From"]))
    return str(make_header(decode_header(name)))


OF_A_BODY = ["Content-Type", "Content-Transfer-Encoding", "MIME-Version"]


@settings(deadline=None)
@given(text=texts(), name=texts())
@example(text=BCC, name=BCC)
@example(text="x" * 10_000, name="x " * 5_000)
@example(text=" a ", name=" a ")
@example(text="a  b " * 60, name="a  b")
def test_a_text_arrives_as_its_characters_and_no_header_is_added(text: str, name: str) -> None:
    mail = mail_of({"Subject": text, "From": Mailbox(name, "a@example.org")}, "body\n")
    found = parsed(mail)
    assert names_in(mail) == ["Subject", "From", *OF_A_BODY] == found.keys()
    assert found["Subject"] == printable(text)
    assert [sender.addr_spec for sender in found["From"].addresses] == ["a@example.org"]
    assert name_in(mail) == printable(name)
    assert found.get_content().splitlines() == ["body"]


@settings(deadline=None, max_examples=25)
@given(
    text=texts().filter(lambda text: text.isascii() or not re.search("[\ud800-\udfff]", text)),
    occasion=st.sampled_from(get_args(Occasion.__value__)),
)
@example(text=BCC, occasion="asked")
@example(text=BCC, occasion="digest")
@example(text=BCC, occasion="sign-in")
def test_a_message_with_any_text_has_the_headers_of_one_with_none(text: str, occasion: Occasion) -> None:
    asker = Contact(email="asker@example.org")
    directory = Directory(people={text: asker, "lead": asker}, gateway="https://hitl.example.org")
    sends = EmailSettings(host="mail.example.org", from_="Requests <hitl@example.org>")

    def composed(bad: bool) -> list[tuple[bytes, str]]:
        every = hostile(text) if bad else message(item(), item(outcome="rejected"))
        every = msgspec.structs.replace(every, occasion=occasion)
        alone = msgspec.structs.replace(every, items=every.items[:1], to="reviewer")
        bare = msgspec.structs.replace(every, items=())
        sent = [bare] if occasion in ("test", "sign-in") else [every, alone]
        return [(_compose(one, "a@example.org", directory, sends), subject_of(one)) for one in sent]

    for (mail, subject), (plain, _) in zip(composed(bad=True), composed(bad=False), strict=True):
        assert names_in(mail) == names_in(plain)
        assert parsed(mail).keys() == names_in(plain)
        assert parsed(mail)["Subject"] == subject


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("hitl@example.org", "", "hitl@example.org"),
        ("<hitl@example.org>", "", "hitl@example.org"),
        ("Billing, Requests <hitl@example.org>", "Billing, Requests", "hitl@example.org"),
        ('"Billing, Requests" <hitl@example.org>', "Billing, Requests", "hitl@example.org"),
        ("a@b via Requests <hitl@example.org>", "a@b via Requests", "hitl@example.org"),
        ("Requests (do not reply) <hitl@example.org>", "Requests (do not reply)", "hitl@example.org"),
        (r'"The \"A\" team \\ ops" <hitl@example.org>', r'The "A" team \ ops', "hitl@example.org"),
        ("Büro: Ops; 1.0 <hitl@example.org>", "Büro: Ops; 1.0", "hitl@example.org"),
        ("=?utf-8?q?a=0Ab?= <hitl@example.org>", "=?utf-8?q?a=0Ab?=", "hitl@example.org"),
        ("Requests<hitl@müller.example>", "Requests", "hitl@müller.example"),
    ],
)
def test_a_mailbox_is_parsed_once_and_quoted_once(text: str, name: str, address: str) -> None:
    found = mailbox(text)
    assert found == Mailbox(name, address)
    mail = parsed(mail_of({"From": found}, ""))
    [sender] = mail["From"].addresses
    assert sender.display_name == name
    assert sender.addr_spec == address.replace("müller", "xn--mller-kva")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hitl",
        "Requests <hitl>",
        "Requests hitl@example.org",
        "a@example.org, b@example.org",
        "A <a@example.org>, B <b@example.org>",
        "A <a@example.org> b",
        '"A <a@example.org>',
        "A\nBcc: b@example.org <a@example.org>",
        "a@b\nBcc: c@example.org",
        "a@example..org",
        "a\x00@example.org",
        "a\u202e@example.org",
        "=?utf-8?q?a=0D=0ABcc=3Ab?=@example.org",
        f"a@{'x' * 64}.org",
    ],
)
def test_what_is_no_mailbox_is_none(text: str) -> None:
    assert mailbox(text) is None
    assert not is_address(text)


def test_an_address_that_a_mail_program_would_decode_is_not_verified() -> None:
    with pytest.raises(BadInput):
        normal_address("=?utf-8?q?a=0D=0ABcc=3Ab?=@example.org")


@pytest.mark.parametrize("user", ["a..b", ".a", "a.", "a+b", "o'neill"])
def test_what_stands_before_the_at_is_quoted_where_it_must_be(user: str) -> None:
    mail = parsed(mail_of({"To": Mailbox("", f"{user}@example.org")}, ""))
    assert [one.username for one in mail["To"].addresses] == [user]
    assert not mail["To"].defects
