"""A real nginx in front of gateways, with TLS and HTTP/2. If nginx is missing, its tests are skipped.

They are never skipped where HITL_NEED_NGINX or CI is set, as .ci/run does, which installs it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.conftest import wait_until
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = "tools.example.org"

SERVER = """
    server {{
        listen 127.0.0.1:{port} ssl http2;
        server_name {host};
        location {base}/ {{
            proxy_pass {to};
            proxy_set_header Host $host:$server_port;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
"""

CONFIG = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {temporary}
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    {servers}
}}
"""

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""The folders that nginx makes, by the beginning of their settings."""


class Nginx:
    """Terminates TLS at https://HOST:PORT/BASE/; `ports` are chosen before it starts, for `--url`."""

    def __init__(self, folder: Path, sites: int) -> None:
        self._program = found()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.ports = [free_port() for _ in range(sites)]

    def start(self, base: str, targets: Sequence[str]) -> Self:
        """Pass on what is under a path, each port to its target; one that ends with a slash gets no path."""
        openssl = shutil.which("openssl")
        assert openssl is not None
        key, cert = self._folder / "key.pem", self._folder / "cert.pem"
        made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        named = ["-keyout", str(key), "-out", str(cert), "-subj", f"/CN={HOST}"]
        subprocess.run([openssl, *made, *named], check=True, capture_output=True)
        servers = [
            SERVER.format(host=HOST, port=p, base=base, to=to)
            for p, to in zip(self.ports, targets, strict=True)
        ]
        config = self._folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=self._folder,
                temporary=" ".join(f"{name}_temp_path {self._folder}/{name};" for name in TEMPORARY),
                servers="".join(servers),
            )
        )
        self._process = subprocess.Popen([self._program, "-c", str(config), "-p", str(self._folder)])
        wait_until(lambda: all(map(answers, self.ports)))
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def answers(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def found() -> str:
    """Return where nginx is. Skips the test where there is none."""
    path = shutil.which("nginx") or "/usr/sbin/nginx"
    if Path(path).exists():
        return path
    missing = "there is no nginx for the tests of a proxy: apt-get install nginx"
    if os.environ.get("CI") or os.environ.get("HITL_NEED_NGINX"):
        pytest.fail(missing)
    pytest.skip(missing)
