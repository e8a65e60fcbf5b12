"""The service that sends mail: through SMTP_SERVER (host:port), or to its terminal if that is not set."""

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
    """Send a link that answers the request. Retries for two days if the mail server does not accept it."""
    for pause in PAUSES:
        if await ctx.run(send, email, request, ctx.info.id):
            return
        await ctx.sleep(pause)  # durable: this worker sends other mails meanwhile


async def send(ctx: Context, email: str, request: str, id: str) -> bool:
    """Send the mail, and return whether the mail server accepted it."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "hello@example.org", email
    mail["Subject"] = "Please confirm your address"
    # If a worker dies in a step, another runs it again. Mailboxes merge mails with the same Message-ID.
    mail["Message-ID"] = f"<{sha256(id.encode()).hexdigest()}@example.org>"
    link = link_to(ctx, request, email)  # signed here, and not stored in a promise
    mail.set_content(f"If this is your address, open this page and approve:\n\n{link}\n")
    try:
        await to_thread(deliver, mail)
    except OSError as error:  # includes the errors of smtplib
        logger.warning("mail to %s failed, retrying: %s", email, error)
        return False
    return True


def deliver(mail: EmailMessage) -> None:
    """Send a mail, or print it."""
    server = os.environ.get("SMTP_SERVER")
    if server is None:
        print(f"To: {mail['To']}\nSubject: {mail['Subject']}\n\n{mail.get_content()}", flush=True)
        return
    with smtplib.SMTP(server, timeout=10) as smtp:
        smtp.send_message(mail)
