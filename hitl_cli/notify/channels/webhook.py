"""Messages as JSON documents, posted to a URL and signed by Standard Webhooks (docs/guides/webhooks.md).

A message has the same `webhook-id` each time it is sent, so that receivers can drop duplicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from hitl_cli.auth.signatures import signature
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.format.times import iso
from hitl_cli.format.urls import host_of
from hitl_cli.notify.channels.http_post import post
from hitl_cli.people.contacts import signing_key

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message, MessageItem
    from hitl_cli.people.contacts import Directory

_ASKED = (
    *("prompt", "details", "arguments", "arguments_digest", "editable", "form", "choices"),
    *("to", "approvals", "approvals_by", "proof", "priority", "link"),
)
_KNOWN = ("url", "answer_url", "outcome", "by", "reason", "choice", "changes", "asked_back", "deputy_for")
"""The fields of the question, and of the message's item, that are copied."""


async def send(message: Message, to: str, directory: Directory) -> None:
    """Post a message to a URL, signed if the settings have a secret. Raises DeliveryFailed."""
    secret = directory.webhooks.secret
    body = msgspec.json.encode(document(message))
    await post(to, body, headers_of(message.key, body, secret))


def headers_of(id: str, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the headers of Standard Webhooks, with a signature if there is a secret."""
    timestamp_s = now_ms() // 1_000
    headers = {"webhook-id": id, "webhook-timestamp": str(timestamp_s)}
    if secret is not None:
        headers["webhook-signature"] = signature(signing_key(secret), id, timestamp_s, body)
    return headers


def shown(to: str) -> str:
    """Return the scheme and host of a URL. The rest may be secret."""
    return host_of(to)


def document(message: Message) -> dict[str, Any]:
    """Return a message as JSON: `type`, `timestamp` and `data`, as in Standard Webhooks."""
    return {
        "type": f"hitl.{message.occasion}",
        "timestamp": iso(message.at),
        "data": {
            "to": message.to,
            "subject": message.subject,
            "thread": message.thread,
            "inbox": message.inbox,
            "requests": [_request_document(item) for item in message.items],
        },
    }


def _request_document(item: MessageItem) -> dict[str, Any]:
    """Return a request as JSON."""
    question = item.question
    return {
        "id": item.request,
        "run": item.workflow,
        "workflow": item.workflow,
        "title": item.title,
        **{name: getattr(question, name) for name in _ASKED},
        "to": question.asked_at(0),  # with the groups that must approve
        "asker": item.asker,
        "asked_at": iso(item.asked_at),
        "deadline": iso(item.deadline),
        **{name: getattr(item, name) for name in _KNOWN},
    }
