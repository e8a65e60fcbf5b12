"""Checkpoints: the signed root over all decisions so far (docs/reference/proof.md)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.engine.records import Millis
from hitl_cli.errors import BadInput
from hitl_cli.format.canonical_json import canonical
from hitl_cli.format.validation import in_document
from hitl_cli.inspected import inspected
from hitl_cli.proof import ssh

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "hitl-checkpoint"
"""The purpose of the signatures, so that one of a decision or a commit is not valid for a checkpoint."""


class Checkpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first `size` leaves of the log `log` have this `root`, in hex, at an instant in ms since the epoch.

    `pruned` says that the signer has deleted runs that ended before that instant.
    """

    checkpoint: Literal["hitl-checkpoint/1"]
    log: str
    size: int
    root: str
    at: Millis
    pruned: Millis | None = None
    signature: str = ""

    def stated(self) -> bytes:
        """Return the signed bytes: the canonical JSON (RFC 8785) of all fields except the signature."""
        fields = msgspec.structs.asdict(self)
        del fields["signature"]
        return canonical(fields)


class CheckpointSigner(Struct, frozen=True, kw_only=True):
    """The key that signs checkpoints, in a file or the SSH agent, and the public keys that are trusted."""

    key: Path | None
    known: tuple[str, ...]

    def check(self) -> None:
        """Raise BadInput if no public key is trusted."""
        if not self.known:
            raise BadInput(
                'the settings have no checkpoint key: add [checkpoints] with keys = ["ssh-ed25519 …"].'
                " Nothing was changed.",
                code="no-key",
            )

    def sign(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with its signature. Raises BadInput."""
        self.check()
        stated = checkpoint.stated()
        with tempfile.TemporaryDirectory(prefix="hitl-") as folder:
            key = ssh.own_key(self.key, self.known, Path(folder))
            signature = ssh.sign(key, stated, NAMESPACE)
        signed = msgspec.structs.replace(checkpoint, signature=signature)
        if signed_with(signed, self.known) is None:
            raise BadInput(
                f"{key} is not a checkpoint key of the settings. Nothing was changed.",
                code="no-key",
            )
        return signed


def signed_with(checkpoint: Checkpoint, keys: Sequence[str]) -> str | None:
    """Return the fingerprint of the key that signed a checkpoint; None if it is not one of these."""
    return ssh.verify(checkpoint.signature, checkpoint.stated(), keys, NAMESPACE) if keys else None


def read_checkpoint(text: bytes | str, name: str) -> Checkpoint:
    """Return the checkpoint in a file with this name. Raises BadInput."""
    try:
        return msgspec.json.decode(text, type=inspected(Checkpoint))
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadInput(
            f"{name} is not a checkpoint: {in_document(error, Checkpoint)}.", code="bad-file"
        ) from error
