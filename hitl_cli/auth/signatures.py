"""Signatures on what is sent and received over HTTP: Standard Webhooks, and Slack's.

Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. Slack's:
HMAC-SHA256 over `v0:timestamp:body`. Timestamps are seconds since the epoch.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from hitl_cli.errors import HitlError

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE_S = 300
"""How far the sender's clock may be from ours: what is older may be a copy of what somebody overheard."""

TIMESTAMP_DIGITS = 12
LONGEST_ID = 256


class BadSignature(HitlError):
    """Nobody who knows the secret has signed this, or not now."""

    code = "signature-invalid"


def signature(key: bytes, id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature of Standard Webhooks."""
    said = b".".join((as_sent(id), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, said, "sha256")).decode()


def verified_id(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """Return the id of a message that is signed by Standard Webhooks. Raises BadSignature.

    It is the same each time that the same message is sent.
    """
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ")
    if not id or len(id) > LONGEST_ID or not timestamp or not any(given):
        raise BadSignature("this is not signed: it needs webhook-id, webhook-timestamp, webhook-signature.")
    expected = signature(key, id, _timely(timestamp, now_s), body).encode()
    if not any(hmac.compare_digest(expected, as_sent(one)) for one in given):
        raise BadSignature("the signature is not one of this message and this secret.")
    return id


def slack_signature(key: bytes, timestamp_s: int, body: bytes) -> str:
    """Return Slack's signature."""
    return "v0=" + hmac.digest(key, b"v0:%d:" % timestamp_s + body, "sha256").hex()


def verify_slack(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> None:
    """Raise BadSignature unless Slack has signed a message, and now."""
    timestamp, given = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
    if not timestamp or not given:
        raise BadSignature("this is not signed: it needs X-Slack-Request-Timestamp and X-Slack-Signature.")
    expected = slack_signature(key, _timely(timestamp, now_s), body)
    if not hmac.compare_digest(expected.encode(), as_sent(given)):
        raise BadSignature("the signature is not one of this message and this secret.")


def as_sent(header: str) -> bytes:
    """Return the bytes of a header, which need not be text (aiohttp reads them so)."""
    return header.encode(errors="surrogateescape")


def _timely(timestamp: str, now_s: int) -> int:
    """Return a timestamp that is near enough to now. Raises BadSignature."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= TIMESTAMP_DIGITS):
        raise BadSignature("the timestamp of this message is none: seconds since 1970 are wanted.")
    if abs(int(timestamp) - now_s) > TOLERANCE_S:
        raise BadSignature("this message was signed too long ago, or the sender's clock is wrong.")
    return int(timestamp)
