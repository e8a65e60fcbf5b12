"""Where people and groups are reached: what the settings say of them, and through what mail is sent.

A name is written as a request has it: a person's, or `group:NAME`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from hitl_cli.errors import BadInput
from hitl_cli.questions import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.people import Groups

type ChannelKind = Literal["email", "webhook", "slack", "apprise", "console"]

HttpUrl = Annotated[str, Meta(pattern="^https?://[^\\s]+$")]
EmailAddress = Annotated[
    str, Meta(pattern='^[^@\\s<>,;:"()\\[\\]\\\\]{1,64}@[^@\\s<>,;:"()\\[\\]\\\\]{1,255}$')
]

CHANNELS: tuple[ChannelKind, ...] = ("email", "webhook", "slack", "apprise", "console")
"""In this order they are tried where nobody says otherwise: one that takes the message is enough."""


SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SECRET_BYTES = range(24, 65)
"""How long the secrets of Standard Webhooks are."""


class Address(Struct, frozen=True):
    """One way to reach somebody: an e-mail address, or a URL; nothing for the console."""

    kind: ChannelKind
    to: str = ""


class Contact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a person is reached: `[people.NAME]`. `notify` is the order in which channels are tried.

    `digest`, a duration, is for how long what comes is gathered into one message.
    """

    email: EmailAddress | None = None
    webhook: HttpUrl | None = None
    slack: HttpUrl | None = None
    apprise: str | tuple[str, ...] = ()
    notify: tuple[ChannelKind, ...] = CHANNELS
    digest: str | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All ways to reach them, the first to be tried first."""
        every = (self.apprise,) if isinstance(self.apprise, str) else self.apprise
        found: dict[ChannelKind, tuple[str, ...]] = {
            "email": (self.email,) if self.email else (),
            "webhook": (self.webhook,) if self.webhook else (),
            "slack": (self.slack,) if self.slack else (),
            "apprise": tuple(filter(None, every)),
            "console": ("",) if "console" in self.notify and self.notify != CHANNELS else (),
        }
        return tuple(Address(kind, to) for kind in dict.fromkeys(self.notify) for to in found[kind])


class GroupContact(Contact, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of people, `[groups.NAME]`: who they are, and a place where they are reached together."""

    members: tuple[str, ...] = ()


class EmailSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Through what mail is sent: `[email]`. The password may be `$NAME`, an environment variable."""

    host: str
    port: int = 587
    user: str | None = None
    password: str | None = None
    from_: str = "hitl@localhost"
    tls: Literal["starttls", "tls", "none"] = "starttls"


class HookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may answer by `POST /hooks/NAME`: `[hooks.NAME]`. The secret may be `$NAME`."""

    secret: str
    kind: Literal["webhook", "slack"] = "webhook"


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How webhooks are signed (Standard Webhooks): `[webhooks]`. The secret may be `$NAME`."""

    secret: str | None = None


class Directory(Struct, frozen=True, kw_only=True):
    """All that the settings say of how people are reached. `gateway` is the URL that links begin with."""

    people: Mapping[str, Contact] = {}
    groups: Mapping[str, GroupContact] = {}
    email: EmailSettings | None = None
    webhooks: WebhookSettings = WebhookSettings()
    hooks: Mapping[str, HookSettings] = {}
    gateway: str = "http://127.0.0.1:5001"

    @property
    def members(self) -> Groups:
        """The members of each group."""
        return {name: frozenset(group.members) for name, group in self.groups.items()}

    def contact(self, name: str) -> Contact | None:
        """Return how a name is reached; None where the settings do not say."""
        if name.startswith(GROUP):
            return self.groups.get(name.removeprefix(GROUP))
        return self.people.get(name) or self.groups.get(name)

    def person_at(self, email: str) -> str | None:
        """Return the person who has an e-mail address, however it is capitalised; None if nobody does."""
        return next(
            (name for name, one in self.people.items() if (one.email or "").casefold() == email.casefold()),
            None,
        )


def signing_key(secret: str) -> bytes:
    """Return the key in a secret of Standard Webhooks: `whsec_` and base64. Raises BadInput."""
    import base64  # noqa: PLC0415
    import binascii  # noqa: PLC0415

    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise BadInput(
            f"it must be {SECRET_PREFIX} and base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes:"
            ' make one with `echo "whsec_$(openssl rand -base64 32)"`.'
        )
    return key
