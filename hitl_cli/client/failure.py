"""Why a run or step failed. It is stored in the headers of its promise's value, beside the SDK's error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import error_message

if TYPE_CHECKING:
    from hitl_cli.engine.records import Payload

PREFIX = "hitl:error-"

GIVEN_REASON = "ApplicationError"
"""The type of an error whose message is a person's reason: a rejection, in any SDK."""


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why something failed. Fields are None if no worker of hitl recorded them.

    `step` is the id of the step that raised it, if that is another one, and `function` is the step's
    function. `where` is the line of the author's file, as `app.py:12 in charge`.
    """

    message: str
    type: str | None = None
    step: str | None = None
    function: str | None = None
    where: str | None = None
    traceback: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the headers that store it, without the message, which is in the value."""
        fields = msgspec.structs.asdict(self)
        del fields["message"]
        return {PREFIX + name: text for name, text in fields.items() if text is not None}

    @property
    def text(self) -> str:
        """The type and the message, as far as they are known."""
        if self.type in (None, GIVEN_REASON) and self.message:
            return self.message
        return f"{self.type}: {self.message}" if self.message else self.type or "no reason was given"

    @property
    def place(self) -> str:
        """Where it failed, as ` (app.py:12 in charge, step release-1:1)`; empty if unknown."""
        step = f"step {self.step}" if self.step else None
        known = ", ".join(part for part in (self.where, step) if part)
        return f" ({known})" if known else ""


def failure_in(value: Payload | None) -> Failure:
    """Return why something failed, from the value that its promise was rejected with."""
    headers = (value.headers if value else None) or {}
    known = {name: headers.get(PREFIX + name) for name in Failure.__struct_fields__ if name != "message"}
    return Failure(message=error_message(value), **known)
