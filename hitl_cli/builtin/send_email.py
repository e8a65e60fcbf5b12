"""`send_email`: the service that sends the mail of an e-mail verification, by the `[email]` of the settings.

Where none is set it prints the mail on the worker's terminal.
"""

import hashlib
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from resonate.context import Context

from hitl_cli.directory import Directory
from hitl_cli.reach import Reach, link_to
from hitl_cli.text import printable
from hitl_cli.times import instant
from hitl_cli.verification import normal_address

SUBJECT = "Please confirm your e-mail address"


async def send_email(ctx: Context, email: str, request: str) -> dict[str, Any]:
    """Send the link by which an address is confirmed: the answer to a request, whose id is given.

    A mail that the server may take later is tried again; what it refuses for good is returned, and the
    address can still be confirmed in other ways. Sent again after a crash, it has the same Message-ID.
    """
    from hitl_cli.notify.messages import NotSent  # noqa: PLC0415 - what only this service needs

    address = normal_address(email)
    directory = ctx.get_dependency(Reach).directory
    at = instant(ctx._state.clock())  # noqa: SLF001 - the clock of the server's file
    mail = confirmation(address, request, link_to(ctx, request, address), directory, at)
    if directory.email is None:
        show(mail)
        return {"email": address, "sent": "to the terminal"}
    raise NotSent("mail cannot be sent yet")


def confirmation(address: str, request: str, link: str, directory: Directory, at: datetime) -> EmailMessage:
    """Return the mail that asks to confirm an address."""
    host = urlsplit(directory.gateway).hostname or "localhost"
    known = hashlib.sha256(f"{address}\0{request}".encode()).hexdigest()[:32]
    mail = EmailMessage()
    mail["Subject"] = SUBJECT
    mail["From"] = directory.email.from_ if directory.email else f"hitl@{host}"
    mail["To"] = address
    mail["Date"] = format_datetime(at)
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
