"""The gateways that this user has signed in to with `hitl login`.

The list is in the user's config folder, readable by that user only. The tokens are in the system's keyring if
there is one, otherwise in the list.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli.errors import BadInput
from hitl_cli.format.private_files import write_private
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SERVICE = "hitl"
"""The service of the tokens in the keyring."""

LEAST_PRIORITY = 1.0
"""Keyrings with a lower priority store nothing, or store it in plain text."""

MAX_FILE_BYTES = 1_000_000


class Login(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"person": "as"}):
    """A gateway (its URL), the person, and until when the token is valid (ISO 8601).

    Without `token` it is in the keyring.
    """

    gateway: str
    person: str
    expires_at: str | None = None
    token: str | None = None


class _Logins(Struct, frozen=True):
    logins: tuple[Login, ...] = ()


def listed() -> tuple[Login, ...]:
    """Return the logins of this user. Raises BadInput for a file that is damaged, or readable by others."""
    path = _path()
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BadInput(
                    f"{path} is readable by others, who could act as you: run chmod 600 on it.",
                    code="bad-file",
                )
            return msgspec.json.decode(file.read(MAX_FILE_BYTES), type=inspected(_Logins)).logins
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", code="bad-file") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} is damaged: remove it, and run `hitl login` again.", code="bad-file"
        ) from error


def login_at(gateway: str) -> Login | None:
    """Return the login at a gateway (its URL); None if there is none. Raises BadInput."""
    url = gateway.rstrip("/")
    return next((one for one in listed() if one.gateway == url), None)


def token_of(login: Login) -> str | None:
    """Return the token of a login; None if the keyring has lost it."""
    if login.token is not None:
        return login.token
    keyring = _keyring()
    return None if keyring is None else keyring.get_password(SERVICE, login.gateway)


def keep(login: Login, token: str) -> str:
    """Keep a login and its token. Returns where the token is. Raises BadInput."""
    keyring = _keyring()
    if keyring is not None and _kept_in(keyring, login.gateway, token):
        where = f"the keyring ({keyring.get_keyring().name})"
        _write([*_others(login.gateway), msgspec.structs.replace(login, token=None)])
    else:
        where = str(_path())
        _write([*_others(login.gateway), msgspec.structs.replace(login, token=token)])
    return where


def forget(login: Login) -> None:
    """Forget a login and its token. Raises BadInput."""
    keyring = _keyring() if login.token is None else None
    if keyring is not None:
        from keyring.errors import KeyringError

        with suppress(KeyringError):  # not there, or the keyring is locked; the token is already revoked
            keyring.delete_password(SERVICE, login.gateway)
    _write(_others(login.gateway))


def _others(gateway: str) -> list[Login]:
    return [one for one in listed() if one.gateway != gateway]


def _kept_in(keyring: Any, gateway: str, token: str) -> bool:
    """Whether the keyring has taken a token."""
    from keyring.errors import KeyringError

    try:
        keyring.set_password(SERVICE, gateway, token)
    except (KeyringError, OSError):  # it is locked, or its service does not answer
        return False
    return True


def _keyring() -> Any:
    """Return the module `keyring` if it is installed and the system has a keyring; otherwise None."""
    try:
        import keyring
    except ImportError:
        return None
    return keyring if keyring.get_keyring().priority >= LEAST_PRIORITY else None


def _path() -> Path:
    """Return the file of the logins."""
    from platformdirs import user_config_path

    return user_config_path("hitl", appauthor=False) / "logins.json"


def _write(logins: Iterable[Login]) -> None:
    """Write the logins, readable by this user alone, atomically. Raises BadInput."""
    path = _path()
    try:
        write_private(path, msgspec.json.encode(_Logins(tuple(logins))) + b"\n")
    except OSError as error:
        raise BadInput(f"the login cannot be kept in {path}: {error.strerror}.", code="bad-file") from error
