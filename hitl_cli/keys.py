"""The keys that sign links and sessions: a file of their own, 0600, made when it is first needed.

The first key signs; those after it were rotated out, and are believed until what they signed has ended.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path  # noqa: TC003 - the field of a Struct
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_BYTES = 32

LONGEST_LIFE_MS = 366 * 86_400_000
"""The longest that anything signed is believed, and so how long a rotated key is kept."""


class Key(Struct, frozen=True, kw_only=True):
    """A key. `retired_at` is when it was rotated out, ms since the epoch; None for the one that signs."""

    secret: str
    created_at: int
    retired_at: int | None = None


class Keys(Struct, frozen=True):
    """All keys that are believed, the one that signs first."""

    keys: tuple[Key, ...]

    @property
    def secrets(self) -> list[str]:
        """The secrets, the oldest first, as itsdangerous takes them."""
        return [key.secret for key in reversed(self.keys)]


def load_keys(path: Path, now: int, new_secret: Callable[[], str] | None = None) -> Keys:
    """Return the keys of a file, which is made if there is none. `now` is ms since the epoch.

    Raises BadInput for a file that cannot be read, makes no sense, or that others could read.
    """
    try:
        found = read_keys(path)
    except FileNotFoundError:
        key = Key(secret=(new_secret or fresh_secret)(), created_at=now)
        if write_keys(path, Keys((key,)), replace=False):
            return Keys((key,))
        found = read_keys(path)  # another process was first
    believed = tuple(
        key for key in found.keys if key.retired_at is None or now < key.retired_at + LONGEST_LIFE_MS
    )
    return Keys(believed)


def rotate(path: Path, now: int, *, forget: bool = False) -> Keys:
    """Have a new key sign from now on; with `forget`, nothing that was signed before is believed any more."""
    before = load_keys(path, now)
    old = () if forget else before.keys
    retired = tuple(
        msgspec.structs.replace(key, retired_at=now if key.retired_at is None else key.retired_at)
        for key in old
    )
    keys = Keys((Key(secret=fresh_secret(), created_at=now), *retired))
    write_keys(path, keys, replace=True)
    return keys


def fresh_secret() -> str:
    """Return a secret that nobody can guess."""
    return secrets.token_urlsafe(KEY_BYTES)


def read_keys(path: Path) -> Keys:
    """Return the keys in a file. Raises FileNotFoundError, BadInput."""
    try:
        if path.stat().st_mode & 0o077:
            raise BadInput(f"{path} can be read by others, who could sign links: chmod 600 it.")
        found = msgspec.json.decode(path.read_bytes(), type=Keys)
    except FileNotFoundError:
        raise
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"the keys in {path} cannot be read: {error}.") from error
    if not found.keys or any(len(key.secret) < KEY_BYTES for key in found.keys):
        raise BadInput(f"the keys in {path} make no sense: one is missing, or too short.")
    return found


def write_keys(path: Path, keys: Keys, *, replace: bool) -> bool:
    """Write the keys, all or nothing. Return False if the file is there and is not to be replaced.

    Raises BadInput.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys), indent=2))
            file.flush()
            os.fsync(file.fileno())
        try:
            if replace:
                beside.replace(path)
            else:
                os.link(beside, path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"the keys cannot be kept in {path}: {error.strerror}.") from error
    return True
