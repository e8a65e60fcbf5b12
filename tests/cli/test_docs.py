"""The generated pages are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_command_reference_is_not_stale() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.generate_docs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_command_reference_cuts_no_sentence_and_shows_examples_as_commands() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    assert not re.findall(r"^\* `\w+`: .*\.\.\.$", page, re.MULTILINE)
    assert not re.findall(r"^Examples:\n\n(?!```sh\n)", page, re.MULTILINE)


@pytest.mark.parametrize("command", ["pending", "show", "history", "runs"])
def test_lists_on_postgres_import_neither_the_engine_s_file_nor_cryptography(command: str) -> None:
    pytest.importorskip("psycopg")
    code = (
        f"import sys, hitl_cli.cli.{command}, hitl_cli.inbox.details, hitl_cli.postgres.client;"
        "unneeded = ('sqlite3', 'secrets', 'hmac', 'hashlib', 'resonate_base', 'hitl_cli.engine.machine',"
        " 'hitl_cli.inbox.ask');"
        "print([m for m in unneeded if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"


def test_pending_imports_neither_the_sdk_nor_aiohttp_nor_asyncio() -> None:
    code = (
        "import sys; from hitl_cli.cli.app import app; "
        "import hitl_cli.cli.pending, hitl_cli.client.embedded;"
        "print([m for m in ('resonate', 'aiohttp', 'asyncio') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
