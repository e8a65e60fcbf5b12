"""`/mcp` of the gateway: the official client over HTTP, with tokens that may ask, in both revisions."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from hitl_cli.auth import tokens
from hitl_cli.mcp.desk import BackendDesk
from hitl_cli.mcp.server import McpOptions, mcp_server
from hitl_cli.mcp.tasks import EXTENSION
from hitl_cli.python_api.gateway_backend import GatewayBackend
from tests.conftest import Hitl, wait_until
from tests.gateway.visiting import Visited
from tests.mcp.scene import REVISIONS, Scene, call, refused, run
from tests.mcp.test_elicitation import User
from tests.mcp.test_tasks import Tasks, ask, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

DAY_MS = 86_400_000

PING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def hitl(tmp_path_factory: pytest.TempPathFactory) -> Hitl:
    return Hitl(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def visited(hitl: Hitl) -> Iterator[Visited]:
    """A gateway where people sign in."""
    gateway = Visited(hitl, sign_in=True)
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def scene(hitl: Hitl) -> Scene:
    return Scene(hitl.url)


def token_of(hitl: Hitl, person: str, *can: str) -> str:
    with hitl.client() as client:
        _, text = tokens.create(client, person, can, life_ms=DAY_MS, by="ops")
    return text


@pytest.fixture(scope="module")
def agent(hitl: Hitl) -> str:
    return token_of(hitl, "agent", "ask")


@asynccontextmanager
async def client_of(visited: Visited, token: str | None, mode: str, **more: Any) -> AsyncIterator[Client]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{visited.address}/mcp", http_client=http)
        async with Client(transport, mode=mode, **more) as client:
            yield client


@pytest.mark.parametrize("mode", REVISIONS)
def test_an_answer_ends_the_call_and_is_kept(visited: Visited, scene: Scene, agent: str, mode: str) -> None:
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del total, message
        heard.append(progress)

    async def work() -> None:
        async with client_of(visited, agent, mode) as client:
            assert len((await client.list_tools()).tools) == 9
            id = f"ask-deploy-{mode}"
            asked = {"prompt": "Deploy?", "id": id}
            held = asyncio.create_task(client.call_tool("ask", asked, progress_callback=hear))
            await asyncio.to_thread(wait_until, lambda: heard)
            assert [one["id"] for one in (await call(client, "pending"))["requests"]] == [id]
            scene.decide(id)
            assert (await held).structured_content["approved"] is True
            shown = await call(client, "show", id=id)
            assert (shown["state"], shown["by"]) == ("approved", "lead")
            assert (await call(client, "history", limit=1))["requests"][0]["id"] == id
            scene.soon(f"{id}-2")
            assert (await call(client, "ask", prompt="Again?", id=f"{id}-2"))["approved"] is True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hitl_cli.mcp.server.PROGRESS_S", 0.02)
        run(work)


def test_a_client_that_asks_for_the_revision_gets_the_newest(visited: Visited, agent: str) -> None:
    async def work() -> None:
        async with client_of(visited, agent, "auto") as client:
            assert client.protocol_version == "2026-07-28"
            assert client.server_capabilities.extensions == {EXTENSION: {}}
            assert client.instructions

    run(work)


@pytest.mark.parametrize("mode", REVISIONS)
def test_one_token_sees_nothing_of_another(visited: Visited, hitl: Hitl, agent: str, mode: str) -> None:
    everything = token_of(hitl, "lead", "read", "decide", "start", "ask")

    async def work() -> None:
        async with (
            client_of(visited, agent, mode, extensions=[Tasks()]) as one,
            client_of(visited, everything, mode) as other,
        ):
            id = f"ask-mine-{mode}"
            if mode == "legacy":
                asyncio.create_task(one.call_tool("ask", {"prompt": "Mine?", "id": id}))  # noqa: RUF006
                await asyncio.to_thread(wait_until, lambda: id in Scene(hitl.url).open_ids())
            else:
                await ask(one, prompt="Mine?", id=id)
            for tool in ("show", "wait", "consume", "take_back"):
                assert await refused(other, tool, id=id) == "not-found"
            assert id not in json.dumps(await call(other, "pending"))
            assert await refused(other, "ask", prompt="Mine?", id=id) == "already-exists"
            taken = await call(one, "take_back", id=id)
            assert taken["state"] == "canceled"
            assert id not in json.dumps(await call(other, "history"))

    run(work)


def test_the_request_is_the_task_and_its_page_is_the_gateway_s(
    visited: Visited, scene: Scene, agent: str
) -> None:
    user = User(then=lambda: scene.soon("ask-paged"))

    async def work() -> None:
        async with client_of(
            visited, agent, "2026-07-28", elicitation_callback=user, extensions=[Tasks()]
        ) as client:
            assert (await call(client, "ask", prompt="Deploy?", id="ask-paged"))["approved"] is True
            assert [page.url for page in user.led] == ["http://127.0.0.1:5001/r/ask-paged"]
            done = await send(client, "get", "ask-paged")
            assert done["status"] == "completed"

    run(work)


def test_a_client_that_leaves_ends_the_wait_and_the_request_stays(
    visited: Visited, scene: Scene, agent: str
) -> None:
    assert visited.gateway is not None
    waiters = visited.gateway.waiters

    async def work() -> None:
        async with client_of(visited, agent, "2026-07-28") as client:
            held = asyncio.create_task(client.call_tool("ask", {"prompt": "Leave?", "id": "ask-left"}))
            await asyncio.to_thread(wait_until, lambda: "ask-left" in scene.open_ids() and len(waiters))
            held.cancel()
            await asyncio.to_thread(wait_until, lambda: not len(waiters))
            assert "ask-left" in scene.open_ids()

    run(work)


def test_hitl_mcp_asks_at_a_gateway_that_restarts_meanwhile(hitl: Hitl, scene: Scene, agent: str) -> None:
    before = Visited(hitl, sign_in=True)
    port = urlsplit(before.address).port

    async def work() -> None:
        desk = BackendDesk(GatewayBackend(before.address, agent))
        async with Client(mcp_server(McpOptions(), lambda _context: desk), mode="2026-07-28") as client:
            held = asyncio.create_task(call(client, "ask", prompt="Deploy?", id="ask-again"))
            await asyncio.to_thread(wait_until, lambda: "ask-again" in scene.open_ids())
            await asyncio.to_thread(before.stop)
            scene.decide("ask-again")
            after = await asyncio.to_thread(lambda: Visited(hitl, sign_in=True, port=port))
            try:
                assert (await held)["approved"] is True
                assert "ask-again" in json.dumps(await call(client, "history"))
                assert "ask-again" not in json.dumps(await call(client, "pending"))
                assert (await call(client, "show", id="ask-again"))["by"] == "lead"
            finally:
                await asyncio.to_thread(desk.close)
                await asyncio.to_thread(after.stop)

    run(work)


# Who may send, and what


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthenticated"),
        ({"Authorization": "Bearer nonsense"}, 401, "token-refused"),
    ],
)
def test_without_a_valid_token_it_is_refused(
    visited: Visited, headers: dict[str, str], status: int, code: str
) -> None:
    answer = httpx2.post(f"{visited.address}/mcp", json=PING, headers=ACCEPT | headers)
    assert (answer.status_code, answer.json()["error"]["data"]["code"]) == (status, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_that_may_not_ask_is_refused(visited: Visited, hitl: Hitl) -> None:
    bearer = {"Authorization": f"Bearer {token_of(hitl, 'lead', 'read', 'decide')}"}
    answer = httpx2.post(f"{visited.address}/mcp", json=PING, headers=ACCEPT | bearer)
    assert (answer.status_code, answer.json()["error"]["data"]["code"]) == (403, "permission-missing")
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_a_page_of_another_site_is_refused(visited: Visited, agent: str) -> None:
    for origin in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        sent = ACCEPT | {"Authorization": f"Bearer {agent}"} | origin
        answer = httpx2.post(f"{visited.address}/mcp", json=PING, headers=sent)
        assert (answer.status_code, answer.json()["error"]["data"]["code"]) == (403, "cross-site")


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28", "2099-01-01", None])
@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"[" * 100_000, b'{"jsonrpc": "2.0", "id": {}}', b'{"id": 1e999}', b"\xff"],
)
def test_what_is_no_message_is_refused(
    visited: Visited, agent: str, body: bytes, revision: str | None
) -> None:
    sent = ACCEPT | {"Authorization": f"Bearer {agent}", "Content-Type": "application/json"}
    sent |= {} if revision is None else {"MCP-Protocol-Version": revision}
    answer = httpx2.post(f"{visited.address}/mcp", content=body, headers=sent)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_there_are_no_sessions_and_no_other_methods(visited: Visited, agent: str) -> None:
    sent = ACCEPT | {"Authorization": f"Bearer {agent}"}
    for method in ("GET", "DELETE", "PUT"):
        answer = httpx2.request(method, f"{visited.address}/mcp", headers=sent)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    begun = PING | {"method": "initialize", "params": hello}
    answer = httpx2.post(f"{visited.address}/mcp", json=begun, headers=sent)
    assert answer.status_code == 200
    assert "Mcp-Session-Id" not in answer.headers
    stale = httpx2.post(f"{visited.address}/mcp", json=PING, headers=sent | {"Mcp-Session-Id": "of-another"})
    assert stale.status_code == 200


def test_it_can_be_turned_off(hitl: Hitl, agent: str) -> None:
    gateway = Visited(hitl, sign_in=True, mcp=False)
    try:
        sent = ACCEPT | {"Authorization": f"Bearer {agent}"}
        answer = httpx2.post(f"{gateway.address}/mcp", json=PING, headers=sent)
        assert answer.status_code == 404
        assert "--no-mcp" in answer.json()["error"]["message"]
    finally:
        gateway.stop()


def test_without_the_extra_it_says_so(visited: Visited, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    sent = ACCEPT | {"Authorization": f"Bearer {agent}"}
    answer = httpx2.post(f"{visited.address}/mcp", json=PING, headers=sent)
    assert answer.status_code == 404
    assert "resonate-hitl[mcp]" in answer.json()["error"]["message"]


def test_a_gateway_that_stops_ends_the_waits_with_a_word(hitl: Hitl, scene: Scene, agent: str) -> None:
    gateway = Visited(hitl, sign_in=True)

    async def work() -> None:
        async with client_of(gateway, agent, "2026-07-28") as client:
            held = asyncio.create_task(refused(client, "ask", prompt="Stop?", id="ask-stop"))
            assert gateway.gateway is not None
            waiters, feed = gateway.gateway.waiters, gateway.gateway.feed
            await asyncio.to_thread(wait_until, lambda: len(waiters) and feed._ready.is_set())
            await asyncio.to_thread(gateway.stop)
            assert await held == "unavailable"
        assert "ask-stop" in scene.open_ids()

    run(work)


def test_a_gateway_that_serves_no_agent_does_not_load_the_package() -> None:
    said = "import sys, hitl_cli.gateway.app, hitl_cli.cli.mcp; assert 'mcp' not in sys.modules"
    subprocess.run([sys.executable, "-c", said], check=True)
