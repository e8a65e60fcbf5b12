"""The service that sends mail: through SMTP_SERVER (host:port), or to its terminal where none is set."""

import logging
import os
import smtplib
from asyncio import to_thread
from datetime import timedelta
from email.message import EmailMessage
from hashlib import sha256

from resonate.context import Context

from hitl_cli import link_to
from hitl_cli.authoring.workflow import workflow

logger = logging.getLogger(__name__)

PAUSES = [timedelta(seconds=2), timedelta(minutes=1), timedelta(minutes=10)] + 48 * [timedelta(hours=1)]


@workflow
async def send_email(ctx: Context, email: str, request: str) -> None:
    """Send the link by which a request is answered. A server that does not take it is tried for two days."""
    for pause in PAUSES:
        if await ctx.run(send, email, request, ctx.info.id):
            return
        await ctx.sleep(pause)  # durable: meanwhile this worker sends other mails


async def send(ctx: Context, email: str, request: str, id: str) -> bool:
    """Return whether the mail was taken."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "hello@example.org", email
    mail["Subject"] = "Please confirm your address"
    # Where a worker dies in a step, another runs it again: by its id, a mail that comes twice is one.
    mail["Message-ID"] = f"<{sha256(id.encode()).hexdigest()}@example.org>"
    link = link_to(ctx, request, email)  # signed here; it stands in no promise
    mail.set_content(f"Is this your address? Then open this page, and approve:\n\n{link}\n")
    try:
        await to_thread(deliver, mail)
    except OSError as error:  # those of smtplib are, too
        logger.warning("the mail to %s is tried again: %s", email, error)
        return False
    return True


def deliver(mail: EmailMessage) -> None:
    """Hand a mail over."""
    server = os.environ.get("SMTP_SERVER")
    if server is None:
        print(f"To: {mail['To']}\nSubject: {mail['Subject']}\n\n{mail.get_content()}", flush=True)
        return
    with smtplib.SMTP(server, timeout=10) as smtp:
        smtp.send_message(mail)
