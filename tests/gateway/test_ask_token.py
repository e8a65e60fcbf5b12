"""A token that may only ask, on every route of the gateway: no yes comes of it, now or later."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from hitl_cli.auth import tokens
from hitl_cli.client.protocol import get_promise, search
from hitl_cli.client.wire import EXTERNAL
from hitl_cli.gateway.app import ROUTES
from hitl_cli.remote.calls import CALLS
from hitl_cli.requests.question import Question, outcome_of
from hitl_cli.rules.rule import rules_of
from tests.cli.requests import put
from tests.gateway.conftest import begin_gateway
from tests.gateway.test_asking import with_token

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

STATUS = {"tool": "Bash", "input": {"command": "git status"}}
OFFER = {"where": {"tool": "Bash", "input.command": "git status"}, "longest": "8h"}
SAID: dict[str, Any] = {
    "verdict": "approve",
    "choice": "yes",
    "by": "lead",
    "for": "8h",
    "tool": "Read",
    "expires": "1d",
    "key": "k",
    "comment": "yes",
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
BODIES = [
    (JSON, json.dumps({"verdict": "approve"})),
    (JSON, json.dumps({"for": "8h", "tool": "Read"})),
    (JSON, json.dumps(SAID)),
    (JSON, "{}"),
    (FORM, urlencode(SAID)),
]
LEFT_OUT = {"/api/v1/me/token", "/api/v1/commands/{name}", "/mcp"}
"""Routes that end the token, that are called below, and that have tests of their own."""


def made(client: Client) -> tuple[int, int, set[str]]:
    """Return how many rules and tokens there are, and the ids of the requests with an approval."""
    found = search(client, tags=EXTERNAL)
    approved = {one.id for one in found if one.is_blocking and outcome_of(one) == "approved"}
    return len(rules_of(client)), len(tokens.list_tokens(client)), approved


@pytest.mark.heavy
def test_no_route_gives_or_makes_a_yes(hitl: Hitl) -> None:
    put(hitl, "theirs", Question(prompt="?", to=("lead", "agent")), by="ops")
    gateway = begin_gateway(hitl, "--sign-in")
    try:
        agent = with_token(hitl, gateway, "agent", "ask")
        own = {"id": "own", "prompt": "?", "to": ["agent"], "arguments": STATUS, "offer": OFFER}
        assert agent.post("/requests", own).status == 201
        with hitl.client() as client:
            before = made(client)
            done: list[tuple[str, str, int]] = []

            def send(method: str, path: str, kind: str = JSON, body: str = "") -> None:
                headers = {**agent.headers, "Content-Type": kind}
                reply = gateway.ask(method, path, data=body.encode(), headers=headers)
                done.append((method, path, reply.status))

            for route, name in product(ROUTES, ("theirs", "ask-own")):
                if route.path in LEFT_OUT:
                    continue
                path = re.sub(r"\{[^}]*\}", name, route.path)
                methods = ("POST", "GET") if route.method == "*" else (route.method,)
                for method in methods:
                    for kind, body in BODIES if method == "POST" else [(JSON, "")]:
                        send(method, path, kind, body)
            for call, name in product(CALLS, ("theirs", "ask-own")):
                args = {"name": name, "id": name, "whole": True, "said": {"verdict": "approve"}, "text": "x"}
                send("POST", f"/api/v1/commands/{call}", JSON, json.dumps({"args": args | {"key": "k"}}))
            assert made(client) == before, [one for one in done if one[2] < 400]
            theirs = get_promise(client, "theirs")
            assert theirs is not None
            assert theirs.state == "pending"
            assert {status for _, path, status in done if path.endswith("/theirs/decision")} == {403}
    finally:
        gateway.clear_away()
