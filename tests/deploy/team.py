"""What docs/guides/deploy-for-a-team.md installs: real programs on ports of this machine, without systemd."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests import forked
from tests.conftest import HITL, Hitl, WorkerProcess
from tests.deploy.proxies import Authority, OurNginx
from tests.deploy.units import DEPLOY, started
from tests.docs.services import postgres
from tests.gateway.conftest import get_url
from tests.gateway.real_provider import SECRET, provider, sign_in
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.docs.pages import Run
    from tests.gateway.browser import Browser
    from tests.gateway.conftest import OpenVisit

HOST = "localhost"
"""Stands in for tools.example.org: every program finds it."""

GROUPS = {
    "lead": ["acme-ops"],
    "reviewer": ["acme-ops"],
    "deputy": [],
    "specialist": [],
    "auditor": ["acme-audit"],
}
"""The groups of the accounts at the provider."""


class Team:
    """The server of the guide. `gateways` and `worker` are the processes that its units start."""

    def __init__(self, run: Run, nginx: OurNginx, visit: OpenVisit) -> None:
        self.on_server = run.hitl
        self.folder = run.hitl.folder
        self.url = f"https://{HOST}:{nginx.port}/hitl"
        self.gateways: list[WorkerProcess] = []
        self.worker: WorkerProcess | None = None
        self._run, self._nginx, self._visit = run, nginx, visit
        self._ports = {name: free_port() for name in ("5001", "5002", "9464", "9465", "9466")}
        self._pages: dict[str, Page] = {}
        self._terminals: dict[str, Hitl] = {}
        places = {
            f"{place}/": f"{self.folder}{place}/"
            for place in ("/etc/systemd", "/etc/nginx", "/etc/prometheus")
        }
        for place in places.values():
            (Path(place) / ("system" if "systemd" in place else "conf.d")).mkdir(parents=True)
        run.swaps |= places | {
            "/etc/hitl": str(self.folder),
            "/root/oidc-secret": str(self.folder / "oidc-secret"),
            "/opt/hitl/bin/hitl": HITL,
            "https://tools.example.org/hitl": self.url,
            **{f":{shown}/": f":{real}/" for shown, real in self._ports.items()},
        }
        run.programs |= {
            "systemctl": self._systemctl,
            "nginx -t": lambda _: "",
            "hitl login": lambda words: self._log_in(run.hitl, "lead", *words),
        }

    # What the guide types

    def _systemctl(self, words: list[str]) -> str:
        match words:
            case ["daemon-reload"] | ["restart", "prometheus"]:
                pass
            case ["enable", "--now", *units]:
                for unit in units:
                    self._start(unit)
            case ["reload", "nginx"]:
                config = self.folder / "etc" / "nginx" / "conf.d" / "hitl.conf"
                self._nginx.start_with(config.read_text(), [self._listens(port) for port in ("5001", "5002")])
            case _:
                raise AssertionError(words)
        return ""

    def _start(self, name: str) -> None:
        """Start the command line of a unit; a gateway on two ports, as on two machines."""
        template, at, instance = name.partition("@")
        file = self.folder / "etc" / "systemd" / "system" / f"{template}{at}.service"
        file.write_text(self._run.swapped(file.read_text()))
        credentials = self.folder / "credentials"
        credentials.mkdir(exist_ok=True)
        for secret in (self.folder / "secrets").iterdir():
            shutil.copy(secret, credentials / f"secrets_{secret.name}")
        unit = started(file, credentials, instance)
        lent = {name: self._run.hitl.env[name] for name in ("PGHOSTADDR", "PGPORT")}  # stands in for the DNS
        env = {**forked.SERVER.env, **lent, **unit.env, "XDG_CONFIG_HOME": str(self.folder / "config")}

        def begin(*more: str, metrics: str) -> WorkerProcess:
            words = [*unit.command, *more]
            words[words.index("--metrics") + 1] = str(self._ports[metrics])
            process = WorkerProcess(words, env, Path(unit.folder))
            self._run.hitl.workers.append(process)
            process.said('"serving"')
            return process

        if instance:
            self.worker = begin(metrics=instance)
        else:
            self.gateways = [
                begin("--port", str(self._ports[port]), metrics=metrics)
                for port, metrics in (("5001", "9464"), ("5002", "9466"))
            ]

    def _listens(self, port: str) -> str:
        return f"127.0.0.1:{self._ports[port]}"

    def metrics(self, *ports: str) -> list[str]:
        """Return where processes show their metrics, by the port of the guide."""
        return [self._listens(port) for port in ports]

    def refuses(self, port: str, token: str) -> bool:
        """Whether a gateway refuses a token, past the proxy."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return get_url(f"http://{self._listens(port)}/api/v1/me", **headers).status == 401

    # What people do

    def _log_in(self, hitl: Hitl, person: str, *words: str) -> str:
        """Run `hitl login` as a person, who allows it in their browser."""
        hitl.env["BROWSER"] = "true"
        command = hitl.popen("login", *words)
        assert command.stderr is not None
        address = command.stderr.readline().partition("browser: ")[2].strip()
        page = self.page(person)
        page.goto(address)
        page.get_by_role("button", name="Sign in the terminal").click()
        page.get_by_text("Signed in. You can close this page.").wait_for()
        assert command.wait() == 0
        return ""

    def terminal(self, person: str) -> Hitl:
        """Return the commands of a person on their own machine, signed in."""
        if person in self._terminals:
            return self._terminals[person]
        folder = self.folder / f"machine of {person}"
        folder.mkdir()
        hitl = self._terminals[person] = Hitl(folder)
        hitl.env |= {"HITL_SERVER": self.url, "SSL_CERT_FILE": self._run.hitl.env["SSL_CERT_FILE"]}
        self._log_in(hitl, person, self.url)
        return hitl

    def page(self, person: str) -> Page:
        """Return the browser of a person, signed in at the provider."""
        if person not in self._pages:
            visit = self._visit(self.url)
            for expected in ("asked another host", "fonts.g", "favicon", "404", "401"):
                visit.expect(expected)
            page = visit.go("/history")
            sign_in(page, person)
            page.wait_for_url(f"{self.url}/history")
            self._pages[person] = page
        return self._pages[person]


@contextlib.contextmanager
def team(run: Run, browser: Browser, cache: Path, tmp: Path) -> Iterator[Team]:
    """Have what the guide needs: a database, a certificate, a provider; and the team's browsers."""
    folder = run.hitl.folder
    (folder / "deploy").symlink_to(DEPLOY)
    (folder / "oidc-secret").write_text(SECRET)
    run.hitl.env.pop("HITL_SERVER")
    ca = Authority(folder, [HOST])
    nginx = OurNginx(folder, ca)
    run.curl.unlink()  # so that it is the real one
    (folder / ".curlrc").write_text(f'cacert = "{ca.file}"\nfail\n')
    run.hitl.env |= {"CURL_HOME": str(folder), "SSL_CERT_FILE": str(ca.file)}
    here = tmp / "provider"
    here.mkdir()
    url = f"https://{HOST}:{nginx.port}/hitl"
    with postgres(run, folder), provider(cache, here, url, GROUPS) as issuer:
        run.swaps["https://login.example.org/realms/acme"] = issuer
        try:
            with browser.visits() as visit:  # closed before what they show is ended
                yield Team(run, nginx, visit)
        finally:
            nginx.stop()
            for process in run.hitl.workers:
                process.clear_away()
