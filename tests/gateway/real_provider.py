"""A real sign-in provider: the npm package oidc-provider, and its pages in a browser."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.typescript.conftest import free_port
from tests.typescript.node import install, node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from playwright.sync_api import Page

PACKAGE = "oidc-provider@9"
SECRET = "a secret of the test, long enough"


@contextlib.contextmanager
def provider(
    cache: Path, here: Path, gateway: str, groups: Mapping[str, Sequence[str]] | None = None
) -> Iterator[str]:
    """Run it for a gateway at a URL, and yield the issuer. Who signs in has the groups of their account."""
    command, port = node(), free_port()
    install(cache, PACKAGE)
    shutil.copy(Path(__file__).with_name("provider.mjs"), here)
    (here / "node_modules").symlink_to(cache / "node_modules")
    with subprocess.Popen(
        [command, "provider.mjs", str(port), gateway, json.dumps(groups or {})],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("listening" in line for line in iter(process.stdout.readline, ""))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def sign_in(page: Page, person: str = "reviewer") -> None:
    """Go through the pages of the provider."""
    page.get_by_role("link", name="Sign in with Acme").click()
    page.locator("input[name=login]").fill(person)
    page.locator("input[name=password]").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()
