"""`/api/v1/answers/TOKEN`: the URLs to which programs post the answer to one request.

Only POST decides, so a program that follows every URL of a message decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from hitl_cli.auth import links
from hitl_cli.auth.links import LinkInvalid
from hitl_cli.errors import BadJson
from hitl_cli.gateway.api.route import read_json
from hitl_cli.gateway.auth.access import PERSON
from hitl_cli.gateway.context import gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox import Inbox
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.views.decision import decision_result_document

if TYPE_CHECKING:
    from aiohttp.web import Request

    from hitl_cli.auth.links import Link
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decision_result import DecisionResult

VIA = "answer-url"
"""The `via` of decisions that were posted to such a URL, for the record."""

FORM = "application/x-www-form-urlencoded"

JSON_FIELDS = {"data", "arguments"}
"""Fields that are JSON in a form, too."""


async def _take(request: Request) -> web.Response:
    """Decide the request of a URL, as the person that it was made for."""
    if request.method != "POST":
        raise web.HTTPMethodNotAllowed(request.method, ["POST"])
    gateway = gateway_of(request)
    link = _link_of(request)
    said = await _read(request)
    actor = gateway.access.actor(link.person, VIA, PERSON, only=link.request)

    def decide(client: Client) -> DecisionResult:
        item = links.open_link(client, link, actor.groups, clock=gateway.clock)
        return Inbox(client, actor).decide(item, said)

    return json_answer(decision_result_document(await gateway.bridge.run(decide)))


def _link_of(request: Request) -> Link:
    """Return the content of the URL. Raises LinkInvalid, HttpError (429)."""
    gateway = gateway_of(request)
    try:
        return links.link_in(request.match_info["token"], gateway.keys(), links.PROGRAM)
    except LinkInvalid:
        gateway.bad_links.check(request, "too many invalid URLs: wait a minute, then try again.")
        raise


async def _read(request: Request) -> DecisionInput:
    """Return the answer, from JSON or a form. Raises BadInput, HttpError (415)."""
    if request.content_type == FORM:
        form = await request.post()
        if twice := next((name for name in form if len(form.getall(name)) > 1), None):
            raise BadJson(f"{twice!r} is given twice.", problems=[(twice, "given twice")])
        said: dict[str, Any] = dict(form)
        for name in JSON_FIELDS & said.keys():
            said[name] = msgspec.Raw(str(said[name]).encode())
        return read_json(msgspec.json.encode(said), DecisionInput)
    if request.content_type != "application/json":
        raise HttpError(415, f"send JSON with Content-Type: application/json, or a form ({FORM}).")
    return read_json(await request.read() or b"{}", DecisionInput)


ROUTES = [web.route("*", f"{links.PROGRAM.path}{{token}}", _take)]
