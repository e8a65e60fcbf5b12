"""A kind of server for hitl: acme://NAME."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.client.connect import connect, driver_of
from hitl_cli.errors import BadServer
from hitl_cli.sdk.worker_link import worker_link

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.sdk.worker_link import WorkerLink, WorkerTerms


class NamedServer:
    """hitl.servers: acme://NAME is the server whose URL is in the environment variable ACME_NAME."""

    def connect(self, url: str, token: str | None) -> Client:
        return connect(self._real(url), token)

    def file(self, url: str) -> Path | None:
        return driver_of(self._real(url)).file(self._real(url))

    def exists(self, url: str) -> bool:
        return driver_of(self._real(url)).exists(self._real(url))

    def worker_link(self, url: str, token: str | None, terms: WorkerTerms) -> WorkerLink:
        return worker_link(self._real(url), token, terms)

    def _real(self, url: str) -> str:
        name = urlsplit(url).netloc
        try:
            return os.environ[f"ACME_{name.upper()}"]
        except KeyError:
            raise BadServer(f"there is no server named {name!r} here.") from None


named = NamedServer()
