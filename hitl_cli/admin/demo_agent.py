"""The agent of `hitl demo agent`: a fixed plan in place of a model, and one tool, which runs a command."""

from __future__ import annotations

import subprocess
import sys
from difflib import unified_diff
from pathlib import Path
from typing import Any

from hitl_cli.errors import HitlError
from hitl_cli.python_api.hitl import Hitl
from hitl_cli.requests.decision import Rejected

SETTINGS = Path("web.ini")
BEFORE = "[web]\nimage = shop:1.4.2\nreplicas = 2\n"
PROGRAM = Path("scale.py")
SCALE = """\
import pathlib, re, sys
file, replicas = pathlib.Path(sys.argv[1]), sys.argv[2]
file.write_text(re.sub("replicas = .*", f"replicas = {replicas}", file.read_text()))
"""
REQUEST = "scale-web"

EDITABLE = {"properties": {"replicas": {"type": "integer", "minimum": 1, "maximum": 100}}}


def main() -> None:
    """Ask for a command, and run what was approved."""
    SETTINGS.write_text(BEFORE)
    PROGRAM.write_text(SCALE)
    print("The shop is slow. I want to run 50 replicas, and ask for that.", flush=True)
    command = {"program": str(PROGRAM), "file": str(SETTINGS), "replicas": 50}
    after = BEFORE.replace("replicas = 2", f"replicas = {command['replicas']}")
    diff = "\n".join(
        unified_diff(BEFORE.splitlines(), after.splitlines(), str(SETTINGS), str(SETTINGS), lineterm="")
    )
    decision = Hitl(person="agent").ask(
        "The agent wants to scale the shop",
        id=REQUEST,
        details={
            "command": {"$view": "command", "text": " ".join(["python", *argv_of(command)])},
            "change": {"$view": "diff", "text": diff},
        },
        arguments=command,
        editable=EDITABLE,
        valid_for="10m",
    )
    try:
        run(decision.covers(decision.arguments).arguments)
    except (Rejected, HitlError) as error:
        print(f"I do nothing: {error}", flush=True)


def argv_of(command: dict[str, Any]) -> list[str]:
    """Return the program and its arguments."""
    return [command["program"], command["file"], str(command["replicas"])]


def run(command: dict[str, Any]) -> None:
    """Run a command that was approved."""
    argv = argv_of(command)
    subprocess.run([sys.executable, *argv], check=True)  # noqa: S603 - a person has approved it
    print(f"I ran: python {' '.join(argv)}", flush=True)
    print(f"{SETTINGS} now has: {SETTINGS.read_text().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()
