"""Idempotency-Key: a request that a program sends twice is carried out once and gets the same response.

Nothing is stored for it. The id of a decision, comment or start is derived from the key, its sender and the
content. So the record itself tells whether it was created before, and with which content.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from hitl_cli.errors import HitlError
from hitl_cli.format.stable_ids import short_stable_id

HALF_DIGITS = 24
"""Hexadecimal digits of each half of an id."""


class IdempotencyKeyReused(HitlError):
    """The key was used before with another content."""

    code = "key-reused"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used before with another body. Nothing was changed.")


class IdempotencyMark(Struct, frozen=True):
    """Identifies a request: `key` is a hash of its key, sender and subject, `body` of its content."""

    key: str
    body: str

    @property
    def id(self) -> str:
        """The id of what the request creates."""
        return self.key + self.body

    def made(self, id: str | None) -> bool:
        """Whether this request created the record with this id.

        Raises IdempotencyKeyReused if another request with the same key did.
        """
        if id is None or not id.startswith(self.key):
            return False
        if id != self.id:
            raise IdempotencyKeyReused
        return True


def mark_of(key: str, person: str, subject: str, body: bytes) -> IdempotencyMark:
    """Return the mark of a request of a person to do something to a subject."""
    whose = msgspec.json.encode([key, person, subject])
    return IdempotencyMark(*(short_stable_id(said, HALF_DIGITS, b"hitl.mark") for said in (whose, body)))
