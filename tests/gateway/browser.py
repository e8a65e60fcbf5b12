"""A real Chromium for the tests of pages, and what no page may do in it: complain, or ask another host.

Chromium is found where it is, or installed, as root on Debian. Elsewhere these tests are skipped, but never
where HITL_NEED_BROWSER or CI is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec import Struct
from playwright.sync_api import sync_playwright

from tests.conftest import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Playwright
    from playwright.sync_api import Request as Asked

ON_THIS_MACHINE = "--host-resolver-rules=MAP *.example.org 127.0.0.1"
"""A proxy of this machine has a name, too: as 127.0.0.1 nobody need sign in."""

SHELL = "chromium-headless-shell"
"""Debian's Chromium without a window of its own, as playwright's: a visit takes a third of the time."""

NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome")

UPDATE_S = 90.0
INSTALL_S = 300.0
"""How long apt may take: Chromium is 90 MB, and a slow mirror is no reason to hang."""

IN_A_BROWSER = pytest.mark.timeout(UPDATE_S + INSTALL_S + 120)
"""The mark of tests that may be the first to need Chromium."""

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
"""What axe-core checks: WCAG 2.2, A and AA."""

NARROWEST = 320
"""CSS pixels: WCAG 1.4.10, 1,280 of them enlarged four times."""

SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


class Screen(Struct, frozen=True, kw_only=True):
    """What a page is looked at with."""

    width: int = 1280
    height: int = 800
    touch: bool = False
    dark: bool = False
    script: bool = True
    locale: str = "en-GB"
    zone: str = "UTC"


DESKTOP = Screen()
PHONE = Screen(width=390, height=844, touch=True)


class Visit:
    """One person's browser: a page, and the errors on it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.complaints: list[str] = []
        self._expected: list[str] = []
        self._context = context
        context.set_default_timeout(PATIENCE_S * 1_000)
        context.on("request", self._asked)
        context.on("console", self._said)
        context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        context.on("dialog", self._dialog)
        self.page: Page = context.new_page()

    def go(self, path: str) -> Page:
        """Go to a page, and return it."""
        self.page.goto(self.url + path)
        return self.page

    def expect(self, text: str) -> None:
        """Have it be no failure that the console says this: of an answer that refuses, it always does."""
        self._expected.append(text)

    def close(self) -> None:
        """Close it, and fail if anything went wrong."""
        self._context.close()
        wrong = [said for said in self.complaints if not any(text in said for text in self._expected)]
        assert not wrong, "\n".join(wrong)

    def _asked(self, request: Asked) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc and not request.url.startswith("data:"):
            self.complaints.append(f"asked another host: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()


class Browser:
    """Chromium, in which each visit has cookies and storage of its own.

    Until playwright is stopped, its event loop counts as running in this thread, which then can run no other
    one. Here it counts only while it is used, so that all tests of a process can share a Chromium.
    """

    def __init__(self) -> None:
        self._playwright: Playwright = sync_playwright().start()
        try:
            self._chromium: Chromium = self._playwright.chromium.launch(
                executable_path=chromium(self._playwright.chromium.executable_path),
                args=[ON_THIS_MACHINE, *(["--no-sandbox"] if os.geteuid() == 0 else [])],
            )
        except BaseException:
            self._playwright.stop()
            raise
        self._loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._used():
            self._chromium.close()
            self._playwright.stop()

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    @contextlib.contextmanager
    def visits(self) -> Iterator[Callable[..., Visit]]:
        """Open visits; close them at the end, and fail if anything went wrong there."""
        with self._used(), contextlib.ExitStack() as opened:

            def visit(url: str, screen: Screen = DESKTOP) -> Visit:
                return opened.enter_context(contextlib.closing(self._visit(url, screen)))

            yield visit

    def _visit(self, url: str, screen: Screen) -> Visit:
        """Open a page of a gateway, where nothing is loaded yet."""
        context = self._chromium.new_context(
            viewport={"width": screen.width, "height": screen.height},
            has_touch=screen.touch,
            is_mobile=screen.touch,
            device_scale_factor=2 if screen.touch else 1,
            color_scheme="dark" if screen.dark else "light",
            reduced_motion="reduce",
            java_script_enabled=screen.script,
            locale=screen.locale,
            timezone_id=screen.zone,
            ignore_https_errors=url.startswith("https:"),
        )
        return Visit(context, url)


def chromium(bundled: str) -> str:
    """Return where Chromium is; `bundled` is where playwright would have put its own. May skip the test."""
    named = os.environ.get("HITL_CHROMIUM")
    if named:
        return named
    path = found() or (bundled if Path(bundled).exists() else None)
    if path is not None:
        return path
    why = installed()
    path = found()
    if path is not None:
        return path
    missing = f"there is no Chromium for the tests of the pages: {why}. HITL_CHROMIUM=PATH names one"
    if os.environ.get("CI") or os.environ.get("HITL_NEED_BROWSER"):
        pytest.fail(missing)
    pytest.skip(missing)


def found() -> str | None:
    """Return the first Chromium on the PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@cache
def installed() -> str:
    """Install Chromium, once for all processes of a test run; return why there is none yet, if so."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        return "it can be installed here only as root on Debian"
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    with (Path(tempfile.gettempdir()) / f"hitl-chromium-{run}").open("a+") as told:
        fcntl.flock(told, fcntl.LOCK_EX)
        told.seek(0)
        if why := told.read():
            return why
        why = apt("update", UPDATE_S) or apt("install", INSTALL_S, "--no-install-recommends", SHELL)
        told.write(why or "it was installed")
        return why


def apt(command: str, limit_s: float, *args: str) -> str:
    """Run apt-get; return what it complained of, nothing if it did as it was told."""
    line = ["apt-get", "-qq", "-y", "-o", f"DPkg::Lock::Timeout={UPDATE_S:.0f}", command, *args]
    try:
        done = subprocess.run(
            line,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get {command} took more than {limit_s:.0f} s"
    last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    return f"apt-get {command} failed: {last}" if done.returncode else ""


def check_accessible(page: Page) -> None:
    """Fail where a page, wide and light or as on a phone and dark, breaks a rule that axe-core knows."""
    size = page.viewport_size
    assert size is not None
    page.evaluate(Axe().axe_script)
    check_rules(page, "wide, light")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
    check_rules(page, "as on a phone, dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(size)


def check_rules(page: Page, looked: str) -> None:
    """Fail where a page as it is shown now breaks one of the rules."""
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": RULES}}
    violations = page.evaluate("options => axe.run(options).then(found => found.violations)", options)
    wrong = [
        f"{violation['id']}: {node['html']}\n    {node['failureSummary']}"
        for violation in violations
        for node in violation["nodes"]
    ]
    assert not wrong, f"{page.url} ({looked}):\n" + "\n".join(wrong)


def check_narrow(page: Page) -> None:
    """Fail if a page is wider than the narrowest screen."""
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({"width": NARROWEST, "height": 640})
    assert not page.evaluate(SIDEWAYS), f"{page.url} is wider than {NARROWEST} px"
    page.set_viewport_size(size)
