"""Apprise, the console, and invalid addresses."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from hitl_cli.notify.channels import console
from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.contacts import Address, Directory
from tests.notify.samples import HOSTILE, hostile, item, message

if TYPE_CHECKING:
    from tests.notify.receivers import HttpReceiver, Mailbox


def to_apprise(url: str) -> None:
    asyncio.run(send(message(), Address("apprise", url), Directory()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_apprise_takes_a_message_to_whatever_service_it_knows(receiver: HttpReceiver) -> None:
    to_apprise(receiver.url.replace("http:", "json:"))
    came = receiver.received[0].json
    assert came["title"] == "Ship release 1.4.2?"
    assert "http://hitl.example.org/l/SIGNED" in came["message"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_title_of_a_mail_that_apprise_writes_is_not_decoded(mailbox: Mailbox) -> None:
    url = f"mailto://127.0.0.1:{mailbox.port}/?from=hitl@example.org&to=a@example.org&mode=insecure"
    for subject in ("Ship it?", HOSTILE["encoded"], "=?utf-8?q?=C3=A9?= " * 6 + "é"):
        asyncio.run(send(message(subject=subject), Address("apprise", url), Directory()))
        assert mailbox.received[-1]["Subject"] == subject.strip()
        assert "Bcc" not in mailbox.received[-1]


def test_a_service_that_does_not_take_it_is_tried_again(receiver: HttpReceiver) -> None:
    receiver.fail_with(500)
    with pytest.raises(DeliveryFailed, match="json://… did not accept it") as caught:
        to_apprise(receiver.url.replace("http:", "json:"))
    assert not caught.value.for_good


def test_an_address_that_apprise_does_not_know_is_not_tried_again_and_not_shown() -> None:
    with pytest.raises(DeliveryFailed, match="nonsense://… is not a URL") as caught:
        to_apprise("nonsense://token@secret")
    assert caught.value.for_good
    assert "secret" not in str(caught.value)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryFailed, match=r'pip install "resonate-hitl\[apprise\]"') as caught:
        to_apprise("ntfy://topic")
    assert caught.value.for_good


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_on_the_terminal_it_is_a_line_with_the_link(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(send(message(), Address("console"), Directory()))
    assert printed(capsys) == "reviewer: Ship release 1.4.2? http://hitl.example.org/l/SIGNED\n"


@pytest.mark.parametrize(("said", "kept"), [(None, None), (object(), None), ("a\x1b\nb", "a\\x1b b")])
def test_what_a_channel_returns_is_kept_if_it_is_text(
    monkeypatch: pytest.MonkeyPatch, said: object, kept: str | None
) -> None:
    async def sends(*_: object) -> object:
        return said

    monkeypatch.setattr(console, "send", sends)
    assert asyncio.run(send(message(), Address("console"), Directory())) == kept


def test_on_the_terminal_several_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    several = message(item(title="One?"), item(title="Two?"), occasion="digest", subject="2 wait")
    asyncio.run(send(several, Address("console"), Directory()))
    assert printed(capsys).splitlines() == [
        "reviewer: 2 wait http://hitl.example.org/",
        "  One? http://hitl.example.org/l/SIGNED",
        "  Two? http://hitl.example.org/l/SIGNED",
    ]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_terminal_obeys_nothing(capsys: pytest.CaptureFixture[str], text: str) -> None:
    asyncio.run(send(hostile(text), Address("console"), Directory()))
    said = printed(capsys)
    assert len(said.splitlines()) == 3
    assert not set(said) & set("\x1b\x00\x07\x08\r\u202e\u2066\u2028")
