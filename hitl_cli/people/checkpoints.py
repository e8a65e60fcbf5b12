"""The settings for checkpoints of the history: `[checkpoints]`."""

from __future__ import annotations

from msgspec import Struct

from hitl_cli.format.public_keys import public_key


class CheckpointSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys` are the public SSH keys of who signs checkpoints, `key` is the file with one to sign with."""

    keys: tuple[str, ...] = ()
    key: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """The public keys without comments. Raises BadInput for what is none."""
        return tuple(map(public_key, self.keys))
