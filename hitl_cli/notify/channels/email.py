"""Messages as e-mail by SMTP: text and HTML, one thread per request.

If the server accepted a mail but its response was lost, the mail is sent again with the same Message-ID.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.format.mail_headers import Mailbox, ascii_domain, mailbox, mailbox_header, text_header
from hitl_cli.format.times import instant
from hitl_cli.notify.channels.http_post import reason_in
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.phrases import one_line, subject_of
from hitl_cli.notify.render import html_of, text_of
from hitl_cli.notify.shortcomings import TLS_ADVICE, wrong_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiosmtplib

    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Directory, EmailSettings

TIMEOUT_S = 10.0
"""Timeout for each SMTP command."""

ALTOGETHER_S = 60.0
"""Timeout for the whole session."""

FOR_GOOD = range(500, 600)
"""Permanent errors of a mail server (RFC 5321). Other numbers, as from another service, may be temporary."""

HOST_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
NO_HOST = "hitl.invalid"
"""The domain of a Message-ID if the gateway's host cannot be used."""

LONGEST_ANSWER = 300


async def send(message: Message, to: str, directory: Directory) -> str:
    """Send a message to an e-mail address, and return the server's response. Raises DeliveryFailed."""
    if directory.email is None:
        raise DeliveryFailed("no mail server in the settings: set [email] host = …", for_good=True)
    return await send_mail(_compose(message, to, directory, directory.email), to, directory.email)


def shown(to: str) -> str:
    """Return the address, which is not secret."""
    return to


def mail_of(headers: Mapping[str, str | Mailbox], text: str, html: str | None = None) -> bytes:
    """Return a mail as bytes with exactly these headers, encoded so that texts cannot add others."""
    body = EmailMessage()
    body.set_content(text, cte="quoted-printable")
    if html is not None:
        body.add_alternative(html, subtype="html", cte="quoted-printable")
    lines = [
        text_header(name, value) if isinstance(value, str) else mailbox_header(name, value)
        for name, value in headers.items()
    ]
    return "".join(f"{line}\r\n" for line in lines).encode() + body.as_bytes(policy=SMTP)


async def send_mail(mail: bytes, to: str, settings: EmailSettings) -> str:
    """Send a mail to an address, and return the server and its response. Raises DeliveryFailed."""
    sender, to = ascii_domain(sender_of(settings).address), ascii_domain(to)
    options = () if f"{sender}{to}".isascii() else ("SMTPUTF8", "BODY=8BITMIME")
    async with _session(settings, sender) as smtp:
        _, answer = await smtp.sendmail(sender, [to], mail, mail_options=options)
    return f"accepted by {settings.host}:{settings.port}: {_shown(answer)}"


async def try_sender(settings: EmailSettings) -> None:
    """Connect, log in, and check that the server accepts mail from the sender. Raises DeliveryFailed."""
    sender = ascii_domain(sender_of(settings).address)
    options = () if sender.isascii() else ("SMTPUTF8",)
    async with _session(settings, sender) as smtp:
        await smtp.mail(sender, options=options, encoding="utf-8")


@asynccontextmanager
async def _session(settings: EmailSettings, sender: str) -> AsyncIterator[aiosmtplib.SMTP]:
    """Connect to the server and log in. Raises DeliveryFailed, also for SMTP errors inside the block."""
    import aiosmtplib

    server = f"{settings.host}:{settings.port}"
    if why := wrong_tls(settings):
        raise DeliveryFailed(f"{why}: {TLS_ADVICE}.")
    smtp = aiosmtplib.SMTP(
        hostname=settings.host,
        port=settings.port,
        username=settings.user,
        password=settings.password,
        local_hostname=mail_host(sender.rpartition("@")[2]),
        use_tls=settings.tls == "tls",
        start_tls=settings.tls == "starttls",
        timeout=TIMEOUT_S,
    )
    try:
        async with asyncio.timeout(ALTOGETHER_S), smtp:
            yield smtp
    except aiosmtplib.SMTPAuthenticationError as error:
        raise DeliveryFailed(
            f"{server} refused the user and password of [email] ({error.code}).",
            for_good=error.code in FOR_GOOD,
        ) from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refused(server, error.recipients[0]) from None
    except aiosmtplib.SMTPResponseException as error:
        raise _refused(server, error) from None
    except OSError as error:  # includes aiosmtplib's connection errors
        why = reason_in(error) or str(error).rstrip(".") or "it did not respond in time"
        hint = _other_tls(settings, error)
        raise DeliveryFailed(f"no connection to {server}: {_shown(why)}.{hint}") from None
    except ValueError:  # its text may contain the password
        raise DeliveryFailed(
            f"no connection to {server}: invalid characters in the host, user or password of [email].",
            for_good=True,
        ) from None
    except aiosmtplib.SMTPException as error:
        raise DeliveryFailed(
            f"{server} does not support the settings in [email]: {_shown(error.message)}", for_good=True
        ) from None


def _other_tls(settings: EmailSettings, error: OSError) -> str:
    """Return advice on `tls` if an error looks like a wrong value of it; otherwise an empty text."""
    if settings.tls != "tls" and isinstance(error, TimeoutError):
        return ' If the server expects TLS from the start, set tls = "tls" in [email].'
    if settings.tls == "tls" and "WRONG_VERSION_NUMBER" in repr(error.__cause__ or error):
        return ' The server does not start with TLS: set tls = "starttls" in [email].'
    return ""


def _refused(server: str, error: aiosmtplib.SMTPResponseException) -> DeliveryFailed:
    text = f"{server} refused it: {error.code} {_shown(error.message)}"
    return DeliveryFailed(text, for_good=error.code in FOR_GOOD)


def _shown(text: str) -> str:
    return one_line(text, LONGEST_ANSWER)


def _compose(message: Message, to: str, directory: Directory, settings: EmailSettings) -> bytes:
    """Return a message as a mail to an address. The headers are the same each time it is sent."""
    host = mail_host(urlsplit(directory.gateway).hostname or "")
    thread = f"<{message.thread_key}.thread@{host}>"
    headers: dict[str, str | Mailbox] = {
        "Subject": subject_of(message),
        "From": sender_of(settings),
        "To": Mailbox("", to),
    }
    if answers := _reply_to(message, directory):
        headers["Reply-To"] = Mailbox("", answers)
    headers |= {
        "Date": format_datetime(instant(message.at)),
        "Message-ID": f"<{message.key}@{host}>",
        "References": thread,
    }
    if message.occasion != "asked":
        headers["In-Reply-To"] = thread
    headers["Auto-Submitted"] = "auto-generated"
    headers["List-Id"] = f"hitl requests <requests.{host}>"
    if any(item.question.priority in ("urgent", "high") and item.outcome is None for item in message.items):
        headers["Importance"] = "high"
    return mail_of(headers, text_of(message), html_of(message))


def sender_of(settings: EmailSettings) -> Mailbox:
    """Return the sender's mailbox. Raises DeliveryFailed if the setting is invalid."""
    if (sender := mailbox(settings.from_)) is None:
        raise DeliveryFailed(f"email.from is not a valid mailbox: {settings.from_!r}.", for_good=True)
    return sender


def _reply_to(message: Message, directory: Directory) -> str | None:
    """Return the address for replies: the requester's, if they are a person with an address."""
    if len(message.items) != 1 or message.items[0].asker in (None, message.to):
        return None
    asker = directory.people.get(directory.members.name(message.items[0].asker or ""))
    address = asker.email if asker is not None else None
    return address if address and ascii_domain(address).isascii() else None  # not all accept others


def mail_host(name: str) -> str:
    """Return a host for a Message-ID; NO_HOST if it cannot be used."""
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        return NO_HOST
    return ascii_name if HOST_NAME.fullmatch(ascii_name) else NO_HOST
