"""docs/guides/gateway.md: its commands are run as they stand, in order, and what they print is compared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.curl import curl
from tests.cli.test_readme import BLOCK, commands, settled
from tests.conftest import wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "gateway.md"
URL = "http://127.0.0.1:5001"


def test_every_command_of_the_docs_prints_what_they_show(hitl: Hitl, gateway: GatewayProcess) -> None:
    hitl.worker()
    blocks = [block for kind, block in BLOCK.findall(DOCS.read_text()) if kind == "console"]
    for line, expected in [shown for block in blocks for shown in commands(block)]:
        if line.startswith("curl"):
            printed = curl(line.replace(URL, gateway.url))
        else:
            printed = hitl.ok(*shlex.split(line)[1:])
        assert settled(printed) == settled(expected), line
        if "started" in printed:
            wait_until(lambda: hitl.json("pending"))
