"""Clicks on the buttons of a Slack message, and the texts that Slack shows afterwards.

Slack expects a response within 3 s and does not show it. The result of a click is posted to the URL that came
with it, if that is on a host to which the settings send messages.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from aiohttp import web
from msgspec import Struct

from hitl_cli.errors import BadInput, HitlError, logged
from hitl_cli.gateway.auth.access import PERSON
from hitl_cli.gateway.context import gateway_of
from hitl_cli.inspected import inspected
from hitl_cli.notify.channels.http_post import post
from hitl_cli.notify.channels.slack import APPROVE, REJECT, text_of
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.phrases import TITLE_CHARS, one_line
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import prompt_of

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.inbox.decision_result import DecisionResult
    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.idempotency import IdempotencyMark

logger = logging.getLogger(__name__)

SHOWN_CHARS = 1_000


class _SlackUser(Struct, frozen=True):
    """The user who clicked."""

    id: str


class _SlackAction(Struct, frozen=True):
    """The button that was clicked."""

    action_id: str
    value: str = ""


class _Click(Struct, frozen=True):
    """A click, with the fields used here: https://docs.slack.dev/reference/interaction-payloads."""

    type: str
    user: _SlackUser
    actions: tuple[_SlackAction, ...] = ()
    response_url: str = ""


async def answer_click(request: Request, hook: str, body: bytes, mark: IdempotencyMark) -> web.Response:
    """Record the decision of a click, and show the result in Slack. Raises BadInput."""
    gateway = gateway_of(request)
    directory = gateway.options.people
    click = _read_click(body)
    action = next((one for one in click.actions if one.action_id in (APPROVE, REJECT)), None)
    if click.type != "block_actions" or action is None:
        return web.Response()  # a button with a link
    person = directory.person_in_slack(click.user.id)
    try:
        if person is None:
            raise BadInput(
                "your Slack user is not set up in hitl. Ask your hitl administrator to set"
                f" [people.NAME] slack_user = {click.user.id!r}."
            )
        actor = gateway.access.actor(person, f"hook:{hook}", PERSON)
        said = DecisionInput(verdict="approve" if action.action_id == APPROVE else "reject")
        decided = await gateway.inbox(
            actor, lambda inbox: inbox.decide(action.value, said, whole=True, mark=mark)
        )
        shown = _shown_instead(decided, person) if decided.settled else _shown_to_one(_vote_kept(decided))
    except HitlError as error:
        shown = _shown_to_one(str(error))
    if _is_slack(click.response_url, directory):
        gateway.go_on(_show(click.response_url, shown))
    return web.Response()


def _read_click(body: bytes) -> _Click:
    """Return the click in a form's field `payload`. Raises BadInput."""
    try:
        [payload] = parse_qs(body.decode(), max_num_fields=10)["payload"]
        return msgspec.json.decode(payload, type=inspected(_Click))
    except (KeyError, ValueError, RecursionError) as error:  # msgspec.DecodeError is a ValueError
        raise BadInput("the body is not a Slack click: a form with a field payload in JSON.") from error


def _shown_instead(decided: DecisionResult, person: str) -> dict[str, Any]:
    """Return the text that replaces the message of a request that was decided."""
    title = one_line(prompt_of(decided.promise) or decided.promise.id, TITLE_CHARS)
    verdict = "Approved" if decided.verdict == "approve" else "Rejected"
    said = f"{title}\n{verdict} by {one_line(person, TITLE_CHARS)}"
    return {"replace_original": True} | text_of(said, SHOWN_CHARS)


def _vote_kept(decided: DecisionResult) -> str:
    """Return the text for a vote that does not decide yet."""
    needed = f"{decided.approvals} approvals are needed, so others must still vote"
    return f"Your vote is recorded: {decided.so_far}. {needed}."


def _shown_to_one(text: str) -> dict[str, Any]:
    """Return a text that only the person who clicked sees."""
    shown = text_of(one_line(text, SHOWN_CHARS), SHOWN_CHARS)
    return {"response_type": "ephemeral", "replace_original": False} | shown


def _is_slack(url: str, directory: Directory) -> bool:
    """Whether the settings send messages to the host of a URL. Nothing is sent to other hosts."""
    known = {
        _origin(address.to)
        for contact in (*directory.people.values(), *directory.groups.values())
        for address in contact.addresses
        if address.kind == "slack"
    }
    return _origin(url) in known


def _origin(url: str) -> tuple[str, str]:
    """Return the scheme and the host of a URL; both are empty for an invalid URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.scheme, parts.netloc


async def _show(url: str, shown: dict[str, Any]) -> None:
    """Show a text in Slack where the button was clicked."""
    try:
        await post(url, msgspec.json.encode(shown))
    except DeliveryFailed as error:
        logger.warning("the result of a click was not sent to Slack: %s", logged(error))
