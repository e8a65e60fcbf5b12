"""Where the decision on a request may be posted: `[callbacks]` in the settings (docs/guides/webhooks.md).

The program that asks names the URL, so the settings limit its host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from hitl_cli.errors import BadInput, BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterable

# Texts, compiled when used. One strict form, so that all parsers read the same host in it.
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]"
_URL = rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?(?:[/?][!-~]*)?"
_ALLOWED = rf"(?P<host>(?:\*\.)?(?:{_HOST}))(?::(?P<port>[0-9]{{1,5}}))?"

LONGEST_URL = 2_000
PORTS = {"https": 443, "http": 80}


class CallbackSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hosts that a request's `callback` may be on: `[callbacks]`. The secret may be `$NAME`.

    A host is a name, `*.` and a name for all names below it, or an address, each with `:PORT` unless it is
    the default port of the scheme. Hosts in `internal` may also have an internal address, and use http.
    """

    hosts: tuple[str, ...] = ()
    internal: tuple[str, ...] = ()
    secret: str | None = None

    @property
    def names_hosts(self) -> bool:
        """Whether any callback is allowed."""
        return bool(self.hosts or self.internal)


NO_CALLBACKS = CallbackSettings()


class Endpoint(NamedTuple):
    """Where a callback is posted to; `is_internal` says whether the settings let its address be internal."""

    scheme: str
    host: str
    port: int
    is_internal: bool


def endpoint_of(url: str, allowed: CallbackSettings) -> Endpoint:
    """Return where a callback is posted to. Raises BadInput unless the settings allow it."""
    found = re.fullmatch(_URL, url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise _refused("it must be a URL such as https://ci.example.org/decided, without user and fragment.")
    if not allowed.names_hosts:
        raise _refused("no callback is allowed here: set hosts and secret under [callbacks] in hitl.toml.")
    scheme, host = found["scheme"], found["host"].lower()
    port = int(found["port"] or PORTS[scheme])
    place = Endpoint(scheme, host, port, is_internal=_is_among(host, port, scheme, allowed.internal))
    if place.is_internal:
        return place
    if not _is_among(host, port, scheme, allowed.hosts):
        named = host if port == PORTS[scheme] else f"{host}:{port}"
        raise _refused(f"{named} is not an allowed host: add it to callbacks.hosts in hitl.toml.")
    if scheme != "https":
        raise _refused("it must begin with https://, unless callbacks.internal names its host.")
    return place


def host_in(allowed: str) -> str:
    """Return the host of an entry of the settings, without its port."""
    found = re.fullmatch(_ALLOWED, allowed)
    return allowed if found is None else found["host"]


def check_callbacks(settings: CallbackSettings) -> None:
    """Raise BadSetting for an invalid host, or for hosts without a secret."""
    for key in ("hosts", "internal"):
        for one in getattr(settings, key):
            if not re.fullmatch(_ALLOWED, one):
                raise BadSetting(
                    f"callbacks.{key} has {one!r}, which is not a host: write ci.example.org,"
                    " *.example.org or ci.example.org:8443."
                )
    if settings.names_hosts and not settings.secret:
        raise BadSetting("callbacks.secret is missing: callbacks are signed with it.")


def _is_among(host: str, port: int, scheme: str, allowed: Iterable[str]) -> bool:
    """Whether this host is one of the allowed ones."""
    for one in allowed:
        found = re.fullmatch(_ALLOWED, one)
        if found is None or port != int(found["port"] or PORTS[scheme]):
            continue
        name = found["host"].lower()
        if host == name or (name.startswith("*.") and host.endswith(name[1:])):
            return True
    return False


def _refused(why: str) -> BadInput:
    return BadInput(f"the callback is refused: {why}", problems=[("callback", why)], code="bad-callback")
