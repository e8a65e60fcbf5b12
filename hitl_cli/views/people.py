"""The people of the settings as JSON: their groups, contacts and keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import SignatureKind
from hitl_cli.format.passkeys import passkey
from hitl_cli.format.public_keys import fingerprint
from hitl_cli.format.times import iso
from hitl_cli.notify.channels.registry import shown
from hitl_cli.people.groups import KeyLife
from hitl_cli.views.contacts import AddressDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.people.contacts import Directory

ALWAYS = KeyLife()


class SigningKeyDocument(Struct, frozen=True, kw_only=True):
    """A key with which a person signs. Its signatures from `revoked_from` on are not valid."""

    kind: SignatureKind
    fingerprint: str
    type: str
    comment: str
    valid_from: str | None
    revoked_from: str | None


class PersonDocument(Struct, frozen=True, kw_only=True):
    """A person of the settings."""

    name: str
    groups: tuple[str, ...]
    addresses: list[AddressDocument]
    keys: list[SigningKeyDocument]


def people_documents(directory: Directory) -> list[PersonDocument]:
    """Return all people who are named in the settings, in the order of their names."""
    known = directory.members
    spelled = {known.key(name): name for group in directory.groups.values() for name in group.members}
    names = sorted({known.spelled.get(key) or spelled.get(key, key) for key in known.people})
    return [
        PersonDocument(
            name=name,
            groups=tuple(
                group for key, group in known.groups.items() if known.key(name) in known.members[key]
            ),
            addresses=[
                AddressDocument(by=one.kind, where=shown(one))
                for one in (directory.people[name].addresses if name in directory.people else ())
            ],
            keys=list(_keys(directory, name)),
        )
        for name in names
    ]


def _keys(directory: Directory, name: str) -> Iterator[SigningKeyDocument]:
    known = directory.members
    texts = directory.people[name].ssh if name in directory.people else ()
    comments = {text.split()[1]: " ".join(text.split()[2:]) for text in texts}
    for key in known.ssh.get(known.key(name), ()):
        algorithm, blob = key.split()
        yield _key(directory, "ssh", fingerprint(key), algorithm, comments.get(blob, ""))
    for line in known.passkeys.get(known.key(name), ()):
        one = passkey(line)
        yield _key(directory, "passkey", one.fingerprint, one.origin, one.comment)


def _key(
    directory: Directory, kind: SignatureKind, id: str, algorithm: str, comment: str
) -> SigningKeyDocument:
    life = directory.members.lives.get(id, ALWAYS)
    return SigningKeyDocument(
        kind=kind,
        fingerprint=id,
        type=algorithm,
        comment=comment,
        valid_from=None if life.since is None else iso(life.since),
        revoked_from=None if life.until is None else iso(life.until),
    )
