"""API tokens: person, permissions and expiry; and that their secrets are stored nowhere."""

from __future__ import annotations

import http.client
import json
import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import pytest

from hitl_cli.auth import tokens
from hitl_cli.people.actor import PERMISSIONS, Permission
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import PATIENCE_S, wait_until
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, Reply

DAY_MS = 86_400_000


def create(hitl: Hitl, what: Permission) -> str:
    """Make a token for the reviewer, and return its text."""
    with hitl.client() as client:
        return tokens.create(client, "reviewer", [what], life_ms=DAY_MS, by="ops")[1]


def ask(gateway: GatewayProcess, method: str, path: str, token: str, data: object = None) -> Reply:
    return gateway.ask(method, f"/api/v1{path}", data=data, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.only("file", reason="reads the file's bytes")
def test_a_token_is_made_listed_and_revoked_and_its_secret_is_kept_nowhere(hitl: Hitl) -> None:
    command = ("token", "create", "--as", "reviewer", "--can", "decide", "--expires", "2d")
    text = hitl.ok(*command).strip()
    assert re.fullmatch(r"hitl_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)
    _, id, secret = text.split("_", 2)
    [kept] = hitl.json("token", "list")
    assert (kept["id"], kept["as"], kept["can"], kept["state"]) == (
        id,
        "reviewer",
        ["read", "decide"],
        "valid",
    )
    assert kept["by"] == "ada"
    assert hitl.json("pending", "--all") == []
    assert hitl.json("status") == []
    assert secret.encode() not in hitl.database.read_bytes()
    assert secret not in hitl.ok("token", "list")
    assert "revoked" in hitl.ok("token", "revoke", id)
    assert "was already revoked" in hitl.ok("token", "revoke", id)
    assert hitl.json("token", "list")[0]["state"] == "revoked"


def test_a_token_that_cannot_be_is_refused(hitl: Hitl) -> None:
    assert "--can" in hitl.fails(2, "token", "create", "--as", "reviewer", "--can", "fly", code="bad-usage")
    assert "nobody" in hitl.fails(
        2, "token", "create", "--as", " ", "--can", "read", code="bad-name"
    ).replace("a person", "nobody")
    hitl.fails(
        2, "token", "create", "--as", "reviewer", "--can", "read", "--expires", "never", code="bad-duration"
    )
    hitl.fails(3, "token", "revoke", "nobody", code="not-found")
    hitl.fails(3, "token", "revoke", "x" * 100, code="not-found")


@pytest.fixture(scope="module")
def closed(shared_hitl: Hitl) -> Iterator[GatewayProcess]:
    """A gateway that the tests of this module share, where people sign in."""
    gateway = begin_gateway(shared_hitl, "--sign-in")
    yield gateway
    gateway.clear_away()


def test_who_shows_a_token_acts_as_its_person_and_does_what_it_may(
    closed: GatewayProcess, shared_gateway: GatewayProcess, shared_hitl: Hitl
) -> None:
    put(shared_hitl, "r1", Question(prompt="?", to=("reviewer",)))
    gateway, other = closed, shared_gateway
    read, decide, start, _ = (create(shared_hitl, what) for what in PERMISSIONS)
    approve = {"verdict": "approve"}
    assert gateway.ask("GET", "/api/v1/requests").status == 401
    assert ask(gateway, "GET", "/requests", read).status == 200
    for what, token in (("decide", read), ("decide", start)):
        refused = ask(gateway, "POST", "/requests/r1/decision", token, approve)
        assert (refused.status, refused.json["code"]) == (403, "permission-missing")
        assert what in refused.json["detail"]
    assert ask(gateway, "POST", "/requests/r1/comments", read, {"comment": "x"}).status == 403
    assert ask(gateway, "POST", "/runs", decide, {"id": "w"}).status == 403
    assert ask(gateway, "GET", "/requests", start).json["items"] == []  # it asked none itself
    assert ask(gateway, "GET", "/requests/r1", start).json["code"] == "not-found"
    assert ask(gateway, "GET", "/history", start).json["items"] == []
    made = ask(other, "POST", "/requests/r1/decision", decide, approve).json
    assert (made["by"], made["via"]) == ("reviewer", "api")
    assert ask(gateway, "POST", "/runs", start, {"id": "w"}).status == 201
    assert ask(gateway, "GET", "/runs/w", read).json["state"] == "waiting"
    assert ask(gateway, "GET", "/runs/w", start).json["state"] == "waiting"
    assert ask(gateway, "GET", "/runs/w/steps", start).status == 200
    shared_hitl.ok("start", "of-another", "--as", "ops")
    assert ask(gateway, "GET", "/runs/of-another", start).json["code"] == "not-found"


def test_a_token_that_was_revoked_is_good_no_longer_at_any_gateway(
    closed: GatewayProcess, shared_gateway: GatewayProcess, shared_hitl: Hitl
) -> None:
    gateways = [closed, shared_gateway]
    token = create(shared_hitl, "read")
    assert [ask(gateway, "GET", "/runs", token).status for gateway in gateways] == [200, 200]
    shared_hitl.ok("token", "revoke", token.split("_")[1])
    for gateway in gateways:
        wait_until(partial(is_refused, gateway, token))
        assert ask(gateway, "GET", "/runs", token).json["code"] == "token-refused"


def is_refused(gateway: GatewayProcess, token: str) -> bool:
    return ask(gateway, "GET", "/runs", token).status == 401


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer hitl_0123456789abcdef_" + "A" * 43,
        "bearer hitl_0123456789abcdef_" + "A" * 44,
        "Bearer " + "x" * 6_000,
        "Bearer hitl_\u00e9",
    ],
)
def test_what_is_no_token_of_ours_is_refused_even_where_nobody_need_sign_in(
    shared_gateway: GatewayProcess, shown: str
) -> None:
    reply = shared_gateway.ask("GET", "/api/v1/runs", headers={"Authorization": shown})
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_of_two_tokens_none_is_believed(shared_gateway: GatewayProcess, shared_hitl: Hitl) -> None:
    good = f"Bearer {create(shared_hitl, 'read')}"
    for pair in ((good, good), (good, "Bearer nonsense"), ("Basic YTpi", good)):
        connection = http.client.HTTPConnection(urlsplit(shared_gateway.url).netloc, timeout=PATIENCE_S)
        connection.putrequest("GET", "/api/v1/runs")
        for shown in pair:
            connection.putheader("Authorization", shown)
        connection.endheaders()
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read())["code"]) == (401, "unauthenticated"), pair
        connection.close()


def test_a_token_is_in_no_line_of_a_log_and_in_no_answer(gateway: GatewayProcess, hitl: Hitl) -> None:
    good = create(hitl, "read")
    wrong = good[:-3] + "abc"
    replies = [
        ask(gateway, "GET", "/runs", good),
        ask(gateway, "GET", "/runs?limit=x", good),
        ask(gateway, "POST", "/runs", good, {"id": "x"}),
        ask(gateway, "GET", "/nowhere", good),
        ask(gateway, "GET", "/runs", wrong),
        ask(gateway, "GET", "/runs/hitl-token-" + good.split("_")[1], good),
        ask(gateway, "GET", "/requests/hitl-token-" + good.split("_")[1], good),
    ]
    assert [reply.status for reply in replies] == [200, 400, 403, 404, 401, 404, 404]
    gateway.stop()
    said = "\n".join([*gateway.lines, *gateway.errors, *(reply.text for reply in replies)])
    for token in (good, wrong):
        assert token.split("_", 2)[2] not in said


def test_an_address_that_shows_many_bad_tokens_is_told_to_wait_and_a_good_one_still_works(
    gateway: GatewayProcess, hitl: Hitl
) -> None:
    good = create(hitl, "read")
    refused = [ask(gateway, "GET", "/runs", f"bad{at}") for at in range(25)]
    assert {reply.status for reply in refused[:20]} == {401}
    assert (refused[-1].status, refused[-1].json["code"]) == (429, "too-many-requests")
    assert ask(gateway, "GET", "/runs", good).status == 200


def test_an_expired_token_and_one_that_only_looks_like_one_are_refused(hitl: Hitl) -> None:
    now = 1_000_000_000_000
    at = [now]
    with hitl.client(lambda: at[0]) as client:
        made, text = tokens.create(client, "reviewer", ["read"], life_ms=DAY_MS, by="ops")
        assert tokens.check(client, text) == made
        with pytest.raises(tokens.TokenRefused):
            tokens.check(client, text[:-1] + ("a" if text[-1] != "a" else "b"))
        at[0] = now + DAY_MS
        with pytest.raises(tokens.TokenRefused):
            tokens.check(client, text)
        assert msgspec.structs.replace(made, state="expired") == tokens.list_tokens(client)[0]
        put(hitl, "hitl-token-0123456789abcdef", Question(prompt="?"))
        with pytest.raises(tokens.TokenRefused):
            tokens.check(client, "hitl_0123456789abcdef_" + "A" * 43)
