"""What the commands of a page connect to: real programs (`<!-- with NAME … -->` in the page)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from psycopg import sql

from tests.conftest import wait_until
from tests.deploy.units import DEPLOY
from tests.docs.pages import parts
from tests.gateway.nginx import CONFIG, TEMPORARY, answers, found
from tests.notify.receivers import HttpReceiver, Mailbox
from tests.postgres.cluster import PASSWORD, binaries, cluster, needed_resonate_sql
from tests.server.conftest import stand_in
from tests.typescript.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.docs.pages import Run

HEAVY = {"nginx", "postgres"}
"""Those whose pages `make heavy` runs."""


@contextlib.contextmanager
def smtp(run: Run, _page: Path) -> Iterator[None]:
    """A mail server for mail.example.org, with STARTTLS and a login."""
    certificate = signed(run.hitl.folder, "mail.example.org", "IP:127.0.0.1")
    with Mailbox(certificate, login=("hitl", PASSWORD)) as mailbox:
        run.swaps['host = "mail.example.org"'] = f'host = "127.0.0.1"\nport = {mailbox.port}'
        run.swaps["port = 587\n"] = ""
        run.swaps["export MAIL_PASSWORD=…"] = f"export MAIL_PASSWORD={PASSWORD}"
        run.hitl.env |= {"MAIL_PASSWORD": PASSWORD, "SSL_CERT_FILE": str(certificate)}
        yield
        assert mailbox.received


@contextlib.contextmanager
def slack(run: Run, _page: Path) -> Iterator[None]:
    """What takes the messages for Slack."""
    with HttpReceiver() as receiver:
        run.swaps["https://hooks.slack.com/…"] = receiver.url
        run.hitl.env |= {"SLACK_LEAD": receiver.url, "SLACK_OPS": receiver.url}
        yield
        assert receiver.received


@contextlib.contextmanager
def plugin(run: Run, page: Path) -> Iterator[None]:
    """The package that the page shows, as if it were installed."""
    shown = {part.kind: part.text for part in parts(page) if part.kind in ("toml", "python")}
    [points] = re.findall(r"^\[project\.entry-points.*", shown["toml"], re.MULTILINE | re.DOTALL)
    points = re.sub(r'\[project\.entry-points\."([\w.]+)"\]', r"[\1]", points).replace('"', "")
    (run.hitl.folder / "acme_hitl.py").write_text(shown["python"])
    info = run.hitl.folder / "acme_hitl-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hitl\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    run.hitl.env["PYTHONPATH"] = str(run.hitl.folder)
    yield
    run.hitl.env.pop("PYTHONPATH")


@contextlib.contextmanager
def nginx(run: Run, _page: Path) -> Iterator[None]:
    """An nginx with the configurations that the page shows: the site for its first gateway, then the path."""
    program, folder, port = found(), run.hitl.folder, free_port()
    certificate = signed(folder, "hitl.example.org", "DNS:hitl.example.org,DNS:tools.example.org")
    for name in ("cert.pem", "key.pem"):
        shutil.copy(certificate, folder / name)
    run.swaps |= {
        "/etc/ssl/hitl.pem": str(folder / "cert.pem"),
        "/etc/ssl/hitl.key": str(folder / "key.pem"),
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
    }
    (folder / ".curlrc").write_text(f'connect-to = "::127.0.0.1:{port}"\ncacert = "{certificate}"\nfail\n')
    run.curl.unlink()  # so that it is the real one
    run.hitl.env["CURL_HOME"] = str(folder)
    site, under = ((DEPLOY / "nginx" / f"{name}.conf").read_text() for name in ("hitl", "hitl-path"))
    running: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        config = folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=folder,
                temporary=" ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY),
                servers=run.swapped(under if running else site),
            )
        )
        end()
        running.append(subprocess.Popen([program, "-c", str(config), "-p", str(folder)]))
        wait_until(lambda: answers(port))

    def end() -> None:
        for one in running:
            one.terminate()
            one.wait()

    run.gateway_begins = begin
    yield
    end()


@contextlib.contextmanager
def postgres(run: Run, _page: Path) -> Iterator[None]:
    """A PostgreSQL at db.example.com, with the roles of the page and an empty database."""
    schema = needed_resonate_sql()
    folder = run.hitl.folder
    shutil.copy(schema, folder / "resonate.sql")
    # The server of the wheel has no TLS.
    run.swaps["?sslmode=verify-full&sslrootcert=/etc/ssl/db-ca.pem"] = ""
    with cluster() as running:
        running.execute(sql.SQL("CREATE ROLE owner LOGIN SUPERUSER PASSWORD {}").format(PASSWORD))
        running.execute(sql.SQL("CREATE ROLE worker LOGIN PASSWORD {}").format(PASSWORD))
        running.execute(sql.SQL("CREATE DATABASE {} OWNER owner").format(sql.Identifier("hitl")))
        run.hitl.env |= {
            "PATH": f"{binaries()}:{run.hitl.env['PATH']}",
            "PGHOSTADDR": "127.0.0.1",
            "PGPORT": str(running.port),
            "PGPASSWORD": PASSWORD,
            "PGHOST": "db.example.com",
            "PGUSER": "owner",
        }
        yield


@contextlib.contextmanager
def resonate(run: Run, _page: Path) -> Iterator[None]:
    """What stands in for a Resonate Server."""
    run.swaps["http://resonate.example.com:8001"] = stand_in(run.hitl)
    yield


def signed(folder: Path, name: str, also: str) -> Path:
    """Return a file with a key and its self-signed certificate."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    pem = folder / f"{name}.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-keyout", str(pem), "-subj", f"/CN={name}", "-addext", f"subjectAltName={also}"]
    done = subprocess.run([openssl, *made, *named], check=True, capture_output=True)
    with pem.open("ab") as file:
        file.write(done.stdout)
    return pem


SERVICES = {
    "smtp": smtp,
    "slack": slack,
    "plugin": plugin,
    "nginx": nginx,
    "postgres": postgres,
    "resonate": resonate,
}
