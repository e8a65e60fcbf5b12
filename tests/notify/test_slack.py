"""Slack: messages for an incoming webhook, within Slack's limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.channels.slack import payload
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.contacts import Address, Directory, HookSettings
from tests.notify.samples import HOSTILE, hostile, item, message

if TYPE_CHECKING:
    from tests.notify.receivers import HttpReceiver

LIMITS = {"header": 150, "section": 3_000, "field": 2_000, "button": 75, "context": 3_000}


def of_type(kind: str, document: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in document["blocks"] if block["type"] == kind]


def texts(value: Any) -> list[str]:
    """All texts that Slack would show, wherever they are."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [text for inner in value.values() for text in texts(inner)]
    return [text for inner in value for text in texts(inner)] if isinstance(value, list) else []


def held_to_limits(document: dict[str, Any]) -> None:
    assert 1 <= len(document["blocks"]) <= 50
    for block in document["blocks"]:
        for element in [block, *block.get("elements", []), *filter(None, [block.get("accessory")])]:
            if isinstance(text := element.get("text"), dict):
                assert 0 < len(text["text"]) <= LIMITS[element["type"]]
        for field in block.get("fields", []):
            assert 0 < len(field["text"]) <= LIMITS["field"]
        assert len(block.get("fields", [])) <= 10


def test_a_request_is_posted_with_its_facts_and_a_link(receiver: HttpReceiver) -> None:
    asyncio.run(send(message(), Address("slack", receiver.url), Directory()))
    document = receiver.received[0].json
    assert document["text"] == "Ship release 1.4.2?"
    assert of_type("header", document)[0]["text"]["text"] == "Ship release 1.4.2?"
    assert "*version*\n1.4.2" in texts(document)
    assert "All checks are *green*." in texts(document)
    [button] = of_type("actions", document)[0]["elements"]
    assert button["url"] == "http://hitl.example.org/l/SIGNED"
    held_to_limits(document)


def test_where_clicks_come_back_a_plain_yes_or_no_is_answered_in_slack(receiver: HttpReceiver) -> None:
    directory = Directory(hooks={"slack": HookSettings(secret="0123456789abcdef", kind="slack")})
    asyncio.run(send(message(), Address("slack", receiver.url), directory))
    buttons = of_type("actions", receiver.received[0].json)[0]["elements"]
    assert [(button["action_id"], button.get("value")) for button in buttons] == [
        ("hitl:approve", "deploy-7:1"),
        ("hitl:reject", "deploy-7:1"),
        ("hitl:open", None),
    ]
    choosing = payload(message(item(question={"choices": ("ship", "hold")})), clickable=True)
    assert [one["action_id"] for one in of_type("actions", choosing)[0]["elements"]] == ["hitl:open"]


@pytest.mark.parametrize(
    ("question", "whole"),
    [
        ({"arguments": {"argv": ["rm", "build"]}}, True),
        ({"arguments": "rm build"}, True),
        ({"arguments": {"argv": ["echo", "ok" + " " * 200 + "; rm -r /"]}}, False),
        ({"arguments": "ok" + " " * 200 + "; rm -r /"}, False),
        ({"arguments": {"argv": ["&" * 150]}}, False),
        ({"arguments": {"text": "\u202egnp"}}, False),
        ({"arguments": {"$view": "diff", "text": "-a\n+b"}}, False),
        ({"arguments": {"n": 1}, "details": {f"row {n}": n for n in range(10)}}, False),
    ],
)
def test_what_a_message_does_not_show_whole_is_not_approved_in_slack(
    question: dict[str, Any], whole: bool
) -> None:
    shown = payload(message(item(question=question)), clickable=True)
    actions = [one["action_id"] for one in of_type("actions", shown)[0]["elements"]]
    assert ("hitl:approve" in actions) is whole


@pytest.mark.parametrize("proof", ["signed", "passkey"])
def test_what_needs_a_signature_is_not_approved_in_slack_and_it_says_how_to_sign(proof: str) -> None:
    signed = item(question={"proof": proof})
    shown = payload(message(signed), clickable=True)
    assert [one["action_id"] for one in of_type("actions", shown)[0]["elements"]] == ["hitl:open"]
    several = payload(message(signed, item(), occasion="digest"), clickable=True)
    for document in (shown, several):
        said = "\n".join(texts(document))
        assert "passkey" in said
        assert ("hitl approve deploy-7:1 --sign" in said) is (proof == "signed")


def test_a_digest_and_a_test_are_posted_too() -> None:
    several = payload(
        message(*[item(title=f"Number {n}?") for n in range(60)], occasion="digest"), clickable=True
    )
    held_to_limits(several)
    assert "Number 0?" in texts(several)
    held_to_limits(payload(message(occasion="test", items=()), clickable=True))


def test_what_came_of_it_is_said() -> None:
    over = payload(
        message(item(outcome="rejected", by="lead", reason="over budget"), occasion="rejected"),
        clickable=True,
    )
    assert any("Rejected by lead (over budget)" in text for text in texts(over))
    assert [one["action_id"] for one in of_type("actions", over)[0]["elements"]] == ["hitl:open"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_mentions_and_links_nothing(text: str) -> None:
    bad = hostile(text)
    for sent in (bad, message(bad.items[0]), message(bad.items[1])):
        document = payload(sent, clickable=True)
        held_to_limits(document)
        assert not any("<" in shown or ">" in shown for shown in texts(document))
        assert document.get("mrkdwn", True) is not bool(set(document["text"]) & set("*_~`"))
        fields = [field for block in of_type("section", document) for field in block.get("fields", [])]
        read = [field["text"].replace("*", "", 2) for field in fields if field["type"] == "mrkdwn"]
        assert not any(
            set(shown) & set("*_~`") or "&gt;" in shown[:4] or ":skull:" in shown for shown in read
        )
        assert not set("".join(texts(document))) & set("\x1b\x00\x07\u202e\u2066")


def test_the_texts_are_cut_where_slack_says_and_never_inside_an_escape() -> None:
    document = payload(message(item(title="<&>" * 500, question={"prompt": "&" * 9_000})), clickable=False)
    held_to_limits(document)
    for text in texts(document):
        assert text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0


def test_an_address_that_is_gone_is_not_tried_again_and_not_shown(receiver: HttpReceiver) -> None:
    receiver.fail_with(404)
    with pytest.raises(DeliveryFailed) as caught:
        asyncio.run(send(message(), Address("slack", receiver.url + "/T0/B0/secret"), Directory()))
    assert caught.value.for_good
    assert "secret" not in str(caught.value)
