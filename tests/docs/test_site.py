"""The documentation site: each page can be found, and asks no other host for anything."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.gateway.browser import IN_A_BROWSER, SIDEWAYS, Screen
from tests.gateway.conftest import visit  # a fixture

if TYPE_CHECKING:
    from tests.gateway.conftest import OpenVisit

__all__ = ["visit"]

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the site, built from the pages as they are."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("`make docs` installs the generator")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    (folder / "zensical.toml").write_bytes((ROOT / "zensical.toml").read_bytes())
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "site"


def test_the_site_is_built_and_loads_nothing_from_another_host(site: Path) -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text())
    assert settings["project"]["theme"]["font"] is False
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))  # and 404.html
    assert not [page for page in pages if LOADED.search(page.read_text())]
    assert (site / "search.json").stat().st_size > 0


@IN_A_BROWSER
@pytest.mark.parametrize("dark", [False, True])
def test_a_page_of_the_site_fits_a_phone_and_complains_of_nothing(
    site: Path, visit: OpenVisit, dark: bool
) -> None:
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    opened = visit(
        f"http://127.0.0.1:{served.server_port}", Screen(width=390, height=844, touch=True, dark=dark)
    )
    try:
        for path in (
            "/index.html",
            "/guides/deploy-gate.html",
            "/reference/cli.html",
            "/reference/errors.html",
        ):
            assert not opened.go(path).evaluate(SIDEWAYS), path
    finally:
        opened.close()
        served.shutdown()
        served.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
