"""Makes a checkpoint of the history in each period, and delivers it: `[checkpoints] every`.

The checkpoint of a period is a promise with the period in its id, so only one of several workers and gateways
makes it. It is pending until it was delivered: if its maker has died, another process delivers it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.protocol import get_promise, send
from hitl_cli.client.records import closing_id
from hitl_cli.client.tags import CHECKPOINT_PREFIX
from hitl_cli.client.wire import decode_as
from hitl_cli.errors import HitlError, logged
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.mail_headers import Mailbox
from hitl_cli.format.times import iso
from hitl_cli.ledger.checkpoints import make
from hitl_cli.notify.channels import email, webhook
from hitl_cli.notify.channels.http_post import post
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.proof.checkpoint import Checkpoint, CheckpointSigner, signed_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.contacts import Contact, Directory

logger = logging.getLogger(__name__)

HANDED_OVER_MS = 5 * 60_000
"""After this time, another process hands a checkpoint over."""

COMMAND_S = 60.0
"""How long the command may take."""


class CheckpointMaker:
    """Makes the checkpoints of the settings."""

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self._directory = directory
        self._done = ""
        self._complaint = ""

    def look(self, client: Client) -> None:
        """Make the checkpoint of this period, unless there is one. A failure is logged, and tried again."""
        directory = self._directory()
        every = directory.checkpoints.every
        if every is None:
            return
        every_ms = parse_duration(every)
        id = f"{CHECKPOINT_PREFIX}{every_ms}-{client.now() // every_ms}"
        if id == self._done:
            return
        try:
            self._look(client, directory, id)
        except (HitlError, OSError, subprocess.SubprocessError) as error:
            if (said := logged(error)) != self._complaint:
                logger.warning("the checkpoint could not be made or delivered, retrying: %s", said)
            self._complaint = said

    def _look(self, client: Client, directory: Directory, id: str) -> None:
        settings = directory.checkpoints
        promise = get_promise(client, id)
        made = None if promise is None else decode_as(promise.param, Checkpoint)
        if promise is None:
            key = None if settings.key is None else Path(settings.key)
            made = make(client, CheckpointSigner(key=key, known=settings.known), id=id)
        elif promise.state != "pending":
            self._done = id
            return
        elif client.now() - promise.created_at < HANDED_OVER_MS:
            return
        if made is None or signed_with(made, settings.known) is None:
            return  # another process has made it, or an attacker created a promise with this id
        hand_over(made, directory)
        send(client, closing_id(id))
        logger.info("checkpoint made: %s leaves, root %s", f"{made.size:,}", made.root)
        self._done, self._complaint = id, ""


def hand_over(checkpoint: Checkpoint, directory: Directory) -> None:
    """Deliver a checkpoint as the settings say. Raises DeliveryFailed, OSError, SubprocessError."""
    settings = directory.checkpoints
    text = msgspec.json.encode(checkpoint)
    if settings.file is not None:
        with Path(settings.file).open("ab") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
    if settings.command:
        subprocess.run(  # noqa: S603 - the settings name it
            settings.command, input=text + b"\n", stdout=subprocess.DEVNULL, timeout=COMMAND_S, check=True
        )
    contacts = [one for name in settings.to if (one := directory.contact(name)) is not None]
    for contact in contacts:
        asyncio.run(_send(checkpoint, text, contact, directory))


async def _send(checkpoint: Checkpoint, text: bytes, contact: Contact, directory: Directory) -> None:
    """Send a checkpoint to a person by webhook, otherwise by mail. Raises DeliveryFailed."""
    id = f"checkpoint-{checkpoint.root[:32]}-{checkpoint.at}"
    if contact.webhook is not None:
        document = {"type": "hitl.checkpoint", "timestamp": iso(checkpoint.at), "data": checkpoint}
        body = msgspec.json.encode(document)
        await post(contact.webhook, body, webhook.headers_of(id, body, directory.webhooks.secret))
        return
    if contact.email is None or directory.email is None:
        raise DeliveryFailed("no mail server in the settings: set [email] host = …", for_good=True)
    headers: dict[str, str | Mailbox] = {
        "Subject": f"Checkpoint of all decisions until {iso(checkpoint.at)}",
        "From": email.sender_of(directory.email),
        "To": Mailbox("", contact.email),
        "Auto-Submitted": "auto-generated",
    }
    said = f"Keep this mail. Its last line is for `hitl verify --checkpoint`.\n\n{text.decode()}\n"
    await email.send_mail(email.mail_of(headers, said), contact.email, directory.email)
