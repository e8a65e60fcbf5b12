"""What pages of the docs show of deploy/ is what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.units import DEPLOY
from tests.docs.pages import parts

GUIDES = DEPLOY.parent / "docs" / "guides"
FILES = [file.read_text() for file in DEPLOY.rglob("*") if file.is_file() and file.suffix != ".json"]
KINDS = {"nginx", "caddy", "dockerfile", "ini"}


@pytest.mark.parametrize("page", ["containers", "proxy", "service"])
def test_a_page_shows_lines_of_a_file(page: str) -> None:
    kinds = KINDS | ({"yaml"} if page == "containers" else set())
    shown = [part.text for part in parts(Path(GUIDES / f"{page}.md")) if part.kind in kinds]
    assert shown
    assert [text for text in shown if not any(f"\n{text}" in f"\n{file}" for file in FILES)] == []
