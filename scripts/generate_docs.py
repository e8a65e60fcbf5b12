"""Write the generated pages of docs/reference, and docs/pictures/pending.svg, from a real run.

With --check it only checks, and fails if a page is stale.
"""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from hitl_cli.cli.pending import as_table
from hitl_cli.cli.render.table import drawing
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.inbox.pending import pending
from hitl_cli.people.actor import Actor
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from scripts.reference import python_api, routes

ROOT = Path(__file__).parent.parent
PATIENCE_S = 30.0
WIDTH = 84

CODES = """
## Exit codes

| code | meaning |
| --- | --- |
| 0 | success; also if the same decision had already been made |
| 1 | the run failed, was rejected or was canceled; or an unexpected error |
| 2 | invalid command line, input or setting |
| 3 | no such workflow, run, request or promise |
| 4 | conflict: already decided or started differently; nothing was changed |
| 5 | timed out waiting, or the deadline had passed |
| 6 | the server cannot be reached, or rejected the token |
| 7 | only others may answer; nothing was changed |

Results go to stdout, notes and errors to stderr.
"""

EXAMPLES = re.compile(r"(?<=^Examples:\n\n)(?:(?!#|\*\*)\S.*\n+)+", re.MULTILINE)
"""The lines of a command's examples, of which Typer makes paragraphs."""

SECTION = re.compile(r"^#+ `(hitl [^`]+)`\n\n(.+?\.)(?= |\n)", re.MULTILINE)
"""A command and the first sentence about it, which Typer cuts off in lists of commands."""


def command_reference() -> str:
    """Return the reference of all commands, from Typer's generator."""
    command = [sys.executable, "-m", "typer", "hitl_cli.cli.app", "utils", "docs", "--name", "hitl"]
    made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    text = html.unescape(made).rstrip() + "\n"
    text = EXAMPLES.sub(lambda found: "```sh\n" + re.sub("\n+", "\n", found[0]) + "```\n\n", text)
    said = dict(SECTION.findall(text))
    lines, section = [], "hitl"
    for line in text.rstrip().splitlines():
        if heading := re.match("#+ `(.*)`", line):
            section = heading[1]
        listed = re.match(r"\* `(\w+)`: .*\.\.\.$", line)
        lines.append(f"* `{listed[1]}`: {said[f'{section} {listed[1]}']}" if listed else line)
    text = "\n".join(lines).replace("# `hitl`", "# Commands", 1) + "\n"
    return text + CODES


def picture() -> str:
    """Return the output of `hitl pending` as SVG, with requests made by a real worker."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hitl.db"
        command = [sys.executable, "-m", "hitl_cli", "worker", "-S", f"sqlite:///{path}"]
        app = ["--app", str(ROOT / "examples" / "deploy.py")]
        worker = subprocess.Popen([*command, *app], stdout=subprocess.DEVNULL)
        try:
            with EmbeddedClient(path) as client:
                Runs(client, Actor(person="", via="docs")).start_many(
                    [
                        RunSpec(id="notes-1", kwargs={"prompt": "Publish the release notes?"}),
                        RunSpec(id="release-1", workflow="deploy", args=["1.4.2"]),
                        RunSpec(id="release-2", workflow="deploy", args=["1.5.0"]),
                    ]
                )
                end = time.monotonic() + PATIENCE_S
                while len(pending(client)[0]) < 3:  # noqa: PLR2004
                    if time.monotonic() > end:
                        raise TimeoutError
                    client.wait(1)
                items, _ = pending(client)
                console = Console(record=True, width=WIDTH, file=io.StringIO())
                console.print("[bold]$ hitl pending[/bold]")
                console.print(drawing(as_table(items, client.now()), WIDTH))
                drawn = console.export_svg(title="hitl", unique_id="hitl")
                # Rich refers to fonts on another host. Remove them, so that readers do not contact it.
                return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
        finally:
            worker.terminate()
            worker.wait()


def pages() -> dict[str, str]:
    """Return the generated pages of the reference, by name."""
    return {"cli.md": command_reference(), "routes.md": routes(), "python.md": python_api()}


def main() -> None:
    """Write or check the pages."""
    reference = ROOT / "docs" / "reference"
    for name, text in pages().items():
        if "--check" not in sys.argv:
            (reference / name).write_text(text)
        elif (reference / name).read_text() != text:
            sys.exit(f"docs/reference/{name} is stale: run `make generated`")
    if "--check" not in sys.argv:
        (ROOT / "docs" / "pictures" / "pending.svg").write_text(picture())


if __name__ == "__main__":
    main()
