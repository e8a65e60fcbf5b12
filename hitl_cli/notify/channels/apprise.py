"""Messages through Apprise, which supports over a hundred services. It is an optional dependency."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from hitl_cli.format.mail_headers import encoded_words
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.phrases import one_line, subject_of
from hitl_cli.notify.render import text_of

if TYPE_CHECKING:
    import apprise

    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Directory

TIMEOUT_S = 60.0
SCHEME_CHARS = 30
MAIL = "mailto"
"""Prefix of addresses for which Apprise writes mail headers itself."""


async def send(message: Message, to: str, directory: Directory) -> None:  # noqa: ARG001 - Channel has it
    """Send a message to an Apprise URL, such as `ntfy://…`. Raises DeliveryFailed."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            # Importing Apprise takes a second, and most of its services block.
            await asyncio.to_thread(_tell, _title(subject_of(message), to), text_of(message), to)
    except TimeoutError as error:
        raise DeliveryFailed(f"{shown(to)} did not respond in time.") from error


def _title(subject: str, url: str) -> str:
    """Return the title for a service.

    Apprise passes a mail's subject on unchanged, including encoded words.
    """
    return encoded_words(subject) if "=?" in subject and url.lower().startswith(MAIL) else subject


def _tell(title: str, body: str, url: str) -> None:
    """Send a text, and wait until it is accepted. Raises DeliveryFailed."""
    if not receiver_at(url).notify(body=body, title=title, body_format="text"):
        raise DeliveryFailed(f"{shown(url)} did not accept it. To see why, run `apprise -v -b test ADDRESS`.")


def receiver_at(url: str) -> apprise.Apprise:
    """Return Apprise's sender for a URL.

    Raises DeliveryFailed if Apprise is missing or the URL is unknown to it.
    """
    try:
        import apprise
    except ImportError as error:
        raise DeliveryFailed(
            'Apprise is not installed here: pip install "resonate-hitl[apprise]".', for_good=True
        ) from error
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses, with the secrets in them
    receiver = apprise.Apprise()
    if not receiver.add(url):
        raise DeliveryFailed(f"{shown(url)} is not a URL that Apprise supports.", for_good=True)
    return receiver


def shown(to: str) -> str:
    """Return the scheme of a URL. The rest is often secret."""
    return one_line(to.partition(":")[0], SCHEME_CHARS) + "://…"
