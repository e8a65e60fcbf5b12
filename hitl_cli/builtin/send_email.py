"""`send_email`: the service that sends the mail of an e-mail verification, by the `[email]` of the settings.

Where none is set it prints the mail on the worker's terminal.
"""

import hashlib
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Any

from resonate.context import Context

from hitl_cli.directory import EmailSettings
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.reach import Reach, link_to
from hitl_cli.text import printable
from hitl_cli.times import instant
from hitl_cli.verification import normal_address

SUBJECT = "Please confirm your e-mail address"


async def send_email(ctx: Context, email: str, request: str) -> dict[str, Any]:
    """Send the link by which an address is confirmed: the answer to a request, whose id is given.

    A mail that the server may take later is tried again. What it refuses for good is returned: the address
    can be confirmed in other ways. Sent again after a crash, the mail has the same Message-ID.
    """
    from hitl_cli.notify.email import send_mail  # noqa: PLC0415 - only this service sends
    from hitl_cli.notify.messages import NotSent  # noqa: PLC0415

    try:
        address = normal_address(email)
    except BadInput as error:  # raised, it would be tried again
        return refused(email, error)
    settings = ctx.get_dependency(Reach).directory.email
    mail = confirmation(ctx, address, link_to(ctx, request, address), settings)
    if settings is None:
        show(mail)
        return {"email": address, "sent": "to the terminal"}
    try:
        await send_mail(mail, address, settings)
    except NotSent as error:
        if not error.for_good:
            raise
        return refused(address, error)
    return {"email": address, "sent": f"through {settings.host}"}


def refused(email: str, error: HitlError) -> dict[str, Any]:
    """Say that a mail cannot be sent, and return it."""
    print(printable(f"the mail to {email} was refused: {error}"), flush=True)
    return {"email": email, "refused": str(error)}


def confirmation(ctx: Context, address: str, link: str, settings: EmailSettings | None) -> EmailMessage:
    """Return the mail that asks to confirm an address. Its id is that of this very call."""
    from hitl_cli.notify.email import mail_host  # noqa: PLC0415 - only this service sends

    sender = settings.from_ if settings is not None else "hitl@localhost"
    host = mail_host(parseaddr(sender)[1].rpartition("@")[2])
    known = hashlib.sha256(f"{ctx.info.id}\0{ctx.info.timeout_at}".encode()).hexdigest()[:32]
    mail = EmailMessage()
    mail["Subject"] = SUBJECT
    mail["From"] = sender
    mail["To"] = address
    mail["Date"] = format_datetime(instant(ctx._state.clock()))  # noqa: SLF001 - the clock of the server's file
    mail["Message-ID"] = f"<{known}@{host}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(
        f"Somebody, most likely you, gave {address} as their e-mail address.\n\n"
        f"To confirm that it is yours, open this page and approve:\n\n{link}\n\n"
        "If it was not you, reject it there, or do nothing.\n"
    )
    return mail


def show(mail: EmailMessage) -> None:
    """Print a mail on the worker's terminal."""
    headers = [f"{name}: {mail[name]}" for name in ("From", "To", "Subject")]
    lines = [*headers, "", *mail.get_content().rstrip().splitlines()]
    print("\n".join(f"  | {printable(line)}" for line in lines), flush=True)
