"""The settings that limit who may see what: `[visibility]` and `[roles]`.

`people/sight.py` applies it to requests and runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.errors import BadSetting
from hitl_cli.format.toml import toml_name
from hitl_cli.requests.demand import names_known_by
from hitl_cli.requests.private import CALLBACK
from hitl_cli.requests.question import is_private_path

if TYPE_CHECKING:
    from hitl_cli.client.wire import Promise
    from hitl_cli.requests.question import Question

type Audience = Literal["everyone", "assigned"]
"""Who may see a request: everyone who signs in, or only the people that it concerns."""


class VisibilitySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[visibility]`: the default audience of requests and runs, and that of some workflows, by a glob.

    `private` are the parts of requests that only their assignees see, by a glob for the workflow.
    """

    default: Audience = "everyone"
    workflows: Mapping[str, Audience] = {}
    private: Mapping[str, tuple[str, ...]] = {}


class RoleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[roles]`: auditors, who read everything, and operators; people, and groups as group:NAME."""

    auditor: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()


class Visibility(Struct, frozen=True, kw_only=True):
    """The settings of both tables. By default everyone sees everything."""

    settings: VisibilitySettings = VisibilitySettings()
    roles: RoleSettings = RoleSettings()

    @property
    def is_open(self) -> bool:
        """Whether everyone sees everything."""
        return self.settings.default == "everyone" and "assigned" not in self.settings.workflows.values()

    def is_public(self, names: Iterable[str]) -> bool:
        """Whether everyone may see things with these names. If globs disagree, `assigned` counts."""
        known = self.settings.workflows
        if not known:
            return self.settings.default == "everyone"
        fitting = {known[glob] for name in names for glob in known if fnmatchcase(name, glob)}
        return "assigned" not in (fitting or {self.settings.default})

    def asked(self, question: Question, promise: Promise, run: Promise | None) -> Question:
        """Return a question with all its private paths: by its author, by the settings, and the callback."""
        known = self.settings.private
        own = (CALLBACK,) if question.callback is not None else ()
        if not known and not own:
            return question
        names = names_known_by(promise, run) if known else ()
        fitting = (glob for glob in known if any(fnmatchcase(name, glob) for name in names))
        every = dict.fromkeys((*question.private, *(path for glob in fitting for path in known[glob]), *own))
        return replace(question, private=tuple(every)) if len(every) > len(question.private) else question


def check_visibility(settings: VisibilitySettings) -> None:
    """Raise BadSetting for a private part that no request can have."""
    for glob, paths in settings.private.items():
        for path in paths:
            if not is_private_path(path):
                raise BadSetting(
                    f"visibility.private.{toml_name(glob)} has {path!r}, which is not a part of a request:"
                    " write details, arguments or form, and a path into it, such as details.iban."
                )


EVERYONE = Visibility()
