"""The official inspector reads the tools and calls one, over stdio and over HTTP."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import HITL, PATIENCE_S
from tests.gateway.visiting import Visited
from tests.mcp.test_http import token_of
from tests.typescript.node import install, node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl

PACKAGE = "@modelcontextprotocol/inspector@2.12.0"


@pytest.fixture(scope="module")
def inspector(pytestconfig: pytest.Config) -> Path:
    node()
    cache = pytestconfig.cache
    assert cache is not None
    folder = cache.mkdir("inspector-2.12.0")
    install(folder, PACKAGE)
    return folder / "node_modules" / ".bin" / "mcp-inspector"


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_reads_and_calls_the_tools(hitl: Hitl, inspector: Path, transport: str) -> None:
    hitl.ok("ask", "Deploy?", "--id", "d", "--no-wait", "--as", "agent")
    gateway = Visited(hitl, sign_in=True) if transport == "http" else None

    def inspect(*args: str) -> Any:
        if gateway is None:
            where = ["-e", f"HITL_SERVER={hitl.url}", "-e", "HITL_AS=agent", HITL, "mcp"]
        else:
            bearer = f"Authorization: Bearer {token_of(hitl, 'agent', 'ask')}"
            where = [f"{gateway.address}/mcp", "--transport", "http", "--header", bearer]
        done = subprocess.run(
            [inspector, "--cli", *where, "--connect-timeout", str(int(PATIENCE_S * 1_000)), *args],
            cwd=hitl.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * 2,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    try:
        assert len(inspect("--method", "tools/list")["tools"]) == 9
        shown = inspect("--method", "tools/call", "--tool-name", "show", "--tool-arg", "id=d")
        assert (shown["structuredContent"]["id"], shown["structuredContent"]["state"]) == ("d", "pending")
    finally:
        if gateway is not None:
            gateway.stop()
