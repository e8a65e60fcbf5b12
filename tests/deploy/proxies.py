"""The configurations of deploy/nginx and deploy/caddy, run by the real programs, with a CA of our own."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import wait_until
from tests.deploy.units import DEPLOY
from tests.gateway.nginx import CONFIG, TEMPORARY, answers, found
from tests.postgres.programs import program
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Authority:
    """A CA, and a certificate of it for some names."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.file, self.cert, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca_key = folder / "ca.key"
        made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        signs = ["-subj", "/CN=CA of the test", "-addext", "keyUsage=critical,keyCertSign"]
        _openssl(*made, "-keyout", str(ca_key), "-out", str(self.file), *signs)
        alternatives = ",".join(f"DNS:{name}" for name in names)
        made += ["-keyout", str(self.key), "-out", str(self.cert), "-subj", f"/CN={names[0]}"]
        made += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={alternatives}"]
        _openssl(*made, "-CA", str(self.file), "-CAkey", str(ca_key))
        self.key.chmod(0o600)

    @property
    def trusting(self) -> ssl.SSLContext:
        """What trusts nobody but this CA."""
        return ssl.create_default_context(cafile=str(self.file))


class Proxy:
    """A proxy with one of our configurations, in front of gateways on this machine."""

    ends_by = signal.SIGTERM

    def __init__(self, folder: Path, ca: Authority) -> None:
        self.folder = folder
        self.ca = ca
        self.port, self.plain_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def on_this_machine(self, text: str) -> str:
        """Return a configuration with the certificate of the CA."""
        return _swapped(text, {"/etc/ssl/hitl.pem": str(self.ca.cert), "/etc/ssl/hitl.key": str(self.ca.key)})

    def run(self, command: Sequence[str]) -> None:
        """Start the program, and wait until it listens."""
        self._process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL)
        wait_until(lambda: answers(self.port))

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.ends_by)
            self._process.wait()


class OurNginx(Proxy):
    """nginx, with a log of what it was asked."""

    name = "nginx"

    def __init__(self, folder: Path, ca: Authority) -> None:
        """Skip the test where there is no nginx."""
        self._program = found()
        super().__init__(folder, ca)

    def start(self, site: str, addresses: Sequence[str]) -> None:
        """Serve `hitl` or `hitl-path` in front of gateways (host:port)."""
        self.start_with((DEPLOY / "nginx" / f"{site}.conf").read_text(), addresses)

    def start_with(self, text: str, addresses: Sequence[str]) -> None:
        """Serve a configuration in front of gateways (host:port)."""
        servers = _swapped(
            self.on_this_machine(text),
            {
                "    server 127.0.0.1:5001;": "\n".join(f"    server {address};" for address in addresses),
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
                "Host $host;": "Host $host:$server_port;",
                "/var/log/nginx/error.log": f"{self.folder}/error.log",
            },
        )
        config = self.folder / "nginx.conf"
        temporary = " ".join(f"{name}_temp_path {self.folder}/{name};" for name in TEMPORARY)
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIG.format(user=user, folder=self.folder, temporary=temporary, servers=servers)
        config.write_text(text.replace("access_log off", f"access_log {self.folder}/access.log", 1))
        self.run([self._program, "-c", str(config), "-p", str(self.folder)])

    @property
    def log(self) -> str:
        """What it logged."""
        return "".join((self.folder / f"{name}.log").read_text() for name in ("access", "error"))


class OurCaddy(Proxy):
    """Caddy."""

    name = "caddy"
    ends_by = signal.SIGKILL  # or it waits for open streams; it has no other processes

    def __init__(self, folder: Path, ca: Authority) -> None:
        """Skip the test where there is no Caddy."""
        self._program = program("caddy")
        super().__init__(folder, ca)

    def start(self, site: str, addresses: Sequence[str]) -> None:
        """Serve `hitl` or `hitl-path` in front of gateways (host:port)."""
        file = {"hitl": "caddy/Caddyfile", "hitl-path": "caddy/Caddyfile-path"}[site]
        text = _swapped(
            self.on_this_machine((DEPLOY / file).read_text()), {"127.0.0.1:5001": " ".join(addresses)}
        )
        ports = f"http_port {self.plain_port}\nhttps_port {self.port}"
        config = self.folder / "Caddyfile"
        config.write_text(f"{{\nadmin off\n{ports}\nstorage file_system {self.folder}\n}}\n{text}")
        self.run([self._program, "run", "--config", str(config), "--adapter", "caddyfile"])


def _swapped(text: str, swaps: dict[str, str]) -> str:
    """Return a text with parts replaced, all of which it has."""
    for old, new in swaps.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def _openssl(*args: str) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None
    subprocess.run([openssl, *args], check=True, capture_output=True)
