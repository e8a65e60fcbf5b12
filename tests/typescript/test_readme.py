"""The example's README: its commands are run as they stand, beside the server on its file, and compared."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from tests import forked
from tests.conftest import HITL, wait_until
from tests.docs.pages import BLOCK, commands, settled
from tests.typescript.node import EXAMPLE

if TYPE_CHECKING:
    from tests.typescript.conftest import Online


def test_every_command_of_the_readme_prints_what_the_readme_shows(online: Online) -> None:
    online.env |= {"HITL_AS": "you", "HITL_SERVER": online.url}
    blocks = [
        block for kind, block in BLOCK.findall((EXAMPLE / "README.md").read_text()) if kind == "console"
    ]
    lines = [line for block in blocks for line in commands(block)]
    assert [command for command, _ in lines[:3]] == ["hitl server", "npm install", "npm run async"]
    worker = online.typescript("async", tsx=True)
    shown = lines[2][1].replace("http://127.0.0.1:8001", online.http)

    for line, expected in lines[3:]:
        program, *args = shlex.split(line)
        assert program == "hitl"
        done = forked.run(
            [HITL, *args], env=online.env, cwd=online.folder, capture_output=True, text=True, check=False
        )
        assert settled(done.stdout) == settled(expected), line
        if args[0] == "start":
            online.blocked()

    wait_until(lambda: len(worker.lines) >= len(settled(shown)))
    assert worker.lines[: len(settled(shown))] == settled(shown)
