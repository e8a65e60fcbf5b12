"""What a gateway is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.people.contacts import Directory

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Options(Struct, frozen=True, kw_only=True):
    """What a gateway is told.

    `url` is where people reach it, without a slash at the end; `person` is who acts where nobody need sign
    in, which is on this machine alone; `group` and `workflow` are for runs that are started and name none.
    """

    server: str
    keys: Path
    person: str
    host: str = "127.0.0.1"
    port: int = 5001
    url: str = "http://127.0.0.1:5001"
    token: str | None = None
    directory: Directory = Directory()
    group: str = defaults.GROUP
    workflow: str = defaults.WORKFLOW
    plain_links: bool = False
    sign_in: bool = False
    trust_header: str | None = None
    trust_from: Sequence[Network] = ()
