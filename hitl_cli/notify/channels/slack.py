"""Messages in Slack through an incoming webhook, in Block Kit, with buttons that are links.

With `[hooks.NAME] kind = "slack"`, requests without a form or choices have Approve and Reject buttons: Slack
sends the clicks to the gateway (hitl_cli/gateway/hooks.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.format.urls import host_of
from hitl_cli.notify.channels.http_post import post
from hitl_cli.notify.phrases import (
    PROMPT_CHARS,
    SIGNATURE,
    SUBJECT_CHARS,
    TITLE_CHARS,
    body_of,
    content_of,
    facts_of,
    is_yes_or_no,
    lead_of,
    outcome_of,
    shows_arguments,
    subject_of,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.notify.messages import Message, MessageItem
    from hitl_cli.notify.phrases import Fact
    from hitl_cli.people.contacts import Directory
    from hitl_cli.requests.question import Question

type Block = dict[str, Any]

SECTION_CHARS = 3_000
FIELDS = 10
FIELD_CHARS = 500
BUTTON_VALUE_CHARS = 2_000
"""Slack's limits (fields are cut shorter): https://docs.slack.dev/reference/block-kit/blocks."""

ITEMS = 15
"""Requests that a message lists at most. Slack allows 50 blocks."""

MARKS = re.compile(r"[*_~`]|^>|:[^\s:]+:", re.MULTILINE)
"""Markup of Slack's mrkdwn besides `<`: bold, quotations, emoji."""

APPROVE, REJECT = "hitl:approve", "hitl:reject"
"""The ids of the buttons that decide."""


async def send(message: Message, to: str, directory: Directory) -> None:
    """Post a message to the URL of an incoming webhook. Raises DeliveryFailed."""
    clickable = any(hook.kind == "slack" for hook in directory.hooks.values())
    await post(to, msgspec.json.encode(payload(message, clickable=clickable)))


def shown(to: str) -> str:
    """Return the scheme and host of a URL. The rest is secret."""
    return host_of(to)


def payload(message: Message, *, clickable: bool) -> dict[str, Any]:
    """Return a message as a Slack payload. `clickable` says whether Slack sends clicks to the gateway."""
    if len(message.items) == 1:
        blocks = _blocks_of_one(message, message.items[0], clickable=clickable)
    else:
        blocks = _blocks_of_several(message)
    return text_of(subject_of(message), SUBJECT_CHARS) | {"blocks": blocks}


def _blocks_of_one(message: Message, item: MessageItem, *, clickable: bool) -> list[Block]:
    """Return the blocks of a message about one request."""
    blocks: list[Block] = [
        {"type": "header", "text": _plain(title_of(item), SUBJECT_CHARS)},
        {"type": "context", "elements": [_plain(lead_of(message), TITLE_CHARS)]},
    ]
    if text := "\n".join(filter(None, (outcome_of(item), body_of(item)))):
        blocks.append({"type": "section", "text": _plain(text, SECTION_CHARS)})
    for facts in (content_of(item.question), facts_of(item, message.at)):
        blocks += [{"type": "section", "fields": _fields(facts)}] if facts else []
    return [*blocks, {"type": "actions", "elements": _buttons(item, clickable=clickable)}]


def _blocks_of_several(message: Message) -> list[Block]:
    """Return the blocks of a message about several requests or none: a line and a button for each."""
    blocks: list[Block] = [{"type": "section", "text": _plain(lead_of(message), TITLE_CHARS)}]
    for item in message.items[:ITEMS]:
        sign = [fact.text for fact in facts_of(item, message.at) if fact.name == SIGNATURE]
        text = "\n".join(filter(None, (title_of(item), outcome_of(item), *sign)))
        button = _link("Answer…" if item.outcome is None else "Details", item.url)
        blocks.append({"type": "section", "text": _plain(text, PROMPT_CHARS), "accessory": button})
    return [*blocks, {"type": "actions", "elements": [_link("Open your inbox", message.inbox)]}]


def _buttons(item: MessageItem, *, clickable: bool) -> list[Block]:
    """Return the buttons: a link to the page, and if possible Approve and Reject."""
    if item.outcome is not None:
        return [_link("See the decision", item.url)]
    answerable = is_yes_or_no(item) and _shows_arguments(item.question)
    if not clickable or not answerable or len(item.request) > BUTTON_VALUE_CHARS:
        return [_link("Answer…", item.url, "primary")]
    return [
        _answer("Approve", APPROVE, item.request, "primary"),
        _answer("Reject", REJECT, item.request, "danger"),
        _link("Open page", item.url),
    ]


def _shows_arguments(question: Question) -> bool:
    """Whether the blocks of a request show all of its arguments; otherwise there is no Approve button."""
    facts = content_of(question)
    return question.arguments is None or (
        shows_arguments(question)
        and len(facts) <= FIELDS
        and escaped(facts[-1].text, FIELD_CHARS) == escaped(facts[-1].text, 2 * FIELD_CHARS)
    )


def _link(text: str, url: str, style: str | None = None) -> Block:
    button = {"type": "button", "text": _plain(text, TITLE_CHARS), "url": url, "action_id": "hitl:open"}
    return button | ({"style": style} if style else {})


def _answer(text: str, action: str, request: str, style: str) -> Block:
    """Return a button that decides, after the person has confirmed."""
    return {
        "type": "button",
        "text": _plain(text, TITLE_CHARS),
        "action_id": action,
        "value": request,
        "style": style,
        "confirm": {
            "title": _plain("Are you sure?", TITLE_CHARS),
            "text": _plain("Your decision is recorded with your name.", TITLE_CHARS),
            "confirm": _plain(text, TITLE_CHARS),
            "deny": _plain("Cancel", TITLE_CHARS),
        },
    }


def _fields(facts: Sequence[Fact]) -> list[Block]:
    return [_field(fact) for fact in facts[:FIELDS]]


def _field(fact: Fact) -> Block:
    """Return a fact as a field. Its name is bold unless Slack would see markup in the fact."""
    name, text = escaped(fact.name, FIELD_CHARS), escaped(fact.text, FIELD_CHARS)
    if MARKS.search(f"{fact.name}\n{fact.text}"):
        return {"type": "plain_text", "text": f"{name}\n{text}", "emoji": False}
    return {"type": "mrkdwn", "text": f"*{name}*\n{text}", "verbatim": True}


def text_of(text: str, limit: int) -> dict[str, Any]:
    """Return a text outside of blocks, without markup."""
    return {"text": escaped(text, limit)} | ({"mrkdwn": False} if MARKS.search(text) else {})


def _plain(text: str, limit: int) -> Block:
    """Return a text block without markup, mentions or links."""
    return {"type": "plain_text", "text": escaped(text, limit), "emoji": False}


def escaped(text: str, limit: int) -> str:
    """Return an escaped text without mentions or links, cut to a number of characters."""
    while len(safe := text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) > limit:
        text = text[: len(text) - max((len(safe) - limit) // 4, 2)] + "…"
    return safe
