"""The documentation site: each page can be found, and asks no other host for anything."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*?src=[\"']?https?:|<link\b(?![^>]*canonical)[^>]*href=[\"']?https?:"
)


def test_every_page_is_in_the_navigation_and_on_the_index_of_its_part() -> None:
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    nav = re.findall(r'"([a-z/-]+\.md)"', (ROOT / "zensical.toml").read_text())
    assert sorted(nav) == sorted(pages)
    for index in DOCS.glob("*/index.md"):
        named = set(re.findall(r"\]\(([a-z-]+\.md)", index.read_text()))
        assert named | {"index.md"} == {page.name for page in index.parent.glob("*.md")}, index


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda page: page.name)
def test_a_link_leads_to_a_file_and_does_not_leave_the_site(page: Path) -> None:
    border = DOCS if DOCS in page.parents else ROOT
    for link in LINK.findall(page.read_text()):
        target = (page.parent / link).resolve()
        assert target.exists(), link
        assert target.is_relative_to(border), link


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="`make docs` installs the generator")
def test_the_site_is_built_and_loads_nothing_from_another_host(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())
    assert settings["project"]["theme"]["font"] is False
    shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "zensical.toml").write_bytes((ROOT / "zensical.toml").read_bytes())
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # and 404.html
    assert not [page for page in pages if LOADED.search(page.read_text())]
    assert (tmp_path / "site" / "search.json").stat().st_size > 0
