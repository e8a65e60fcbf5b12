"""The message that brings a sign-in link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.notify.messages import Message

if TYPE_CHECKING:
    from hitl_cli.auth.sign_in import SignInLink


def message_with(link: SignInLink, url: str, now: int) -> Message:
    """Return the message that brings a link (its URL) to whoever is to sign in."""
    return Message(
        id=f"sign-in-{link.id}",
        occasion="sign-in",
        to=link.person,
        subject="Sign in",
        thread=f"sign-in-{link.id}",
        items=(),
        inbox=url,
        at=now,
    )
