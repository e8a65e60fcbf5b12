"""The keys that sign links and sessions: a file of their own, 0600, made when it is first needed.

The first key signs; those after it were rotated out, and are believed until what they signed has ended.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.errors import BadInput, BadKey
from hitl_cli.format.stable_ids import stable_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_BYTES = 32

NAME_DIGITS = 8

MAX_FILE_BYTES = 1_000_000

LONGEST_LIFE_MS = 366 * 86_400_000
"""The longest that anything signed is believed, and so how long a rotated key is kept."""


class Key(Struct, frozen=True, kw_only=True):
    """A key. `retired_at` is when it was rotated out, ms since the epoch; None for the one that signs."""

    secret: str
    created_at: int
    retired_at: int | None = None

    @property
    def name(self) -> str:
        """A name by which people tell keys apart, and which does not give the secret away."""
        return stable_id(self.secret, NAME_DIGITS)

    @property
    def ends_at(self) -> int | None:
        """Until when it is believed, ms since the epoch; None for the one that signs."""
        return None if self.retired_at is None else self.retired_at + LONGEST_LIFE_MS


class Keys(Struct, frozen=True):
    """All keys that are believed, the one that signs first."""

    keys: tuple[Key, ...]

    @property
    def secrets(self) -> list[str]:
        """The secrets, the oldest first, as itsdangerous takes them."""
        return [key.secret for key in reversed(self.keys)]


_keys = msgspec.json.Decoder(Keys)
"""Made here, so that no two threads inspect the type at once: msgspec would crash."""


def load_keys(path: Path, now: int) -> Keys:
    """Return the keys of a file, which is made if there is none. `now` is ms since the epoch.

    Raises BadInput for a file that cannot be read, makes no sense, or that others could read.
    """
    try:
        found = _read_keys(path)
    except FileNotFoundError:
        key = Key(secret=secrets.token_urlsafe(KEY_BYTES), created_at=now)
        if write_keys(path, Keys((key,)), replace=False):
            return Keys((key,))
        found = _read_keys(path)  # another process was first
    return Keys(tuple(key for key in found.keys if key.ends_at is None or now < key.ends_at))


def rotate(path: Path, now: int, *, forget: bool = False) -> Keys:
    """Have a new key sign from now on; with `forget`, nothing that was signed before is believed any more.

    Then it does not matter what the file holds, nor whether it can be read. Raises BadInput.
    """
    with _alone(path):
        before = () if forget else load_keys(path, now).keys
        retired = tuple(
            key if key.retired_at is not None else msgspec.structs.replace(key, retired_at=now)
            for key in before
        )
        keys = Keys((Key(secret=secrets.token_urlsafe(KEY_BYTES), created_at=now), *retired))
        write_keys(path, keys, replace=True)
    return keys


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let nobody else rotate meanwhile: of two new keys, none is lost. Raises BadInput."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise BadKey(f"the keys cannot be kept in {path}: {error.strerror}.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read_keys(path: Path) -> Keys:
    """Return the keys in a file. Raises FileNotFoundError, BadInput."""
    try:
        found = _keys.decode(_read_private(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadKey(f"the keys in {path} cannot be read: {error.strerror}.") from error
    except msgspec.DecodeError as error:
        raise _damaged(path) from error
    too_short = any(len(key.secret) < KEY_BYTES for key in found.keys)
    if not found.keys or found.keys[0].retired_at is not None or too_short:
        raise _damaged(path)
    return found


def _read_private(path: Path) -> bytes:
    """Return what is in a file that is its owner's alone. Raises OSError, BadInput."""
    # O_NONBLOCK does not wait for another process to write to a named pipe.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise BadKey(f"{path} is no file that could hold keys.")
        if mode & 0o077:
            raise BadKey(
                f"{path} can be read by others, who could sign links: chmod 600 it, and if somebody may have"
                " read it, `hitl key rotate --forget`."
            )
        return file.read(MAX_FILE_BYTES)


def _damaged(path: Path) -> BadInput:
    """Return the error for a file in which there are no keys that could be used."""
    return BadKey(
        f"{path} does not hold keys that can be used: put back a copy, or have `hitl key rotate --forget`"
        " make a new one, with which all links and sessions end."
    )


def write_keys(path: Path, keys: Keys, *, replace: bool) -> bool:
    """Write the keys, all or nothing. Return False if the file is there and is not to be replaced.

    Raises BadInput.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n")
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
        raise BadKey(f"the keys cannot be kept in {path}: {error.strerror}.") from error
    return True
