"""`send_email`: sends the mail of an e-mail verification, as the `[email]` settings say.

Without such settings it prints the mail on the worker's terminal.
"""

import logging
from datetime import timedelta
from email.utils import format_datetime
from itertools import chain, repeat
from typing import Any

from resonate.context import Context
from resonate.retry import Never

from hitl_cli.authoring.link import link_to
from hitl_cli.builtin.verification_api import normal_address
from hitl_cli.defaults import DEADLINE_MS
from hitl_cli.errors import BadInput, NotAllowed, logged
from hitl_cli.format.mail_headers import Mailbox
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import instant
from hitl_cli.people.contacts import NotificationSettings
from hitl_cli.sdk import context as sdk

logger = logging.getLogger(__name__)

SUBJECT = "Please confirm your e-mail address"

TEXT = """\
Someone, most likely you, entered {address} as their e-mail address.

To confirm that it is yours, open this page and approve:

{link}

If it was not you, reject it on that page, or do nothing.
"""

NO_SENDER = "hitl@localhost"
"""The sender of a mail that is only printed."""

LIFE = timedelta(milliseconds=DEADLINE_MS)

SOON = tuple(timedelta(seconds=s) for s in (2, 10, 60, 300, 1_800))
"""Delays of the first retries."""

HOURS = 24 * 7
"""How many hourly retries follow: a week, because the mail server's administrator may be away."""


async def send_email(ctx: Context, email: str, request: str) -> dict[str, Any]:
    """Send the link that confirms an address; `request` is the id of the request to answer.

    A temporary failure is retried. A permanent one is returned and not raised: the address can be confirmed
    in other ways. A mail that is sent again after a crash has the same Message-ID.
    """
    try:
        address = normal_address(email)
    except BadInput as error:  # an exception would be retried
        return _refused(email, str(error))
    known = stable_id(f"{ctx.info.id}\0{ctx.info.timeout_at}", 32)
    # Durable sleeps between attempts: the SDK's own retries occupy a slot of the worker, and a few bad
    # addresses would block all other mails.
    step = ctx.options(timeout=LIFE, retry_policy=Never())
    for pause in chain([None], SOON, repeat(timedelta(hours=1), HOURS)):
        if pause is not None:
            await ctx.sleep(pause)
        came = await step.run(hand_over, address, request, known)
        if "later" not in came:
            return came
    return _refused(address, came["later"])


async def hand_over(ctx: Context, address: str, request: str, known: str) -> dict[str, str]:
    """Hand the mail to the server, and return the result: `sent`, `refused`, or `later` with the reason."""
    from hitl_cli.notify.channels.email import mail_host, mail_of, send_mail, sender_of
    from hitl_cli.notify.messages import DeliveryFailed

    settings = ctx.get_dependency(NotificationSettings).now.email
    try:
        link = link_to(ctx, request, address)
    except NotAllowed as error:
        return _refused(address, str(error))
    text = TEXT.format(address=address, link=link)
    if settings is None:
        lines = [
            f"From: {NO_SENDER}",
            f"To: {address}",
            f"Subject: {SUBJECT}",
            "",
            *text.rstrip().splitlines(),
        ]
        print("\n".join(f"  | {printable(line)}" for line in lines), flush=True)
        return {"email": address, "sent": "to the terminal"}
    try:
        sender = sender_of(settings)
        headers: dict[str, str | Mailbox] = {
            "Subject": SUBJECT,
            "From": sender,
            "To": Mailbox("", address),
            "Date": format_datetime(instant(sdk.now(ctx))),
            "Message-ID": f"<{known}@{mail_host(sender.address.rpartition('@')[2])}>",
            "Auto-Submitted": "auto-generated",
        }
        await send_mail(mail_of(headers, text), address, settings)
    except DeliveryFailed as error:
        if error.for_good:
            return _refused(address, str(error))
        logger.warning("sending the mail to %s failed and is retried later: %s", address, logged(error))
        return {"email": address, "later": str(error)}
    return {"email": address, "sent": f"through {settings.host}"}


def _refused(email: str, why: str) -> dict[str, str]:
    """Print that a mail cannot be sent, and return it."""
    print(printable(f"the mail to {email} was refused: {why}"), flush=True)
    return {"email": email, "refused": why}
