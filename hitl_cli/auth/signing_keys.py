"""The keys that sign links and sessions: in a file of their own, 0600, made when it is first needed.

The first key signs. The others were rotated out, and stay valid until everything they signed has expired.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.engine.disk import folder_lock
from hitl_cli.errors import BadInput, BadKey
from hitl_cli.format.private_files import write_private
from hitl_cli.format.stable_ids import stable_id
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY_BYTES = 32

NAME_DIGITS = 8

MAX_FILE_BYTES = 1_000_000

LONGEST_LIFE_MS = 366 * 86_400_000
"""The longest validity of anything signed, and so how long a rotated key is kept."""


class Key(Struct, frozen=True, kw_only=True):
    """A key. `retired_at` is when it was rotated out (ms since the epoch); None for the signing key."""

    secret: str
    created_at: int
    retired_at: int | None = None

    @property
    def name(self) -> str:
        """A name of the key, which does not reveal the secret."""
        return stable_id(self.secret, NAME_DIGITS)

    @property
    def ends_at(self) -> int | None:
        """Until when it is valid (ms since the epoch); None for the signing key."""
        return None if self.retired_at is None else self.retired_at + LONGEST_LIFE_MS


class Keys(Struct, frozen=True):
    """All valid keys, the signing key first."""

    keys: tuple[Key, ...]

    @property
    def secrets(self) -> list[str]:
        """The secrets, oldest first, as itsdangerous expects them."""
        return [key.secret for key in reversed(self.keys)]


def load_keys(path: Path, now: int) -> Keys:
    """Return the keys of a file, which is made if there is none. `now` is ms since the epoch.

    Raises BadInput for a file that is unreadable, invalid, or readable by others.
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
    """Make a new signing key. With `forget`, everything that was signed before becomes invalid.

    Then the old file need not be readable or valid. Raises BadInput.
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
    """Lock the file, so that concurrent rotations do not lose a key. Raises BadInput."""
    with ExitStack() as locked:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            locked.enter_context(folder_lock(path))
        except OSError as error:
            raise BadKey(f"the keys cannot be stored in {path}: {error.strerror}.") from error
        yield


def _read_keys(path: Path) -> Keys:
    """Return the keys in a file. Raises FileNotFoundError, BadInput."""
    try:
        found = msgspec.json.decode(_read_private(path), type=inspected(Keys))
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
    """Return the content of a file that only its owner can read, or a group that root gave it to.

    Raises OSError, BadInput.
    """
    # O_NONBLOCK does not wait for another process to write to a named pipe.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise BadKey(f"{path} is not a regular file.")
        # systemd and Kubernetes let a service read a file of root, by an ACL or a group. In a user namespace
        # the owner of that file is `nobody`.
        lent = os.geteuid() not in (0, status.st_uid)
        if mode & (0o037 if lent else 0o077):
            raise BadKey(
                f"{path} is readable by others, who could sign links: run chmod 600 on it. If someone may"
                " have read it, also run `hitl key rotate --forget`."
            )
        return file.read(MAX_FILE_BYTES)


def _damaged(path: Path) -> BadInput:
    """Return the error for a file without usable keys."""
    return BadKey(
        f"{path} has no usable keys: restore a backup, or run `hitl key rotate --forget` to make a new key,"
        " which ends all links and sessions."
    )


def write_keys(path: Path, keys: Keys, *, replace: bool) -> bool:
    """Write the keys atomically. Returns False if the file exists and must not be replaced.

    Raises BadInput.
    """
    try:
        content = msgspec.json.format(msgspec.json.encode(keys), indent=2) + b"\n"
        return write_private(path, content, replace=replace)
    except OSError as error:
        raise BadKey(f"the keys cannot be stored in {path}: {error.strerror}.") from error
