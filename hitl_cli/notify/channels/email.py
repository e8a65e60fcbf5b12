"""Messages as e-mail: text and HTML, one thread for each request, by SMTP.

A server that took a mail and was not heard saying so is sent it again, with the same Message-ID.
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
"""How long the server has for each step."""

ALTOGETHER_S = 60.0
"""How long it has for all of them."""

FOR_GOOD = range(500, 600)
"""Statuses of a server that will not take the mail another time either (RFC 5321). What is no status at all,
as of something else that answers in its place, may well be over soon."""

HOST_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
NO_HOST = "hitl.invalid"
"""What stands after the @ of a Message-ID where the gateway's host cannot."""

LONGEST_ANSWER = 300


async def send(message: Message, to: str, directory: Directory) -> str:
    """Send a message to an e-mail address, and return what the server said. Raises DeliveryFailed."""
    if directory.email is None:
        raise DeliveryFailed(
            "the settings do not say through what mail is sent: [email] host = …", for_good=True
        )
    return await send_mail(_compose(message, to, directory, directory.email), to, directory.email)


def shown(to: str) -> str:
    """Return the address: it is not a secret."""
    return to


def mail_of(headers: Mapping[str, str | Mailbox], text: str, html: str | None = None) -> bytes:
    """Return a mail as it is sent: with these headers, whatever their texts are, and no others of them."""
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
    """Send a mail to an address, and return which server took it and what it said. Raises DeliveryFailed."""
    sender, to = ascii_domain(sender_of(settings).address), ascii_domain(to)
    options = () if f"{sender}{to}".isascii() else ("SMTPUTF8", "BODY=8BITMIME")
    async with _session(settings, sender) as smtp:
        _, answer = await smtp.sendmail(sender, [to], mail, mail_options=options)
    return f"{settings.host}:{settings.port} took it: {_shown(answer)}"


async def try_sender(settings: EmailSettings) -> None:
    """Connect and log in, and ask the server whether it takes mail from the sender. Raises DeliveryFailed."""
    sender = ascii_domain(sender_of(settings).address)
    options = () if sender.isascii() else ("SMTPUTF8",)
    async with _session(settings, sender) as smtp:
        await smtp.mail(sender, options=options, encoding="utf-8")


@asynccontextmanager
async def _session(settings: EmailSettings, sender: str) -> AsyncIterator[aiosmtplib.SMTP]:
    """Connect to the server and log in. Raises DeliveryFailed, also for what fails inside."""
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
    except OSError as error:  # aiosmtplib's own are, where the connection is at fault
        why = reason_in(error) or str(error).rstrip(".") or "it did not answer in time"
        hint = _other_tls(settings, error)
        raise DeliveryFailed(f"{server} cannot be reached, or was lost: {_shown(why)}.{hint}") from None
    except ValueError:  # it may say what is in the password
        raise DeliveryFailed(
            f"{server} cannot be reached: the host, user or password of [email] cannot be sent.",
            for_good=True,
        ) from None
    except aiosmtplib.SMTPException as error:
        raise DeliveryFailed(
            f"{server} cannot do what [email] wants: {_shown(error.message)}", for_good=True
        ) from None


def _other_tls(settings: EmailSettings, error: OSError) -> str:
    """Return a sentence that says which `tls` may be meant, if an error looks like the wrong one."""
    if settings.tls != "tls" and isinstance(error, TimeoutError):
        return ' If it takes TLS from the first byte: set tls = "tls" in [email].'
    if settings.tls == "tls" and "WRONG_VERSION_NUMBER" in repr(error.__cause__ or error):
        return ' It does not begin with TLS: set tls = "starttls" in [email].'
    return ""


def _refused(server: str, error: aiosmtplib.SMTPResponseException) -> DeliveryFailed:
    text = f"{server} refused it: {error.code} {_shown(error.message)}"
    return DeliveryFailed(text, for_good=error.code in FOR_GOOD)


def _shown(text: str) -> str:
    return one_line(text, LONGEST_ANSWER)


def _compose(message: Message, to: str, directory: Directory, settings: EmailSettings) -> bytes:
    """Return a message as a mail to an address. Its headers are the same each time."""
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
    headers["List-Id"] = f"Requests that wait for a person <requests.{host}>"
    if any(item.question.priority in ("urgent", "high") and item.outcome is None for item in message.items):
        headers["Importance"] = "high"
    return mail_of(headers, text_of(message), html_of(message))


def sender_of(settings: EmailSettings) -> Mailbox:
    """Return the mailbox that mail is from. Raises DeliveryFailed where the settings name none."""
    if (sender := mailbox(settings.from_)) is None:
        raise DeliveryFailed(f"email.from is {settings.from_!r}, which is no mailbox.", for_good=True)
    return sender


def _reply_to(message: Message, directory: Directory) -> str | None:
    """Return where a question about the request goes: to who asks, if that is a person with an address."""
    if len(message.items) != 1 or message.items[0].asker in (None, message.to):
        return None
    asker = directory.people.get(directory.members.name(message.items[0].asker or ""))
    address = asker.email if asker is not None else None
    return address if address and ascii_domain(address).isascii() else None  # else not every server takes it


def mail_host(name: str) -> str:
    """Return a host as it can stand in a Message-ID; NO_HOST where it cannot."""
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        return NO_HOST
    return ascii_name if HOST_NAME.fullmatch(ascii_name) else NO_HOST
