"""Signatures of sent and received webhooks: Standard Webhooks, and Slack's.

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
"""Allowed difference between two clocks. An older message may be replayed by an attacker."""

TIMESTAMP_DIGITS = 12
LONGEST_ID = 256


class BadSignature(HitlError):
    """The signature is invalid or too old."""

    code = "signature-invalid"


def signature(key: bytes, id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature of Standard Webhooks."""
    said = b".".join((as_sent(id), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, said, "sha256")).decode()


def verified_id(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> str:
    """Return the id of a message signed with Standard Webhooks. Raises BadSignature.

    The id is the same each time the message is sent.
    """
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ")
    if not id or len(id) > LONGEST_ID or not timestamp or not any(given):
        raise BadSignature("not signed: webhook-id, webhook-timestamp or webhook-signature is missing.")
    expected = signature(key, id, _timely(timestamp, now_s), body).encode()
    if not any(hmac.compare_digest(expected, as_sent(one)) for one in given):
        raise BadSignature("the signature does not match this message and secret.")
    return id


def slack_signature(key: bytes, timestamp_s: int, body: bytes) -> str:
    """Return Slack's signature."""
    return "v0=" + hmac.digest(key, b"v0:%d:" % timestamp_s + body, "sha256").hex()


def verify_slack(key: bytes, headers: Mapping[str, str], body: bytes, now_s: int) -> None:
    """Raise BadSignature unless Slack has signed a message recently."""
    timestamp, given = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
    if not timestamp or not given:
        raise BadSignature("not signed: X-Slack-Request-Timestamp or X-Slack-Signature is missing.")
    expected = slack_signature(key, _timely(timestamp, now_s), body)
    if not hmac.compare_digest(expected.encode(), as_sent(given)):
        raise BadSignature("the signature does not match this message and secret.")


def as_sent(header: str) -> bytes:
    """Return the bytes of a header as aiohttp decoded it, which may not be valid text."""
    return header.encode(errors="surrogateescape")


def _timely(timestamp: str, now_s: int) -> int:
    """Return a timestamp if it is recent. Raises BadSignature."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= TIMESTAMP_DIGITS):
        raise BadSignature("invalid timestamp: it must be seconds since 1970.")
    if abs(int(timestamp) - now_s) > TOLERANCE_S:
        raise BadSignature("the signature is too old, or the sender's clock is wrong.")
    return int(timestamp)
