"""Who acts, through which front end, and with which permissions."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct
from msgspec.structs import force_setattr

from hitl_cli.errors import BadName, NotAllowed
from hitl_cli.format.names import normalized
from hitl_cli.people.groups import NO_GROUPS, Groups, is_among, is_group

type Permission = Literal["read", "decide", "start", "ask"]

PERMISSIONS: tuple[Permission, ...] = get_args(Permission.__value__)

EVERYTHING: frozenset[Permission] = frozenset(PERMISSIONS)

LONGEST_NAME = 200
"""Most characters in a person's name."""


class Credential(Struct, frozen=True, kw_only=True):
    """The token, link or sign-in of an actor. When it is ended, held decisions are dropped (auth/ended.py).

    `made_at` is in ms since the epoch. An end of one of the `subjects` ends it, besides the person's removal;
    `link` is the id of a link.
    """

    made_at: int
    subjects: tuple[str, ...] = ()
    link: str | None = None


class Actor(Struct, frozen=True, kw_only=True):
    """A person, and the front end that they act through.

    `person` is changed to their name in the settings. `via` is stored with each decision (`cli`, `web`,
    `api`, `link`, …). `groups` are the people and groups of the settings. `only` is the id of the single
    request that a link is for; None means any request. `credential` is None where no sign-in is needed, and
    behind an authenticating proxy.

    Permissions: `read` to see requests, runs and decisions, as far as the settings show them to this person
    (`[visibility]`, `[roles]`), `decide` to decide and comment, `start` to start and cancel runs (and `ask`),
    `ask` to create requests. Without `read`, actors see only the requests and runs that they asked or
    started. A role adds nothing to the permissions of a token.
    """

    person: str
    via: str
    may: frozenset[Permission] = EVERYTHING
    groups: Groups = NO_GROUPS
    only: str | None = None
    credential: Credential | None = None

    def __post_init__(self) -> None:
        """Replace an alias of the person, such as their e-mail address, by their name."""
        force_setattr(self, "person", self.groups.name(self.person))
        if "start" in self.may and "ask" not in self.may:
            force_setattr(self, "may", self.may | {"ask"})

    @property
    def reads(self) -> bool:
        """Whether the actor may see requests and runs of others, as far as the settings allow it."""
        return "read" in self.may

    @property
    def sees_all(self) -> bool:
        """Whether the actor may see everything except private parts of requests."""
        return self.reads and (self.groups.visibility.is_open or self.audits)

    @property
    def view(self) -> object:
        """A value that is equal as long as the actor may see the same things."""
        groups, key = self.groups, self.groups.key(self.person)
        own = [name for name, members in groups.members.items() if key in members]
        return self.person, self.may, groups.visibility, own

    @property
    def audits(self) -> bool:
        """Whether the actor is an auditor, who may read everything."""
        return self.reads and is_among(self.person, self.groups.visibility.roles.auditor, self.groups)

    @property
    def operates(self) -> bool:
        """Whether the actor is an operator, who runs and maintains."""
        return is_among(self.person, self.groups.visibility.roles.operator, self.groups)

    def require(self, *any_of: Permission, request: str | None = None) -> None:
        """Raise NotAllowed without one of the permissions, or with a link for another request."""
        if self.may.isdisjoint(any_of):
            raise NotAllowed(
                f"this token does not have the permission {' or '.join(any_of)}.", code="permission-missing"
            )
        if self.only not in (None, request):
            raise NotAllowed(f"this link is for {self.only} only.", code="permission-missing")


def check_person(name: str) -> str:
    """Return a person's name as it is stored. Raises BadName if it cannot be stored with a decision."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise BadName(f"{name!r} is not a valid name of a person: it is not UTF-8.") from error
    if not normalized(name) or len(name) > LONGEST_NAME:
        raise BadName(
            f"{name[:LONGEST_NAME]!r} is not a valid name of a person: it must have 1 to {LONGEST_NAME}"
            " visible characters."
        )
    if is_group(name):
        raise BadName(f"{name!r} is the name of a group, not of a person.")
    return normalized(name)
