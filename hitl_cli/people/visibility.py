"""Who sees what, by the settings: `[visibility]` and `[roles]`.

`people/sight.py` applies it to requests and runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

type Audience = Literal["everyone", "assigned"]
"""Who sees a request: everyone who signs in, or only those that it concerns."""


class VisibilitySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[visibility]`: the audience of requests and runs, and that of workflows, by a glob."""

    default: Audience = "everyone"
    workflows: Mapping[str, Audience] = {}


class RoleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[roles]`: the people, and groups as group:NAME, who read all, and who run and maintain."""

    auditor: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()


class Visibility(Struct, frozen=True, kw_only=True):
    """What both say. By default everyone sees everything."""

    settings: VisibilitySettings = VisibilitySettings()
    roles: RoleSettings = RoleSettings()

    @property
    def is_open(self) -> bool:
        """Whether everyone sees everything."""
        return self.settings.default == "everyone" and "assigned" not in self.settings.workflows.values()

    def is_public(self, names: Iterable[str]) -> bool:
        """Whether everyone sees what has these names. Of several globs that fit, `assigned` counts."""
        known = self.settings.workflows
        if not known:
            return self.settings.default == "everyone"
        fitting = {known[glob] for name in names for glob in known if fnmatchcase(name, glob)}
        return "assigned" not in (fitting or {self.settings.default})


EVERYONE = Visibility()
