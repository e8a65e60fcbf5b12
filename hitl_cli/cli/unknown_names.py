"""Confirmation of names that are not in the settings, on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from hitl_cli.cli.output import is_terminal, note
from hitl_cli.errors import BadInput, NotDone

if TYPE_CHECKING:
    from hitl_cli.inbox.amend import Amended
    from hitl_cli.people.away import Away


class _Change[T: (Amended, Away)](Protocol):
    def __call__(self, *, anyway: bool) -> T: ...


def if_meant[T: (Amended, Away)](do: _Change[T], *, yes: bool) -> T:
    """Make a change, also with unknown names if the person says so. Raises BadInput, NotDone."""
    try:
        return do(anyway=yes)
    except BadInput as error:
        if error.code != "unknown-name" or not is_terminal(sys.stdin, sys.stderr):
            raise
        note(str(error))
    print("Use it anyway? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotDone("nothing was changed.")
    return do(anyway=True)
