"""Messages in Slack, by an incoming webhook: Block Kit, with buttons that are links.

With `[hooks.NAME] kind = "slack"` a plain yes or no can be answered in Slack itself: a click on such a button
comes back to the gateway (hitl_cli/gateway/hooks.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.notify.channels.http_post import host_of, post
from hitl_cli.notify.phrases import (
    PROMPT_CHARS,
    SUBJECT_CHARS,
    TITLE_CHARS,
    body_of,
    details_of,
    facts_of,
    is_yes_or_no,
    lead_of,
    outcome_of,
    subject_of,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.notify.messages import Message, MessageItem
    from hitl_cli.notify.phrases import Fact
    from hitl_cli.people.contacts import Directory

type Block = dict[str, Any]

SECTION_CHARS = 3_000
FIELDS = 10
FIELD_CHARS = 500
BUTTON_VALUE_CHARS = 2_000
"""What Slack takes, and for fields less than that: https://docs.slack.dev/reference/block-kit/blocks."""

ITEMS = 15
"""The most requests that one message lists: a message has 50 blocks."""

MARKS = re.compile(r"[*_~`]|^>|:[^\s:]+:", re.MULTILINE)
"""What Slack's mrkdwn makes something else of, besides `<`: bold, a quotation, an emoji."""

APPROVE, REJECT = "hitl:approve", "hitl:reject"
"""The ids of the buttons that decide."""


async def send(message: Message, to: str, directory: Directory) -> None:
    """Post a message to the URL of an incoming webhook. Raises DeliveryFailed."""
    clickable = any(hook.kind == "slack" for hook in directory.hooks.values())
    await post(to, msgspec.json.encode(payload(message, clickable=clickable)))


def shown(to: str) -> str:
    """Return the host of a URL: the rest of it is a secret."""
    return host_of(to)


def payload(message: Message, *, clickable: bool) -> dict[str, Any]:
    """Return a message as Slack takes it; `clickable` tells whether clicks come back to the gateway."""
    if len(message.items) == 1:
        blocks = _blocks_of_one(message, message.items[0], clickable=clickable)
    else:
        blocks = _blocks_of_several(message)
    return text_of(subject_of(message), SUBJECT_CHARS) | {"blocks": blocks}


def _blocks_of_one(message: Message, item: MessageItem, *, clickable: bool) -> list[Block]:
    """Return a message about one request."""
    blocks: list[Block] = [
        {"type": "header", "text": _plain(title_of(item), SUBJECT_CHARS)},
        {"type": "context", "elements": [_plain(lead_of(message), TITLE_CHARS)]},
    ]
    if text := "\n".join(filter(None, (outcome_of(item), body_of(item)))):
        blocks.append({"type": "section", "text": _plain(text, SECTION_CHARS)})
    for facts in (details_of(item.question.details), facts_of(item, message.at)):
        blocks += [{"type": "section", "fields": _fields(facts)}] if facts else []
    return [*blocks, {"type": "actions", "elements": _buttons(item, clickable=clickable)}]


def _blocks_of_several(message: Message) -> list[Block]:
    """Return a message about several requests, or none: a line and a button each."""
    blocks: list[Block] = [{"type": "section", "text": _plain(lead_of(message), TITLE_CHARS)}]
    for item in message.items[:ITEMS]:
        text = "\n".join(filter(None, (title_of(item), outcome_of(item))))
        button = _link("Answer…" if item.outcome is None else "See it", item.url)
        blocks.append({"type": "section", "text": _plain(text, PROMPT_CHARS), "accessory": button})
    return [*blocks, {"type": "actions", "elements": [_link("All that waits", message.inbox)]}]


def _buttons(item: MessageItem, *, clickable: bool) -> list[Block]:
    """Return the buttons: links to the page, and for a plain yes or no also the answers themselves."""
    if item.outcome is not None:
        return [_link("See what came of it", item.url)]
    if not clickable or not is_yes_or_no(item) or len(item.request) > BUTTON_VALUE_CHARS:
        return [_link("Answer…", item.url, "primary")]
    return [
        _answer("Approve", APPROVE, item.request, "primary"),
        _answer("Reject", REJECT, item.request, "danger"),
        _link("Open the page", item.url),
    ]


def _link(text: str, url: str, style: str | None = None) -> Block:
    button = {"type": "button", "text": _plain(text, TITLE_CHARS), "url": url, "action_id": "hitl:open"}
    return button | ({"style": style} if style else {})


def _answer(text: str, action: str, request: str, style: str) -> Block:
    """Return a button that decides, once one has said so again."""
    return {
        "type": "button",
        "text": _plain(text, TITLE_CHARS),
        "action_id": action,
        "value": request,
        "style": style,
        "confirm": {
            "title": _plain("Are you sure?", TITLE_CHARS),
            "text": _plain("Your answer goes on the record with your name.", TITLE_CHARS),
            "confirm": _plain(text, TITLE_CHARS),
            "deny": _plain("Not yet", TITLE_CHARS),
        },
    }


def _fields(facts: Sequence[Fact]) -> list[Block]:
    return [_field(fact) for fact in facts[:FIELDS]]


def _field(fact: Fact) -> Block:
    """Return a fact, its name in bold unless Slack would read marks in either."""
    name, text = escaped(fact.name, FIELD_CHARS), escaped(fact.text, FIELD_CHARS)
    if MARKS.search(f"{fact.name}\n{fact.text}"):
        return {"type": "plain_text", "text": f"{name}\n{text}", "emoji": False}
    return {"type": "mrkdwn", "text": f"*{name}*\n{text}", "verbatim": True}


def text_of(text: str, limit: int) -> dict[str, Any]:
    """Return a text outside of blocks, in which Slack reads no marks."""
    return {"text": escaped(text, limit)} | ({"mrkdwn": False} if MARKS.search(text) else {})


def _plain(text: str, limit: int) -> Block:
    """Return a text in which Slack reads no marks, names or links."""
    return {"type": "plain_text", "text": escaped(text, limit), "emoji": False}


def escaped(text: str, limit: int) -> str:
    """Return a text in which nothing mentions or links, in at most so many characters as Slack counts."""
    while len(safe := text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) > limit:
        text = text[: len(text) - max((len(safe) - limit) // 4, 2)] + "…"
    return safe
