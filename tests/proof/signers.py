"""People with SSH keys, and the settings that know them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory, GroupContact
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.people.groups import Groups

OWNERS = {"lead": "lead", "lead2": "lead", "ops": "ops", "thief": None}
"""The keys of these tests, and whose they are in the settings."""

_FOLDER = TemporaryDirectory(prefix="hitl-keys-")


@cache
def key(name: str) -> Path:
    """Return the file of a private key, which is made once."""
    file = Path(_FOLDER.name, name)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file], check=True)
    return file


def public(name: str) -> str:
    return Path(f"{key(name)}.pub").read_text().strip()


def directory(**more: Any) -> Directory:
    """Return settings in which the lead has two keys, ops one, and both are the board."""
    people = {
        person: Contact(ssh=tuple(public(name) for name, owner in OWNERS.items() if owner == person))
        for person in ("lead", "ops")
    }
    fields: dict[str, Any] = {"people": people, "groups": {"board": GroupContact(members=("lead", "ops"))}}
    return Directory(**fields | more)


def inbox(client: Client, groups: Groups, person: str, key_name: str | None = None) -> Inbox:
    """Return the inbox of a person, who signs with a key if one is named, whatever the settings know."""
    desk = Inbox(client, Actor(person=person, via="test", groups=groups))
    if key_name is not None:
        desk.signer = ssh_signer(key(key_name), (public(key_name),))
    return desk


def approve(
    client: Client, groups: Groups, id: str, person: str, key_name: str | None = None, **said: Any
) -> DecisionResult:
    """Approve as a person, signed by a key if one is named."""
    given = DecisionInput(verdict="approve", **said)
    return inbox(client, groups, person, key_name).decide(id, given, whole=True)
