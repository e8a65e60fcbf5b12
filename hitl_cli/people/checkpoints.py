"""The settings for checkpoints of the history: `[checkpoints]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.errors import BadInput, naming
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.public_keys import public_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.people.contacts import Contact


class CheckpointSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys` are the public SSH keys that may sign checkpoints, `key` is the file with the key to sign with.

    `every` is how often workers and gateways make one. It is appended to `file`, given to `command` on stdin,
    and sent to the people in `to`, by mail or webhook.
    """

    keys: tuple[str, ...] = ()
    key: str | None = None
    every: str | None = None
    file: str | None = None
    command: tuple[str, ...] = ()
    to: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """The public keys without comments. Raises BadInput for a text that is not a key."""
        return tuple(map(public_key, self.keys))


def check_checkpoints(settings: CheckpointSettings, contacts: Mapping[str, Contact]) -> None:
    """Raise BadInput for settings that are not valid; `contacts` are the people and groups."""
    with naming("checkpoints.keys"):
        _ = settings.known
    if settings.every is not None:
        with naming("checkpoints.every"):
            parse_duration(settings.every)
        if not (settings.keys and (settings.file or settings.command or settings.to)):
            raise BadInput(
                "checkpoints.every also needs checkpoints.keys, and one of checkpoints.file,"
                " checkpoints.command and checkpoints.to."
            )
    for name in settings.to:
        contact = contacts.get(name.removeprefix("group:"))
        if contact is None or not (contact.email or contact.webhook):
            raise BadInput(f"checkpoints.to has {name!r}, who has no email and no webhook.")
