"""Sample messages, and hostile texts for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.notify.messages import Message, MessageItem
from hitl_cli.requests.question import Question

if TYPE_CHECKING:
    from hitl_cli.requests.notification import Occasion

NOON = 1_795_262_400_000  # 2026-11-21T12:00:00Z
DAY = 86_400_000

HOSTILE = {
    "header": "Hello\r\nBcc: everyone@example.org\r\n\r\n<h1>owned</h1>",
    "encoded": "=?utf-8?q?a=0D=0ABcc=3A_evil=40example=2Eorg=0D=0A=0D=0A=3Ch1=3E?= x",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;\"'",
    "template": "{{ 7 * 7 }}{% raw %}${7*7}",
    "slack": "<!channel> <https://evil.example|your bank> *bold* &lt;",
    "marks": "> __init__.py *bold* ~no~ `code` :skull: [your bank](https://evil.example) @everyone",
    "backwards": "pay \u202egnp.exe\u202c now \u2066x\u2069",
    "terminal": "\x1b[2J\x1b]0;owned\x07\x00\x08",
    "long": "word " * 2_000,
    "emoji": "Ship it 🚢 👩\u200d🚀 שלום مرحبا 你好",
    "lines": "one\n\n\ntwo\u2028three\x85four",
}


def item(**changes: Any) -> MessageItem:
    """A request for a plain yes or no."""
    question = changes.pop("question", {})
    plain = MessageItem(
        request="deploy-7:1",
        workflow="deploy-7",
        title="Ship release 1.4.2?",
        question=Question(
            prompt="Ship release 1.4.2?\n\nAll checks are *green*.",
            details={"version": "1.4.2", "risk": "low", "checks": {"unit": 212, "failed": 0}},
        ),
        asker="lead",
        asked_at=NOON,
        deadline=NOON + 2 * DAY,
        url="http://hitl.example.org/l/SIGNED",
    )
    return msgspec.structs.replace(
        plain, question=msgspec.structs.replace(plain.question, **question), **changes
    )


def message(*items: MessageItem, occasion: Occasion = "asked", **changes: Any) -> Message:
    """A message to the reviewer about requests, by default one."""
    about = items or (item(),)
    plain = Message(
        id=f"deploy-7:1 {occasion} reviewer",
        occasion=occasion,
        to="reviewer",
        subject="Ship release 1.4.2?",
        thread="deploy-7:1",
        items=about,
        inbox="http://hitl.example.org/",
        at=NOON + 60_000,
    )
    return msgspec.structs.replace(plain, **changes)


def hostile(text: str) -> Message:
    """A message with the same text wherever a request or a person may put one."""
    bad = item(
        request=text,
        workflow=text,
        title=text,
        asker=text,
        question={"prompt": text, "details": {text: text, "list": [text]}, "choices": (text, "other")},
    )
    over = msgspec.structs.replace(bad, outcome="rejected", by=text, reason=text, choice=text)
    return message(bad, over, id=text, to=text, subject=text, thread=text)
