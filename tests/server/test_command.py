"""`hitl server`: refusals, and access without tokens."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl
    from tests.server.conftest import Served


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_authentication_only_this_machine_is_listened_to(hitl: Hitl, host: str) -> None:
    assert "--auth-publickey" in hitl.fails(2, "server", "--port", "0", "--host", host, code="bad-usage")


def test_a_port_that_is_in_use_is_named(hitl: Hitl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in hitl.fails(
            2, "server", "--port", str(port), code="cannot-listen"
        )


def test_a_file_that_cannot_be_used_is_named(hitl: Hitl, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database" * 100)
    assert "is not a database" in hitl.fails(
        6, "server", "--port", "0", "-S", f"sqlite:///{tmp_path}/other.db", code="file-unusable"
    )


@pytest.mark.parametrize(
    "args",
    [
        ("-S", "http://127.0.0.1:1"),
        ("--auth-iss", "someone"),
        ("--auth-publickey", "absent.pem"),
        ("--push-to", "nothing"),
        ("--port", "70000"),
    ],
)
def test_what_makes_no_sense_is_refused(hitl: Hitl, args: tuple[str, ...]) -> None:
    hitl.fails(2, "server", "--port", "0", *args)


def test_a_web_page_gets_no_answer(served: Served) -> None:
    for headers in (
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "example.org"},
        {"Host": "localhost.example.org:8001"},
        {"Host": "["},
        {"Host": ""},
    ):
        assert served.raw("POST", "/", b"{}", headers)[0] == 403, headers
        assert served.raw("GET", "/poll/g/i", None, headers)[0] == 403, headers
        assert served.raw("GET", "/metrics", None, headers)[0] == 403, headers


def test_this_machine_has_many_names(served: Served) -> None:
    for host in ("localhost", "localhost:8001", "127.0.0.1", "127.8.8.8:80", "[::1]:8001"):
        assert served.raw("GET", "/health", None, {"Host": host})[0] == 200, host
