"""The service that sends mail: through SMTP_SERVER (host:port), or to its terminal where none is set."""

import os
import smtplib
from asyncio import to_thread
from email.message import EmailMessage
from hashlib import sha256

from resonate.context import Context

from hitl_cli import link_to, workflow


@workflow
async def send_email(ctx: Context, email: str, request: str) -> None:
    """Send the link by which a request is answered. An error is tried again, after 2, 4, 8 … seconds."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "hello@example.org", email
    mail["Subject"] = "Please confirm your address"
    # Where a worker dies in a step, another runs it again: by its id, a mail that comes twice is one.
    mail["Message-ID"] = f"<{sha256(ctx.info.id.encode()).hexdigest()}@example.org>"
    link = link_to(ctx, request, email)  # signed here; it stands in no promise
    mail.set_content(f"Is this your address? Then open this page, and approve:\n\n{link}\n")
    await to_thread(deliver, mail)


def deliver(mail: EmailMessage) -> None:
    """Hand a mail over."""
    server = os.environ.get("SMTP_SERVER")
    if server is None:
        print(f"To: {mail['To']}\nSubject: {mail['Subject']}\n\n{mail.get_content()}", flush=True)
        return
    with smtplib.SMTP(server, timeout=10) as smtp:
        smtp.send_message(mail)
