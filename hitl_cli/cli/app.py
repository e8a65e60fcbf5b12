"""The `hitl` command: its sub-commands, the options they share, and what an error exits with."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated

import typer

from hitl_cli import __version__
from hitl_cli.cli import decisions, demo, doctor, pending, runs, worker
from hitl_cli.errors import BadInput, Conflict, HitlError, NotFound, RunFailed, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_CODES: Mapping[type[HitlError], int] = {
    RunFailed: 1,
    BadInput: 2,
    NotFound: 3,
    Conflict: 4,
    TimedOut: 5,
    Unreachable: 6,
}
UNEXPECTED = 1
INTERRUPTED = 130

app = typer.Typer(
    name="hitl",
    help="Human-in-the-loop workflows on Resonate durable promises.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: hitl demo",
)
app.command("worker", rich_help_panel="Workers")(worker.worker)
app.command("start", rich_help_panel="Runs")(runs.start)
app.command("status", rich_help_panel="Runs")(runs.status)
app.command("wait", rich_help_panel="Runs")(runs.wait)
app.command("cancel", rich_help_panel="Runs")(runs.cancel)
app.command("pending", rich_help_panel="People")(pending.pending)
app.command("approve", rich_help_panel="People")(decisions.approve)
app.command("reject", rich_help_panel="People")(decisions.reject)
app.command("demo", rich_help_panel="Getting started")(demo.demo)
app.command("doctor", rich_help_panel="Getting started")(doctor.doctor)


def show_version(value: bool) -> None:
    """Print the version and stop, if asked to."""
    if value:
        print(f"hitl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    server: Annotated[
        str | None,
        typer.Option("--server", "-S", metavar="URL", help="Which server; the same as after the command."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", "-T", metavar="TOKEN", help="Token for it; the same as after the command."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Human-in-the-loop workflows on Resonate durable promises."""
    del version
    ctx.ensure_object(dict)
    ctx.obj.update(server=server, token=token)
    if debug:
        os.environ["HITL_DEBUG"] = "1"


def main() -> None:
    """Run the command line; every failure becomes one sentence on stderr and an exit code."""
    try:
        app()
    except HitlError as error:
        fail(str(error), EXIT_CODES[type(error)])
    except BrokenPipeError:
        # The reader has gone, as in `hitl pending | head -1`: nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the one place where nothing gets past
        fail(f"unexpected error: {type(error).__name__}: {error} (run it with --debug and report it)", UNEXPECTED)


def fail(message: str, code: int) -> None:
    """Say what is wrong and exit."""
    if os.environ.get("HITL_DEBUG"):
        traceback.print_exc()
    print(f"hitl: {message}", file=sys.stderr)
    sys.exit(code)
