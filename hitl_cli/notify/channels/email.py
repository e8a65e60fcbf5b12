"""Messages as e-mail: text and HTML, one thread for each request, by SMTP.

A server that took a mail and was not heard saying so is sent it again, with the same Message-ID.
"""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.format.terminal import ascii_host
from hitl_cli.format.times import instant
from hitl_cli.notify.channels.http_post import reason_in
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.phrases import one_line, subject_of
from hitl_cli.notify.render import html_of, text_of

if TYPE_CHECKING:
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


async def send(message: Message, to: str, directory: Directory) -> None:
    """Send a message to an e-mail address. Raises DeliveryFailed."""
    await send_mail(_compose(message, to, directory), to, directory.email)


def shown(to: str) -> str:
    """Return the address: it is not a secret."""
    return to


async def send_mail(mail: EmailMessage, to: str, settings: EmailSettings | None) -> None:
    """Send a mail to an address. Raises DeliveryFailed."""
    import asyncio

    if settings is None:
        raise DeliveryFailed(
            "the settings do not say through what mail is sent: [email] host = …", for_good=True
        )
    sender = _ascii_domain(parseaddr(settings.from_)[1])
    try:
        async with asyncio.timeout(ALTOGETHER_S):
            await _deliver(mail, sender, _ascii_domain(to), settings)
    except TimeoutError as error:
        raise DeliveryFailed(f"{settings.host} did not answer in time.") from error


async def _deliver(mail: EmailMessage, sender: str, to: str, settings: EmailSettings) -> None:
    """Hand a mail to the server. Raises DeliveryFailed, TimeoutError."""
    import aiosmtplib

    server = f"{settings.host}:{settings.port}"
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
        async with smtp:
            await smtp.send_message(mail, sender=sender, recipients=[to])
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
        why = reason_in(error) or str(error).rstrip(".")
        raise DeliveryFailed(f"{server} cannot be reached, or was lost: {_shown(why)}.") from None
    except aiosmtplib.SMTPException as error:
        raise DeliveryFailed(
            f"{server} cannot do what [email] wants: {_shown(error.message)}", for_good=True
        ) from None


def _refused(server: str, error: aiosmtplib.SMTPResponseException) -> DeliveryFailed:
    text = f"{server} refused it: {error.code} {_shown(error.message)}"
    return DeliveryFailed(text, for_good=error.code in FOR_GOOD)


def _shown(text: str) -> str:
    return one_line(text, LONGEST_ANSWER)


def _compose(message: Message, to: str, directory: Directory) -> EmailMessage:
    """Return a message as a mail to an address. It is the same each time."""
    settings = directory.email
    host = mail_host(urlsplit(directory.gateway).hostname or "")
    thread = f"<{message.thread_key}.thread@{host}>"
    mail = EmailMessage()
    mail["Subject"] = subject_of(message)
    mail["From"] = _mailbox(settings.from_ if settings is not None else "")
    mail["To"] = _mailbox(to)
    if answers := _reply_to(message, directory):
        mail["Reply-To"] = _mailbox(answers)
    mail["Date"] = format_datetime(instant(message.at))
    mail["Message-ID"] = f"<{message.key}@{host}>"
    mail["References"] = thread
    if message.occasion != "asked":
        mail["In-Reply-To"] = thread
    mail["Auto-Submitted"] = "auto-generated"
    mail["List-Id"] = f"Requests that wait for a person <requests.{host}>"
    if any(item.question.priority in ("urgent", "high") and item.outcome is None for item in message.items):
        mail["Importance"] = "high"
    mail.set_content(text_of(message), cte="quoted-printable")
    mail.add_alternative(html_of(message), subtype="html", cte="quoted-printable")
    return mail


def _mailbox(text: str) -> Address:
    """Return an address as a header takes it: `a@example.org`, or `Name <a@example.org>`."""
    name, address = parseaddr(text)
    user, _, domain = _ascii_domain(address).rpartition("@")
    return Address(display_name=name, username=user, domain=domain)


def _ascii_domain(address: str) -> str:
    """Return an e-mail address with its domain as servers that know only ASCII take it."""
    user, _, domain = address.rpartition("@")
    try:
        return f"{user}@{ascii_host(domain)}"
    except UnicodeError:
        return address


def _reply_to(message: Message, directory: Directory) -> str | None:
    """Return where a question about the request goes: to who asks, if that is a person with an address."""
    if len(message.items) != 1 or message.items[0].asker in (None, message.to):
        return None
    asker = directory.people.get(message.items[0].asker or "")
    return asker.email if asker is not None else None


def mail_host(name: str) -> str:
    """Return a host as it can stand in a Message-ID; NO_HOST where it cannot."""
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        return NO_HOST
    return ascii_name if HOST_NAME.fullmatch(ascii_name) else NO_HOST
