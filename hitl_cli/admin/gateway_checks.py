"""Checks for `hitl doctor` of the address at which people reach the gateway, and of its certificate."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hitl_cli.errors import certificate_fault
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.settings import DEFAULT_GATEWAY
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.settings import Setting

PATIENCE_S = 6.0

SOON_DAYS = 14
"""Warn if a certificate expires within this time. Most are renewed 30 days before."""

OK = 200


def judge_gateway(gateway: Setting) -> Iterator[Finding]:
    """Check whether the gateway answers at the address in the settings, if there is one."""
    if gateway is DEFAULT_GATEWAY:
        return
    url = f"{gateway.value}/ready"
    try:
        status, ends = _asked(url)
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: of an invalid name
        why = certificate_fault(error) or getattr(error, "strerror", None) or error
        text = f"{gateway.value} cannot be reached from here: {why}"
        advice = "start it with hitl gateway, or look at the proxy before it"
        yield Finding("gateway", "warning", text, advice)
        return
    if status == OK:
        yield Finding("gateway", "ok", f"{gateway.value} answers")
    else:
        text = f"{url} answers with {status}"
        yield Finding("gateway", "warning", text, "read the logs of the gateway and of the proxy before it")
    if ends is not None and (days := int((ends - time.time()) * 1_000 // UNITS_MS["d"])) < SOON_DAYS:
        text = f"the certificate of {gateway.value} ends in {days} day{'' if days == 1 else 's'}"
        yield Finding("gateway", "warning", text, "renew it")


def _asked(url: str) -> tuple[int, float | None]:
    """Return the status of a response, and when the certificate ends.

    Raises OSError, UnicodeError, HTTPException.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=PATIENCE_S)
    try:
        connection.connect()
        ends = None
        if isinstance(connection.sock, ssl.SSLSocket) and (held := connection.sock.getpeercert()):
            ends = ssl.cert_time_to_seconds(str(held["notAfter"]))
        connection.request("GET", parts.path)
        return connection.getresponse().status, ends
    finally:
        connection.close()
