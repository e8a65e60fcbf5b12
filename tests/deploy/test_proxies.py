"""deploy/nginx and deploy/caddy in front of two gateways: TLS of our own CA, with and without a path."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from typing import TYPE_CHECKING

import pytest

from hitl_cli.auth import tokens
from hitl_cli.requests.question import Question
from tests.cli.requests import DAY_MS, put
from tests.conftest import PATIENCE_S, Hitl
from tests.deploy.proxies import Authority, OurCaddy, OurNginx
from tests.deploy.units import DEPLOY
from tests.gateway.conftest import Reply
from tests.gateway.visiting import Visited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.heavy

SITES = {"hitl": ("hitl.example.org", ""), "hitl-path": ("tools.example.org", "/hitl")}


class Site:
    """Two gateways behind a proxy."""

    def __init__(self, folder: Path, kind: type[OurNginx | OurCaddy], site: str) -> None:
        self.host, self.base = SITES[site]
        ca = Authority(folder, [self.host])
        self.proxy = kind(folder, ca)
        self.hitl = Hitl(folder)
        self.url = f"https://{self.host}:{self.proxy.port}{self.base}"
        self.gateways = [Visited(self.hitl, url=self.url, trust_from=[_here()]) for _ in range(2)]
        try:
            self.proxy.start(site, [one.address.partition("//")[2] for one in self.gateways])
        except BaseException:  # skipped, where there is no such proxy
            self._stop_gateways()
            raise

    def ask(self, path: str, **headers: str) -> Reply:
        """Ask from this machine."""
        connection = self.connected()
        try:
            return self.ask_by(connection, path, **headers)
        finally:
            connection.close()

    def ask_by(self, connection: http.client.HTTPSConnection, path: str, **headers: str) -> Reply:
        """Ask by an open connection."""
        connection.request("GET", self.base + path, headers=self.headers(**headers))
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.getheaders()), answer.read())

    def connected(self, at: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """Return a connection from an address of this machine, which believes our CA alone."""
        connection = http.client.HTTPSConnection(self.host, self.proxy.port, timeout=PATIENCE_S)
        connection.sock = self.proxy.ca.trusting.wrap_socket(
            _connect(self.proxy.port, at), server_hostname=self.host
        )
        return connection

    def headers(self, **more: str) -> dict[str, str]:
        """Return headers, with the host's."""
        given = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Host": f"{self.host}:{self.proxy.port}", **given}

    def stop(self) -> None:
        self.proxy.stop()
        self._stop_gateways()

    def _stop_gateways(self) -> None:
        for gateway in self.gateways:
            gateway.stop()


def _connect(port: int, at: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S, (at, 0))


def _here() -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network("127.0.0.1")


@pytest.fixture(
    scope="module",
    params=[(kind, site) for kind in (OurNginx, OurCaddy) for site in SITES],
    ids=lambda param: f"{param[0].name}-{param[1]}",
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kind, name = request.param
    opened = Site(tmp_path_factory.mktemp("proxy"), kind, name)
    yield opened
    opened.stop()


def test_it_is_reached_with_tls_and_without_is_led_there(site: Site) -> None:
    answer = site.ask("/ready")
    assert (answer.status, answer.text) == (200, "ready\n")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    assert (
        site.ask("/history", Accept="text/html").headers["Location"] == f"{site.base}/sign-in?next=/history"
    )
    plain = http.client.HTTPConnection("127.0.0.1", site.proxy.plain_port, timeout=PATIENCE_S)
    plain.request("GET", "/", headers={"Host": site.host})
    moved = plain.getresponse()
    assert moved.status in (301, 308)
    assert moved.headers["Location"].startswith(f"https://{site.host}")
    plain.close()


def test_an_event_comes_at_once(site: Site) -> None:
    with site.hitl.client() as client:
        token = tokens.create(client, "lead", ["read"], life_ms=DAY_MS, by="ops")[1]
    connection = site.connected()
    headers = site.headers(Authorization=f"Bearer {token}")
    connection.request("GET", f"{site.base}/api/v1/events", headers=headers)
    stream = connection.getresponse()
    begun = time.monotonic()
    put(site.hitl, "ship", Question(prompt="Ship?"))
    assert any(b"ship" in line for line in iter(stream.readline, b""))
    assert time.monotonic() - begun < 10  # a buffer would hold it until the next sign of life
    connection.sock.close()


def test_clients_are_told_apart_and_cannot_choose_their_address(site: Site) -> None:
    for host in ("127.0.0.2", "127.0.0.3"):
        connection = site.connected(host)
        for said in ("192.0.2.1", "192.0.2.2"):
            assert site.ask_by(connection, "/l/nonsense", X_Forwarded_For=said).status == 403
        connection.close()
    counted = {network for one in site.gateways if one.gateway for network in one.gateway.bad_links._windows}
    assert counted == {"127.0.0.2", "127.0.0.3"}


def test_nginx_logs_no_secret_and_slows_who_floods_the_sign_in(site: Site) -> None:
    if not isinstance(site.proxy, OurNginx):
        pytest.skip("Caddy logs nothing, and has no limit of its own")
    site.ask("/health")
    site.ask("/l/a.secret")
    site.ask("/sign-in/another.secret")
    assert f'"GET {site.base}/health HTTP' in site.proxy.log
    connection = site.connected("127.0.0.4")
    statuses = [site.ask_by(connection, "/sign-in/a.secret").status for _ in range(120)]
    connection.close()
    assert (statuses[0], statuses[-1]) == (403, 429)
    assert "secret" not in site.proxy.log


def test_the_two_configurations_of_nginx_differ_in_the_address_alone() -> None:
    site, path = ((DEPLOY / "nginx" / f"{name}.conf").read_text() for name in SITES)
    assert path == (
        site.replace("hitl.example.org;", "tools.example.org;")
        .replace("https://hitl.example.org", "https://tools.example.org/hitl")
        .replace("location / {", "location /hitl/ {")
        .replace("location ~ ^/(", "location ~ ^/hitl/(")
    )
