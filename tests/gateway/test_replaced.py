"""A gateway whose files are replaced while it runs, as by an upgrade."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hitl_cli
from hitl_cli.gateway.pages import routes as page_routes
from hitl_cli.gateway.static import KINDS
from hitl_cli.requests.question import Question
from tests.cli.requests import promise_now, put
from tests.gateway.conftest import GatewayProcess
from tests.gateway.desk import Document

if TYPE_CHECKING:
    from tests.conftest import Hitl


def test_a_gateway_shows_its_own_pages_while_a_new_version_is_installed(hitl: Hitl, tmp_path: Path) -> None:
    installed = tmp_path / "hitl_cli"
    shutil.copytree(Path(hitl_cli.__file__).parent, installed, ignore=shutil.ignore_patterns("__pycache__"))
    put(hitl, "asked", Question(prompt="**Ship** it?"))
    hitl.ok("start", "run-1")
    env = {**hitl.env, "PYTHONPATH": str(tmp_path)}
    gateway = GatewayProcess([sys.executable, "-m", "hitl_cli", "gateway", "--port", "0"], env, hitl.folder)
    try:
        gateway.said("gateway for")
        for file in installed.rglob("*"):
            if file.suffix in {".html", ".txt", ".css", ".js", ".sql"}:
                file.write_text("{{ of_a_newer_version }}")
        for path in (route.path for route in page_routes.ROUTES if route.method == "GET"):
            id = "run-1" if "/runs/" in path else "asked"
            reply = gateway.get(
                re.sub(r"\{id[^}]*\}", id, path).replace("{kind}", "csv").replace("{token}", "t")
            )
            assert reply.status < 500, path
            assert "of_a_newer_version" not in reply.text
        assert all("of_a_newer_version" not in gateway.get(f"/static/{name}").text for name in KINDS)
        csrf = Document(gateway.get("/r/asked")).control("csrf")["value"] or ""
        assert gateway.ask("POST", "/r/asked", form={"csrf": csrf, "verdict": "approve"}).status == 303
    finally:
        gateway.clear_away()
    assert promise_now(hitl, "asked")["state"] == "resolved"
