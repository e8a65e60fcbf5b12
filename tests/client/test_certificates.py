"""What is said where the certificate of a server is refused, by each way of reaching one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.client.gateway_api import GatewayApi
from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import HitlError
from hitl_cli.gateway.oidc.provider import Provider
from hitl_cli.notify.channels.http_post import post
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.people.oidc_settings import OidcSettings
from tests.certificates import answering, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server whose certificate is trusted, but has expired."""
    certificate = self_signed(tmp_path / "server.pem", days=-1)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering(certificate) as url:
        yield url


def asked(url: str) -> None:
    with connect(url, None) as client:
        get_promise(client, "x")


@pytest.mark.parametrize(
    "reach",
    [
        asked,
        lambda url: GatewayApi(url, None).send("GET", "/me", dict),
        lambda url: asyncio.run(post(url, b"{}")),
        lambda url: asyncio.run(
            Provider(OidcSettings(issuer=url, client_id="hitl", client_secret="s")).metadata()
        ),
    ],
    ids=["server", "gateway", "webhook", "sign-in"],
)
def test_a_refused_certificate_is_the_reason(expired: str, reach: Callable[[str], object]) -> None:
    # aiohttp has read what is trusted when it was imported
    with pytest.raises(HitlError, match=r"its certificate is refused: (certificate has expired|self-signed)"):
        reach(expired)


def test_a_message_is_sent_again_once_the_certificate_is_renewed(expired: str) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(post(expired, b"{}"))
    assert not failed.value.for_good
