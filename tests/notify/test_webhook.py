"""Webhooks: the document, its signature, and receivers that refuse it."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from hitl_cli.errors import BadInput
from hitl_cli.notify.channels import http_post
from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.render import html_of, text_of
from hitl_cli.people.contacts import Address, Directory, WebhookSettings, signing_key
from hitl_cli.requests.editable import changed
from hitl_cli.requests.question import Question
from tests.notify.samples import HOSTILE, hostile, item, message

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message
    from tests.notify.receivers import HttpReceiver, Posted

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, no more").decode()


def posted(receiver: HttpReceiver, sent: Message, secret: str | None = SECRET) -> Posted:
    settings = Directory(webhooks=WebhookSettings(secret=secret))
    asyncio.run(send(sent, Address("webhook", receiver.url), settings))
    return receiver.received[-1]


def not_posted(receiver: HttpReceiver) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        posted(receiver, message())
    return caught.value


def test_a_webhook_says_what_is_asked(receiver: HttpReceiver) -> None:
    document = posted(receiver, message()).json
    assert document["type"] == "hitl.asked"
    assert document["timestamp"] == "2026-11-21T12:01:00.000Z"
    data = document["data"]
    assert (data["to"], data["thread"]) == ("reviewer", "deploy-7:1")
    [request] = data["requests"]
    assert request["id"] == "deploy-7:1"
    assert request["details"]["checks"] == {"unit": 212, "failed": 0}
    assert request["asked_at"] == "2026-11-21T12:00:00.000Z"
    assert request["deadline"] == "2026-11-23T12:00:00.000Z"
    assert request["url"] == "http://hitl.example.org/l/SIGNED"
    assert request["outcome"] is None


def test_the_reference_reader_of_standard_webhooks_accepts_it(receiver: HttpReceiver) -> None:
    came = posted(receiver, message())
    assert Webhook(SECRET).verify(came.body, dict(came.headers)) == came.json
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(came.body + b" ", dict(came.headers))


def test_a_message_sent_twice_has_the_same_id(receiver: HttpReceiver) -> None:
    first, again = posted(receiver, message()), posted(receiver, message())
    other = posted(receiver, message(occasion="reminder"))
    assert first.headers["webhook-id"] == again.headers["webhook-id"] != other.headers["webhook-id"]
    assert first.body == again.body


def test_a_worker_uses_a_connection_again_and_returns_no_cookie(receiver: HttpReceiver) -> None:
    async def twice() -> None:
        for _ in range(2):
            await send(message(), Address("webhook", receiver.url), Directory())

    async def kept() -> None:
        connections = http_post.Connections()
        http_post.kept.set(connections)
        await twice()
        await connections.close()

    receiver.fail_with(200, 4, {"Set-Cookie": "session=1; Path=/"})
    asyncio.run(twice())
    assert receiver.connections == 2
    asyncio.run(kept())
    assert receiver.connections == 3
    assert not [came for came in receiver.received if "cookie" in came.headers]


def test_without_a_secret_it_is_not_signed(receiver: HttpReceiver) -> None:
    came = posted(receiver, message(), None)
    assert "webhook-signature" not in came.headers
    assert came.headers["webhook-id"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_arrives_as_it_is_and_is_signed(receiver: HttpReceiver, text: str) -> None:
    came = posted(receiver, hostile(text))
    assert Webhook(SECRET).verify(came.body, dict(came.headers)) == came.json
    assert came.json["data"]["requests"][0]["prompt"] == text
    assert set(came.headers) == set(posted(receiver, message()).headers)


@pytest.mark.parametrize(
    ("status", "for_good"),
    [
        (204, None),
        (301, False),
        (400, True),
        (404, True),
        (408, False),
        (410, True),
        (429, False),
        (500, False),
    ],
)
def test_what_a_status_means(receiver: HttpReceiver, status: int, for_good: bool | None) -> None:
    receiver.fail_with(status)
    if for_good is None:
        posted(receiver, message())
        return
    error = not_posted(receiver)
    assert error.for_good is for_good
    assert str(status) in str(error)
    assert receiver.url not in str(error)


@pytest.mark.parametrize(
    ("header", "after_ms"), [("120", 120_000), ("9" * 30, 86_400_000), ("soon", None), ("-1", None)]
)
def test_a_receiver_says_for_how_long_it_is_to_be_left_alone(
    receiver: HttpReceiver, header: str, after_ms: int | None
) -> None:
    receiver.fail_with(429, headers={"Retry-After": header})
    assert not_posted(receiver).after_ms == after_ms


def test_a_redirect_is_not_followed(receiver: HttpReceiver) -> None:
    receiver.fail_with(307, headers={"Location": receiver.url})
    not_posted(receiver)
    assert len(receiver.received) == 1


def test_a_receiver_that_is_away_is_tried_again_and_only_its_host_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/T0/secret"
        with pytest.raises(DeliveryFailed, match=r"127\.0\.0\.1") as caught:
            asyncio.run(send(message(), Address("webhook", url), Directory()))
    assert not caught.value.for_good
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[", "http://.", f"http://{'a' * 70}.example/", "http://h:99999/"])
def test_an_address_that_cannot_be_is_not_tried_again(url: str) -> None:
    with pytest.raises(DeliveryFailed, match="not a valid URL") as caught:
        asyncio.run(send(message(), Address("webhook", url), Directory()))
    assert caught.value.for_good


def test_a_receiver_that_says_nothing_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_post, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DeliveryFailed, match="did not respond") as caught:
            asyncio.run(send(message(), Address("webhook", url), Directory()))
    assert not caught.value.for_good


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!", SECRET.removeprefix("whsec_")]
)
def test_a_secret_that_is_none_is_told_how_to_make_one(secret: str) -> None:
    with pytest.raises(BadInput, match="openssl rand"):
        signing_key(secret)


def test_a_decision_is_told_with_what_came_of_it(receiver: HttpReceiver) -> None:
    over = item(outcome="approved", by="lead", choice="ship")
    [request] = posted(receiver, message(over, occasion="approved")).json["data"]["requests"]
    assert (request["outcome"], request["by"], request["choice"]) == ("approved", "lead", "ship")


def test_a_decision_is_told_with_what_it_changed(receiver: HttpReceiver) -> None:
    asked: dict[str, Any] = {"prompt": "Pay?", "arguments": {"amount": 120}, "editable": True}
    changes = changed(Question(**asked), {"amount": 80})
    over = item(outcome="approved", by="lead", question=asked, changes=changes)
    told = message(over, occasion="approved")
    [request] = posted(receiver, told).json["data"]["requests"]
    assert request["changes"] == [{"path": "amount", "before": 120, "now": 80}]
    assert "amount: 120 → 80" in text_of(told)
    assert "amount: 120 → 80" in html_of(told)
