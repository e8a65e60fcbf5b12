"""Who acts, through which front end, and what they are allowed to do."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from hitl_cli.errors import NotAllowed
from hitl_cli.people.groups import NO_GROUPS, Groups

type Permission = Literal["read", "decide", "start"]

PERMISSIONS: tuple[Permission, ...] = get_args(Permission.__value__)

EVERYTHING: frozenset[Permission] = frozenset(PERMISSIONS)

_REFUSED: dict[Permission, str] = {
    "read": "read requests and runs",
    "decide": "decide requests",
    "start": "start or cancel runs",
}


class Actor(Struct, frozen=True, kw_only=True):
    """A person, and the front end that they act through.

    `via` is recorded with each decision (`cli`, `web`, `api`, `link`, …). `groups` has the members of each
    group in the settings. `only` is the id of the one request that a link is for; None means any request.
    """

    person: str
    via: str
    may: frozenset[Permission] = EVERYTHING
    groups: Groups = NO_GROUPS
    only: str | None = None

    def require(self, permission: Permission) -> None:
        """Raise NotAllowed if the actor lacks a permission."""
        if permission not in self.may:
            raise NotAllowed(
                f"{self.person} is not allowed to {_REFUSED[permission]}.", code="permission-missing"
            )
