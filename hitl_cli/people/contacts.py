"""Where people and groups are reached: what the settings say of them, and through what mail is sent.

A name is written as a request has it: a person's, or `group:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from hitl_cli import plugins
from hitl_cli.errors import BadInput, BadSetting
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.mail_headers import is_address, mailbox
from hitl_cli.format.names import folded, normalized
from hitl_cli.people.groups import bare_name, groups_of, is_group
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hitl_cli.people.groups import Groups

# Compiled where one is used: most commands meet none of these.
HTTP_URL = r"https?://[^\s/?#]+[^\s]*"
VARIABLE = r"\$[A-Za-z_][A-Za-z0-9_]*"
HOST = r"[^\s/@\[\]]+"
HOOK_NAME = r"[A-Za-z0-9_-]{1,64}"
SLACK_USER = r"[UW][A-Z0-9]{2,20}"
LAST_PORT = 65_535

_CHANNELS = ("email", "webhook", "slack", "apprise", "console")
"""In this order they are tried where nobody says otherwise, and those of plugins last. It is enough that one
takes the message."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SLACK_SECRET_CHARS = 16
"""Slack's have 32; what is much shorter could be guessed."""

SECRET_BYTES = range(24, 65)
"""How long the secrets of Standard Webhooks are."""


class Address(Struct, frozen=True):
    """One way to reach somebody: the channel, and what that takes for an address; nothing for the console."""

    kind: str
    to: str = ""


class Contact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a person is reached: `[people.NAME]`. `notify` is the order in which channels are tried.

    `digest`, a duration, is for how long what comes is gathered into one message. `slack_user` is their
    member id in Slack, by which they are known when they answer there. A URL may be `$NAME`, an environment
    variable: those of Slack and Apprise are secrets. `channels` are the addresses for channels of plugins;
    the settings have them beside the others.
    """

    email: str | None = None
    webhook: str | None = None
    slack: str | None = None
    apprise: str | tuple[str, ...] = ()
    channels: dict[str, str | tuple[str, ...]] = {}
    notify: tuple[str, ...] | None = None
    digest: str | None = None
    slack_user: str | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All ways to reach them, the first to be tried first."""
        found: dict[str, tuple[str, ...]] = {
            "email": (self.email,) if self.email else (),
            "webhook": (self.webhook,) if self.webhook else (),
            "slack": (self.slack,) if self.slack else (),
            "apprise": tuple(filter(None, several(self.apprise))),
            "console": ("",) if self.notify else (),
            **{kind: several(to) for kind, to in self.channels.items()},
        }
        order = (*_CHANNELS, *self.channels) if self.notify is None else self.notify
        return tuple(Address(kind, to) for kind in dict.fromkeys(order) for to in found.get(kind, ()))


def several(addresses: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the addresses for a channel, of which the settings may name one or several."""
    return (addresses,) if isinstance(addresses, str) else addresses


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


class Directory(Struct, frozen=True, kw_only=True, dict=True):
    """All that the settings say of how people are reached. `gateway` is the URL that links begin with.

    `anybody` is who is told of a request that names nobody; it may be answered by others all the same.
    `strict_people` refuses requests that ask a name of which the settings say nothing.
    """

    people: Mapping[str, Contact] = {}
    groups: Mapping[str, GroupContact] = {}
    anybody: tuple[str, ...] = ()
    email: EmailSettings | None = None
    webhooks: WebhookSettings = WebhookSettings()
    hooks: Mapping[str, HookSettings] = {}
    gateway: str = "http://127.0.0.1:5001"
    strict_people: bool = False

    @cached_property
    def members(self) -> Groups:
        """Who is who, and the members of each group."""
        return groups_of(
            {name: group.members for name, group in self.groups.items()},
            {name: contact.email for name, contact in self.people.items()},
            strict=self.strict_people,
        )

    @property
    def reaches_somebody(self) -> bool:
        """Whether there is anybody to whom a message could be sent."""
        return any(one.addresses for one in [*self.people.values(), *self.groups.values()])

    def contact(self, name: str) -> Contact | None:
        """Return how a name is reached; None where the settings do not say."""
        person = self.people.get(self.members.name(name))
        return person or self.groups.get(self.members.groups.get(folded(bare_name(name)), ""))

    def person_at(self, email: str) -> str | None:
        """Return the person who has an e-mail address, however it is capitalised; None if nobody does."""
        wanted = folded(email)
        return next((name for name, one in self.people.items() if folded(one.email or "") == wanted), None)

    def person_in_slack(self, user: str) -> str | None:
        """Return the person whom Slack knows by a member id; None if nobody is."""
        return next((name for name, one in self.people.items() if user and one.slack_user == user), None)


def check(
    people: Mapping[str, Contact],
    groups: Mapping[str, GroupContact],
    email: EmailSettings | None,
    hooks: Mapping[str, HookSettings],
) -> None:
    """Raise BadInput for what the settings say of people that makes no sense; it names the key."""
    _check_names("people", people)
    _check_names("groups", groups)
    for name, contact in people.items():
        if is_group(name):
            raise BadSetting(f"people.{name} is named like a group: write [groups.{bare_name(name)}].")
        _check_contact(f"people.{name}", contact)
    for name, group in groups.items():
        if group.slack_user is not None:
            raise BadSetting(f"groups.{name}.slack_user belongs to a person, not to a group.")
        _check_contact(f"groups.{name}", group)
    if email is not None:
        _check_email(email)
    for name in hooks:
        if not re.fullmatch(HOOK_NAME, name):
            raise BadSetting(f"hooks.{name} is part of a URL: letters, digits, - and _ alone, please.")
    ids = [contact.slack_user for contact in people.values() if contact.slack_user]
    if twice := next((id for id in ids if ids.count(id) > 1), None):
        raise BadSetting(f"slack_user {twice} is said of two people: nobody could tell who answers.")


def check_anybody(directory: Directory) -> None:
    """Raise BadInput if somebody is to be told of what names nobody, whom the settings do not know."""
    for name in directory.anybody:
        if directory.contact(name) is None:
            raise BadSetting(f"anybody names {name!r}, of whom the settings say nothing.")


def _check_names(table: str, names: Iterable[str]) -> None:
    """Raise BadSetting for a name without characters, or one that means the same as another."""
    known: dict[str, str] = {}
    for name in names:
        if not normalized(name):
            raise BadSetting(f"{table}.{name!r} is no name: it has no character that shows.")
        if (other := known.setdefault(folded(name), name)) != name:
            raise BadSetting(
                f"{table}.{other!r} and {table}.{name!r} are one name: capitals make no difference, nor does"
                " what does not show. Keep one of them."
            )


def _check_contact(key: str, contact: Contact) -> None:
    """Raise BadInput for a contact that nobody could be reached by."""
    if contact.email is not None and not is_address(contact.email):
        raise BadSetting(f"{key}.email is {contact.email!r}, which is no e-mail address.")
    for kind, url in (("webhook", contact.webhook), ("slack", contact.slack)):
        if url is not None and not (is_http_url(url) or re.fullmatch(VARIABLE, url)):
            raise BadSetting(f"{key}.{kind} must be an address that begins with https:// (or http://).")
    if not all("://" in url or re.fullmatch(VARIABLE, url) for url in several(contact.apprise) if url):
        raise BadSetting(f"{key}.apprise must be an address of Apprise, such as ntfy://… or tgram://….")
    if contact.slack_user is not None and not re.fullmatch(SLACK_USER, contact.slack_user):
        raise BadSetting(
            f"{key}.slack_user is {contact.slack_user!r}, and not a member id such as U0123ABCD: Slack shows"
            " it in the profile."
        )
    if contact.digest is not None:
        try:
            parse_duration(contact.digest)
        except BadInput as error:
            raise BadSetting(f"{key}.digest makes no sense: {error}") from error
    _check_channels(key, contact)


def _check_channels(key: str, contact: Contact) -> None:
    """Raise BadSetting for a channel that is not there, or has no address."""
    for kind in contact.channels:
        if kind in _CHANNELS or plugins.find("hitl.channels", kind) is None:
            raise BadSetting(f"{key}.channels names {kind}, and no plugin adds a channel of that name.")
    reached = {address.kind for address in contact.addresses}
    if missing := next((kind for kind in contact.notify or () if kind not in reached), None):
        raise BadSetting(f"{key}.notify names {missing}, and there is no {key}.{missing}.")


def is_http_url(text: str) -> bool:
    """Whether a text is an address that one could post to."""
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(HTTP_URL, text) and parts.hostname and parts.port != 0)
    except ValueError:  # a port or an IPv6 address that is none
        return False


def _check_email(email: EmailSettings) -> None:
    """Raise BadInput for settings through which no mail could be sent."""
    if not re.fullmatch(HOST, email.host):
        raise BadSetting(f"email.host is {email.host!r}, which is no host.")
    if not 0 < email.port <= LAST_PORT:
        raise BadSetting(f'email.port is {email.port}, which is no port: 587 is usual, 465 with tls = "tls".')
    if mailbox(email.from_) is None:
        raise BadSetting(f"email.from is {email.from_!r}: write a@example.org, or Name <a@example.org>.")
    if (email.user is None) != (email.password is None):
        raise BadSetting("email.user and email.password go together.")


def check_secrets(webhooks: WebhookSettings, hooks: Mapping[str, HookSettings]) -> None:
    """Raise BadInput for a secret that nothing can be signed with; it does not show it."""
    signing = {"webhooks": webhooks.secret} if webhooks.secret is not None else {}
    signing |= {f"hooks.{name}": hook.secret for name, hook in hooks.items() if hook.kind == "webhook"}
    for key, secret in signing.items():
        try:
            signing_key(secret)
        except BadInput as error:
            raise BadSetting(f"{key}.secret makes no sense: {error}") from None
    for name, hook in hooks.items():
        if hook.kind == "slack" and len(hook.secret) < SLACK_SECRET_CHARS:
            raise BadSetting(f"hooks.{name}.secret is not Slack's signing secret, which has 32 digits.")


def signing_key(secret: str) -> bytes:
    """Return the key in a secret of Standard Webhooks: `whsec_` and base64. Raises BadInput."""
    import base64
    import binascii

    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise BadSetting(
            f"it must be {SECRET_PREFIX} and base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes:"
            ' make one with `echo "whsec_$(openssl rand -base64 32)"`.'
        )
    return key


class NotificationSettings(Struct, frozen=True, kw_only=True):
    """How people are reached, and the file of the keys that sign links to them; a dependency of each step.

    Without keys, links lead to where one signs in. `live` is for a process that runs for long.
    """

    directory: Directory
    keys: Path | None = None
    live: Callable[[], Directory] | None = None

    @property
    def now(self) -> Directory:
        """How people are reached now: the settings may have changed."""
        return self.directory if self.live is None else self.live()


# Who is notified


def recipients(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return who is notified, once each: people by name, and `group:NAME` for a group with its own contact.

    Of a group without one, each member who has a contact is notified.
    """
    return tuple(who for who in assignees(names, directory) if is_reached(who, directory))


def assignees(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the same, and also those who have no contact."""
    return tuple(
        dict.fromkeys(who for name in names or directory.anybody for who in _meant_by(name, directory))
    )


def is_reached(who: str, directory: Directory) -> bool:
    """Whether an assignee has a contact."""
    known = directory.members
    contact: Contact | None = directory.people.get(known.name(who))
    if is_group(who):
        contact = directory.groups.get(known.groups.get(folded(bare_name(who)), ""))
    return contact is not None and bool(contact.addresses)


def _meant_by(name: str, directory: Directory) -> Iterator[str]:
    """Yield who is to be notified where a request asks a name."""
    known = directory.members
    person = known.name(name)
    bare = known.groups.get(folded(bare_name(name)), "")
    group = directory.groups.get(bare)
    if person in directory.people or group is None:
        yield person
    elif group.addresses:
        yield f"{GROUP}{bare}"
    else:
        yield from map(known.name, group.members)


def unreached(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the names for which nobody is notified; of a group that is in part, the members who are not."""
    left: list[str] = []
    for name in names:
        meant = list(_meant_by(name, directory))
        silent = [who for who in meant if not is_reached(who, directory)]
        left += [name] if silent == meant else silent
    return tuple(dict.fromkeys(left))


def without_contact(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the assignees that have no contact; none where the settings know no contact at all."""
    if not directory.reaches_somebody:
        return ()
    return tuple(who for who in assignees(names, directory) if not is_reached(who, directory))


def silent_members(directory: Directory) -> dict[str, tuple[str, ...]]:
    """Return the members without a contact of each group that is not reached together."""
    silent = {
        name: tuple(
            who for who in map(directory.members.name, group.members) if not is_reached(who, directory)
        )
        for name, group in directory.groups.items()
        if not group.addresses
    }
    return {name: members for name, members in silent.items() if members}
