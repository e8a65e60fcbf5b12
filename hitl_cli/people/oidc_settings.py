"""The settings of sign-in with OpenID Connect: `[oidc]` (docs/guides/company-sign-in.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from hitl_cli import defaults
from hitl_cli.errors import BadSetting, naming
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.names import folded
from hitl_cli.people.actor import Permission
from hitl_cli.people.groups import bare_name

if TYPE_CHECKING:
    from collections.abc import Collection

type Text = Annotated[str, Meta(min_length=1, max_length=2_000)]

EMAIL = "email"

LOCAL = ("127.0.0.1", "::1", "localhost")
"""The hosts that may use http: what is sent to them stays on this machine."""

SESSION_MS = (60_000, defaults.SESSION_MS)
"""How long a session may last, at least and at most."""


LOGIN_MS = 365 * 86_400_000
"""The longest validity of a token of `hitl login`."""


class OidcSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider that signs people in: `[oidc]`. The secret may be `$NAME`, an environment variable.

    `person` is the claim that identifies a person: by a name in the settings, an e-mail address, or an
    `oidc`. `groups_claim` is the claim with groups, and `groups` maps each of its values to a group of the
    settings. `can` are the permissions of people who sign in, `session` the longest life of their session,
    and `login` that of a token of `hitl login`.
    """

    issuer: Text
    client_id: Text
    client_secret: str | None = None
    name: Annotated[str, Meta(min_length=1, max_length=60)] = "your company's account"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    person: Text = EMAIL
    verified_email: bool = True
    groups_claim: Text = "groups"
    groups: dict[str, str] = {}
    can: frozenset[Permission] = frozenset(("read", "decide"))
    session: str = "12h"
    login: str = "30d"

    @property
    def session_ms(self) -> int:
        """How long a session lasts at most, in ms."""
        return parse_duration(self.session)


def check_oidc(settings: OidcSettings, groups: Collection[str]) -> None:
    """Raise BadSetting for a provider or a mapping that is not valid; `groups` are those of the settings."""
    if not is_safe_url(settings.issuer) or urlsplit(settings.issuer).query:
        raise BadSetting(
            f"oidc.issuer is {settings.issuer!r}: it must be an https:// URL without query and fragment."
        )
    if "openid" not in settings.scopes:
        raise BadSetting('oidc.scopes must have "openid".')
    if bad := next((one for one in settings.scopes if not re.fullmatch(r"[!#-\[\]-~]+", one)), None):
        raise BadSetting(f"oidc.scopes has {bad!r}, which is not a scope.")
    if "read" not in settings.can:
        raise BadSetting('oidc.can must have "read": without it nobody can use the page.')
    for key, at_least, at_most, words in (
        ("session", *SESSION_MS, "from 1m to 12h"),
        ("login", 1, LOGIN_MS, "at most 365d"),
    ):
        with naming(f"oidc.{key}"):
            if not at_least <= parse_duration(said := getattr(settings, key)) <= at_most:
                raise BadSetting(f"{said!r} must be {words}.")
    for value, group in settings.groups.items():
        if folded(bare_name(group)) not in map(folded, groups):
            raise BadSetting(
                f"oidc.groups maps {value!r} to {group!r}, which is not a group of the settings: add"
                f" [groups.{bare_name(group)}]."
            )


def is_safe_url(url: str) -> bool:
    """Whether a URL of a provider is https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    plain = url.isprintable() and " " not in url and not parts.fragment and parts.username is None
    return plain and bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in LOCAL))
