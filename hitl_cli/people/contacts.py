"""Contacts: how people and groups are reached, from the settings, and the settings for mail and webhooks.

A name has the form that a request uses: a person's name, or `group:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli import plugins
from hitl_cli.errors import BadInput, BadSetting, naming
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.mail_headers import is_address, mailbox
from hitl_cli.format.names import folded, normalized
from hitl_cli.format.passkeys import are_verified_here, passkey
from hitl_cli.format.public_keys import fingerprint, public_key
from hitl_cli.format.toml import toml_name
from hitl_cli.people.allowed_signers import AllowedSigner
from hitl_cli.people.callbacks import NO_CALLBACKS, CallbackSettings
from hitl_cli.people.checkpoints import CheckpointSettings
from hitl_cli.people.groups import KeyLife, bare_name, groups_of, is_group, unknown_people
from hitl_cli.people.oidc_settings import OidcSettings
from hitl_cli.people.visibility import EVERYONE, Visibility
from hitl_cli.requests.demand import Allowances, Policy
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from hitl_cli.people.groups import Groups

# Texts, compiled when used: most commands need none of them.
HTTP_URL = r"https?://[^\s/?#]+[^\s]*"
VARIABLE = r"\$[A-Za-z_][A-Za-z0-9_]*"
HOST = r"[^\s/@\[\]]+"
HOOK_NAME = r"[A-Za-z0-9_-]{1,64}"
FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
SLACK_USER = r"[UW][A-Z0-9]{2,20}"
LAST_PORT = 65_535

_CHANNELS = ("email", "webhook", "slack", "apprise", "console")
"""The default order in which channels are tried; plugins' channels come last. The first that accepts the
message ends it."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SLACK_SECRET_CHARS = 16
"""Slack's secrets have 32. A much shorter one could be guessed."""

SECRET_BYTES = range(24, 65)
"""Valid lengths of a Standard Webhooks secret."""


class Address(Struct, frozen=True):
    """One way to reach someone: a channel, and the address in it (empty for the console)."""

    kind: str
    to: str = ""


class Contact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A person and how to reach them: `[people.NAME]`. `notify` is the order in which channels are tried.

    `digest` is a duration: messages within it are sent as one. `slack_user` is the person's member id in
    Slack, which identifies them when they answer there, and `oidc` is their account at the sign-in provider.
    A URL may be `$NAME`, an environment variable, because those of Slack and Apprise are secrets. `channels`
    are addresses for plugins' channels; in the settings file they are beside the others. `ssh` and `passkeys`
    are the public keys with which the person signs.
    """

    email: str | None = None
    webhook: str | None = None
    slack: str | None = None
    apprise: str | tuple[str, ...] = ()
    channels: dict[str, str | tuple[str, ...]] = {}
    notify: tuple[str, ...] | None = None
    digest: str | None = None
    slack_user: str | None = None
    oidc: str | None = None
    ssh: tuple[str, ...] = ()
    passkeys: tuple[str, ...] = ()
    deputies: tuple[str, ...] = ()

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """All ways to reach them, in the order in which they are tried."""
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
    """Return the addresses for a channel as a tuple; the settings may have one or several."""
    return (addresses,) if isinstance(addresses, str) else addresses


class GroupContact(Contact, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of people, `[groups.NAME]`: its members, and optionally a contact for the whole group."""

    members: tuple[str, ...] = ()


class EmailSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The mail server: `[email]`. The password may be `$NAME`, an environment variable."""

    host: str
    port: int = 587
    user: str | None = None
    password: str | None = None
    from_: str = "hitl@localhost"
    tls: Literal["starttls", "tls", "none"] = "starttls"


class HookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program that may answer by `POST /hooks/NAME`: `[hooks.NAME]`. The secret may be `$NAME`."""

    secret: str
    kind: Literal["webhook", "slack"] = "webhook"


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How webhooks are signed (Standard Webhooks): `[webhooks]`. The secret may be `$NAME`."""

    secret: str | None = None


class Directory(Struct, frozen=True, kw_only=True, dict=True):
    """All people, groups and channels of the settings. `gateway` is the URL that links begin with.

    `anybody` are the names to notify of requests without assignees, which anyone may answer. `strict_people`
    refuses requests to names that are not in the settings. `policy` has the minimum demands on decisions,
    `visibility` who may see what. `signers` come from the file of allowed signers. `revoked` has the instant
    from which on a key is revoked, in ms since the epoch, by its fingerprint. `files` are the other files
    that it was read from.
    """

    people: Mapping[str, Contact] = {}
    groups: Mapping[str, GroupContact] = {}
    anybody: tuple[str, ...] = ()
    email: EmailSettings | None = None
    webhooks: WebhookSettings = WebhookSettings()
    hooks: Mapping[str, HookSettings] = {}
    callbacks: CallbackSettings = NO_CALLBACKS
    oidc: OidcSettings | None = None
    gateway: str = "http://127.0.0.1:5001"
    strict_people: bool = False
    policy: Policy = {}
    allowances: Allowances = {}
    visibility: Visibility = EVERYONE
    checkpoints: CheckpointSettings = CheckpointSettings()
    signers: tuple[AllowedSigner, ...] = ()
    revoked: Mapping[str, int] = {}
    files: tuple[Path, ...] = ()

    @cached_property
    def members(self) -> Groups:
        """The people and the members of each group."""
        addresses = {name: contact.email for name, contact in self.people.items()}
        named = groups_of({}, addresses)
        ssh = {name: list(map(public_key, contact.ssh)) for name, contact in self.people.items()}
        for signer in self.signers:
            for name in map(named.name, signer.people):
                addresses.setdefault(name, None)
                ssh.setdefault(name, []).append(signer.key)
        found = groups_of(
            {name: group.members for name, group in self.groups.items()},
            addresses,
            strict=self.strict_people,
            ssh={name: tuple(dict.fromkeys(keys)) for name, keys in ssh.items()},
            passkeys={name: contact.passkeys for name, contact in self.people.items()},
            policy=self.policy,
            visibility=self.visibility,
        )
        mapped = () if self.oidc is None else self.oidc.groups.values()
        return replace(
            found,
            allowances=self.allowances,
            by_sign_in=frozenset(folded(bare_name(group)) for group in mapped),
            lives=key_lives(self.signers, self.revoked),
            deputies={
                folded(name): frozenset(map(named.key, contact.deputies))
                for name, contact in self.people.items()
                if contact.deputies
            },
        )

    @property
    def reaches_somebody(self) -> bool:
        """Whether anyone has a contact."""
        return any(one.addresses for one in [*self.people.values(), *self.groups.values()])

    def contact(self, name: str) -> Contact | None:
        """Return the contact of a person or a group; None if the settings have none."""
        person = self.people.get(self.members.name(name))
        return person or self.groups.get(self.members.groups.get(folded(bare_name(name)), ""))

    def person_at(self, email: str) -> str | None:
        """Return the person with an e-mail address, ignoring case; None if nobody has it."""
        wanted = folded(email)
        return next((name for name, one in self.people.items() if folded(one.email or "") == wanted), None)

    def person_in_slack(self, user: str) -> str | None:
        """Return the person with this member id in Slack; None if nobody has it."""
        return next((name for name, one in self.people.items() if user and one.slack_user == user), None)

    def person_at_provider(self, account: str) -> str | None:
        """Return the person with this `oidc`; None if nobody has it."""
        return next((name for name, one in self.people.items() if one.oidc == account), None)


def key_lives(signers: Iterable[AllowedSigner], revoked: Mapping[str, int]) -> dict[str, KeyLife]:
    """Return the lives of keys, by their fingerprints. Keys that are not listed are always valid."""
    lives = {
        fingerprint(signer.key): KeyLife(signer.since, signer.until)
        for signer in signers
        if (signer.since, signer.until) != (None, None)
    }
    for key, at in revoked.items():
        known = lives.get(key, KeyLife())
        lives[key] = KeyLife(known.since, at if known.until is None else min(at, known.until))
    return lives


def check(
    people: Mapping[str, Contact],
    groups: Mapping[str, GroupContact],
    email: EmailSettings | None,
    hooks: Mapping[str, HookSettings],
) -> None:
    """Raise BadInput for people, groups or channels that are not valid; the message names the key."""
    _check_names("people", people)
    _check_names("groups", groups)
    for name, contact in people.items():
        if is_group(name):
            raise BadSetting(f"people.{name} is a group's name: write [groups.{bare_name(name)}].")
        _check_contact(f"people.{toml_name(name)}", contact)
    for name, group in groups.items():
        for other in ("slack_user", "oidc", "ssh", "passkeys", "deputies"):
            if getattr(group, other):
                raise BadSetting(f"groups.{name}.{other} is not possible: {other} is for people only.")
        for member in filter(is_group, group.members):
            raise BadSetting(f"groups.{toml_name(name)}.members has {member}: name the people of that group.")
        _check_contact(f"groups.{toml_name(name)}", group)
    if email is not None:
        _check_email(email)
    for name in hooks:
        if not re.fullmatch(HOOK_NAME, name):
            raise BadSetting(f"hooks.{name} is part of a URL: use letters, digits, - and _ only.")
    _check_unique(people)


def _check_unique(people: Mapping[str, Contact]) -> None:
    """Raise BadSetting if two people have the same id elsewhere."""
    for key in ("slack_user", "oidc"):
        owners: dict[str, str] = {}
        for name, contact in people.items():
            id = getattr(contact, key)
            if id and (other := owners.setdefault(id, name)) != name:
                raise BadSetting(
                    f"people.{other}.{key} and people.{name}.{key} are both {id!r}, but one account is one"
                    " person: it must not be set for two people."
                )


def check_revoked(revoked: Mapping[str, datetime]) -> None:
    """Raise BadSetting for a revocation of no fingerprint, or at an instant without a time zone."""
    for key, at in revoked.items():
        if not re.fullmatch(FINGERPRINT, key):
            raise BadSetting(
                f"revoked.{key!r} is not a fingerprint, such as SHA256:…: `hitl people` shows them."
            )
        if at.tzinfo is None:
            raise BadSetting(f"revoked.{key!r} needs a time zone, as in {at.isoformat()}Z.")


def check_signers(directory: Directory) -> None:
    """Raise BadSetting if two people have the same key: then it does not prove who signed."""
    owners: dict[str, str] = {}
    groups = directory.members
    for person, key in [*key_owners(groups)]:
        if (other := owners.setdefault(key, person)) != person:
            raise BadSetting(
                f"the key {key} is set for two people, {groups.name(other)} and {groups.name(person)}: it"
                " must be unique."
            )


def key_owners(groups: Groups) -> Iterator[tuple[str, str]]:
    """Yield each person who can sign, by their key in `groups`, with the fingerprint of a public key."""
    yield from ((person, fingerprint(key)) for person, keys in groups.ssh.items() for key in keys)
    for person, lines in groups.passkeys.items():
        yield from ((person, passkey(line).fingerprint) for line in lines)


def check_named(directory: Directory) -> None:
    """Raise BadSetting for a role, deputy or approver that is not in the settings."""
    roles = directory.visibility.roles
    for role in roles.__struct_fields__:
        for name in getattr(roles, role):
            if directory.members.unknown((name,)):
                raise BadSetting(f"roles.{role}: {unknown_people((name,), directory.members)}")
    for pattern, demand in directory.policy.items():
        named = () if isinstance(demand.approvals, int) else tuple(demand.approvals)
        if unknown := directory.members.unknown(named):
            said = unknown_people(unknown, directory.members)
            raise BadSetting(f"policy.{toml_name(pattern)}.approvals: {said}")
    for pattern, allowance in directory.allowances.items():
        if allowance.extend is not None:
            with naming(f"requests.{toml_name(pattern)}.extend"):
                parse_duration(allowance.extend)
    for person, contact in directory.people.items():
        if unknown := directory.members.unknown(contact.deputies):
            raise BadSetting(
                f"people.{toml_name(person)}.deputies: {unknown_people(unknown, directory.members)}"
            )


def check_anybody(directory: Directory) -> None:
    """Raise BadInput for a name in `anybody` that is not in the settings."""
    for name in directory.anybody:
        if directory.contact(name) is None:
            raise BadSetting(f"anybody names {name!r}, who is not in the settings.")


def _check_names(table: str, names: Iterable[str]) -> None:
    """Raise BadSetting for a name without visible characters, or for two spellings of one name."""
    known: dict[str, str] = {}
    for name in names:
        if not normalized(name):
            raise BadSetting(f"{table}.{name!r} is not a name: it has no visible character.")
        if (other := known.setdefault(folded(name), name)) != name:
            raise BadSetting(
                f"{table}.{other!r} and {table}.{name!r} are the same name: case and invisible characters do"
                " not count. Keep one of them."
            )


def _check_contact(key: str, contact: Contact) -> None:
    """Raise BadInput for an address that cannot be one."""
    if contact.email is not None and not is_address(contact.email):
        raise BadSetting(f"{key}.email is {contact.email!r}, which is not an e-mail address.")
    for kind, url in (("webhook", contact.webhook), ("slack", contact.slack)):
        if url is not None and not (is_http_url(url) or re.fullmatch(VARIABLE, url)):
            raise BadSetting(f"{key}.{kind} must be a URL that begins with https:// (or http://).")
    if not all("://" in url or re.fullmatch(VARIABLE, url) for url in several(contact.apprise) if url):
        raise BadSetting(f"{key}.apprise must be an Apprise URL, such as ntfy://… or tgram://….")
    if contact.slack_user is not None and not re.fullmatch(SLACK_USER, contact.slack_user):
        raise BadSetting(
            f"{key}.slack_user is {contact.slack_user!r}, which is not a member ID such as U0123ABCD. Slack"
            " shows it in the person's profile."
        )
    _check_keys(key, contact)
    if contact.digest is not None:
        with naming(f"{key}.digest is not valid"):
            parse_duration(contact.digest)
    _check_channels(key, contact)


def _check_keys(key: str, contact: Contact) -> None:
    """Raise BadSetting for a public key that cannot be one."""
    for kind, texts, read in (("ssh", contact.ssh, public_key), ("passkeys", contact.passkeys, passkey)):
        try:
            for text in texts:
                read(text)
        except BadInput as error:
            raise BadSetting(f"{key}.{kind}: {error}") from None
    if contact.passkeys and not are_verified_here():
        raise BadSetting(f"{key}.passkeys needs an extra: pip install 'resonate-hitl[passkeys]'.")


def _check_channels(key: str, contact: Contact) -> None:
    """Raise BadSetting for a channel that does not exist or has no address."""
    for kind in contact.channels:
        if kind in _CHANNELS or plugins.find("hitl.channels", kind) is None:
            raise BadSetting(f"{key}.channels names {kind}, but no plugin adds a channel with that name.")
    reached = {address.kind for address in contact.addresses}
    if missing := next((kind for kind in contact.notify or () if kind not in reached), None):
        raise BadSetting(f"{key}.notify names {missing}, but {key}.{missing} is not set.")


def is_http_url(text: str) -> bool:
    """Whether a text is a URL that can be posted to."""
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(HTTP_URL, text) and parts.hostname and parts.port != 0)
    except ValueError:  # an invalid port or IPv6 address
        return False


def _check_email(email: EmailSettings) -> None:
    """Raise BadInput for settings that cannot send mail."""
    if not re.fullmatch(HOST, email.host):
        raise BadSetting(f"email.host is {email.host!r}, which is not a host.")
    if not 0 < email.port <= LAST_PORT:
        raise BadSetting(
            f'email.port is {email.port}, which is not a port: use 587, or 465 with tls = "tls".'
        )
    if mailbox(email.from_) is None:
        raise BadSetting(f"email.from is {email.from_!r}: write a@example.org, or Name <a@example.org>.")
    if (email.user is None) != (email.password is None):
        raise BadSetting("email.user and email.password must be given together.")


def check_secrets(
    webhooks: WebhookSettings, hooks: Mapping[str, HookSettings], callbacks: CallbackSettings = NO_CALLBACKS
) -> None:
    """Raise BadInput for a secret that cannot sign; the message does not show it."""
    named = {"webhooks": webhooks.secret, "callbacks": callbacks.secret}
    signing = {name: secret for name, secret in named.items() if secret is not None}
    signing |= {f"hooks.{name}": hook.secret for name, hook in hooks.items() if hook.kind == "webhook"}
    for key, secret in signing.items():
        try:
            signing_key(secret)
        except BadInput as error:
            raise BadSetting(f"{key}.secret is not valid: {error}") from None
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
            f"it must be {SECRET_PREFIX} followed by base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes."
            ' Make one with `echo "whsec_$(openssl rand -base64 32)"`.'
        )
    return key


class NotificationSettings(Struct, frozen=True, kw_only=True):
    """The contacts, and the file with the keys that sign links; a dependency of each step.

    Without keys, links lead to pages that need sign-in. `live` is for long-running processes.
    """

    directory: Directory
    keys: Path | None = None
    live: Callable[[], Directory] | None = None

    @property
    def now(self) -> Directory:
        """The current people and contacts: the settings file may have changed."""
        return self.directory if self.live is None else self.live()


# Recipients


def recipients(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the recipients, once each: people by name, and `group:NAME` for a group with its own contact.

    If a group has no contact of its own, its members with a contact are notified.
    """
    return tuple(who for who in assignees(names, directory) if is_reached(who, directory))


def concerns(names: Iterable[str], directory: Directory, decided_by: str | None = None) -> bool:
    """Whether there is a recipient who did not decide the request."""
    if not (directory.people or directory.groups):
        return False
    groups = directory.members
    return any(not groups.same(who, decided_by) for who in recipients(names, directory))


def assignees(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the same as `recipients`, including those without a contact."""
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
    """Yield the recipients for one name in a request."""
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
    """Return the names that have no recipient; of a group with some contacts, the members without one."""
    left: list[str] = []
    for name in names:
        meant = list(_meant_by(name, directory))
        silent = [who for who in meant if not is_reached(who, directory)]
        left += [name] if silent == meant else silent
    return tuple(dict.fromkeys(left))


def without_contact(names: Iterable[str], directory: Directory) -> tuple[str, ...]:
    """Return the assignees without a contact; empty if the settings have no contacts at all."""
    if not directory.reaches_somebody:
        return ()
    return tuple(who for who in assignees(names, directory) if not is_reached(who, directory))


def silent_members(directory: Directory) -> dict[str, tuple[str, ...]]:
    """Return, for each group without its own contact, the members without a contact."""
    silent = {
        name: tuple(
            who for who in map(directory.members.name, group.members) if not is_reached(who, directory)
        )
        for name, group in directory.groups.items()
        if not group.addresses
    }
    return {name: members for name, members in silent.items() if members}
