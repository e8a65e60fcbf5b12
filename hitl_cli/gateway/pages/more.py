"""What a person does with a request besides deciding it: the forms under "More" on its page.

To add one, add an `Action` to ACTIONS, and the fields of its form as `templates/more/NAME.html`. The page
makes the form around them. After an error it shows the form again with what was typed. Rules about people
are in `Inbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from hitl_cli.inbox import Inbox
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.request_summary import RequestSummary


class Action(Struct, frozen=True, kw_only=True):
    """A form under "More". Its `name` is what the form sends as `verdict`, besides the texts of its fields.

    `offered` says whether the inbox's actor may do it now. `do` does it with the texts, and returns the id of
    the request to show next; it raises what `Inbox` raises.
    """

    name: str
    summary: str
    button: str
    offered: Callable[[Inbox, RequestDetails], bool]
    do: Callable[[Inbox, str | RequestSummary, Mapping[str, str]], str]


def _comment(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str]) -> str:
    return inbox.comment(request, given.get("comment", "")).id


ACTIONS = (
    Action(
        name="comment",
        summary="Add a comment without deciding",
        button="Add comment",
        offered=lambda inbox, _seen: "decide" in inbox.actor.may,
        do=_comment,
    ),
)


def action_named(name: str) -> Action | None:
    """Return the action that a form's `verdict` names."""
    return next((action for action in ACTIONS if action.name == name), None)
