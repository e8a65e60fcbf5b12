"""Checks of the sign-in provider for `hitl doctor`. Nobody is signed in."""

from __future__ import annotations

import http.client
import importlib.util
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.errors import certificate_fault
from hitl_cli.inspected import inspected
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.people.oidc_settings import OidcSettings

PATIENCE_S = 6.0

ANSWER_BYTES = 1_000_000

NAME = "sign-in"


class _Provider(Struct, frozen=True):
    issuer: str


def judge_oidc(oidc: OidcSettings | None) -> Iterator[Finding]:
    """Check what a gateway needs for `[oidc]`: the extra, the secret, and the provider of the settings."""
    if oidc is None:
        return
    if importlib.util.find_spec("joserfc") is None:
        yield Finding(
            NAME, "warning", "the extra oidc is not installed here", "pip install 'resonate-hitl[oidc]'"
        )
    if (oidc.client_secret or "").startswith("$"):
        missing = f"oidc.client_secret is in {oidc.client_secret}, which is not set here"
        yield Finding(NAME, "warning", missing, "set it where gateways run")
    url = f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as response:  # noqa: S310 - checked with the settings
            found = msgspec.json.decode(response.read(ANSWER_BYTES), type=inspected(_Provider))
    except (OSError, http.client.HTTPException, msgspec.DecodeError, UnicodeDecodeError) as error:
        why = certificate_fault(error) or getattr(error, "reason", None) or error
        text = f"the sign-in provider does not answer at {url}: {why}"
        yield Finding(NAME, "warning", text, "is oidc.issuer right?")
        return
    if found.issuer != oidc.issuer:
        other = f"the sign-in provider calls itself {found.issuer!r}"
        yield Finding(NAME, "warning", other, "set oidc.issuer to exactly that")
        return
    yield Finding(NAME, "ok", f"{oidc.issuer} answers")
