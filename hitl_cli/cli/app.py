"""The `hitl` command: its sub-commands, the options they share, and what an error exits with."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from hitl_cli import __version__
from hitl_cli.cli.options import CONTEXT
from hitl_cli.cli.output import note, silence_stdout
from hitl_cli.errors import BadInput, HitlError
from hitl_cli.format.terminal import printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNEXPECTED = HitlError.exit_code, "unexpected-error"
"""Exit code and code of what is not a HitlError."""

COMMANDS = {
    "worker": ("worker:worker", "Workers"),
    "server": ("server:server", "Workers"),
    "gateway": ("gateway:gateway", "Workers"),
    "dev": ("dev:dev", "Workers"),
    "token": ("token:app", "Workers"),
    "start": ("runs:start", "Runs"),
    "status": ("runs:status", "Runs"),
    "wait": ("runs:wait", "Runs"),
    "cancel": ("runs:cancel", "Runs"),
    "schedule": ("schedule:app", "Runs"),
    "ask": ("ask:ask", "People"),
    "pending": ("pending:pending", "People"),
    "show": ("show:show", "People"),
    "review": ("review.command:review", "People"),
    "approve": ("decide:approve", "People"),
    "reject": ("decide:reject", "People"),
    "answer": ("decide:answer", "People"),
    "comment": ("decide:comment", "People"),
    "open": ("open:open_page", "People"),
    "link": ("link:app", "People"),
    "notify": ("notify:app", "People"),
    "history": ("history:show_history", "People"),
    "stats": ("stats:show_stats", "People"),
    "backup": ("maintenance:backup", "Upkeep"),
    "key": ("key:app", "Upkeep"),
    "doctor": ("doctor:doctor", "Upkeep"),
    "prune": ("maintenance:prune", "Upkeep"),
    "demo": ("demo:demo", "Getting started"),
}
"""Name of each command: its function, and the panel of the help that it stands in."""


class _Commands(TyperGroup):
    """The commands, each imported only when it is asked for: `hitl pending` is typed all day."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return one command, or None."""
        if cmd_name not in COMMANDS:
            return None
        place, panel = COMMANDS[cmd_name]
        module, function = place.split(":")
        found = getattr(import_module(f"hitl_cli.cli.{module}"), function)
        if isinstance(found, typer.Typer):  # a family of commands
            family: Any = typer.main.get_command(found)
            family.rich_help_panel = panel
            return family
        single = typer.Typer(add_completion=False, context_settings=CONTEXT)
        # An answer such as -5 is no option.
        settings = {"ignore_unknown_options": True} if cmd_name == "answer" else None
        single.command(cmd_name, rich_help_panel=panel, context_settings=settings)(found)
        return typer.main.get_command(single)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called; for a name that is none, Typer suggests the nearest."""
        if args and args[0] not in COMMANDS:
            self.commands.update((name, self.get_command(ctx, name)) for name in COMMANDS)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="hitl",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    epilog="Start with: hitl demo",
)


def _show_version(value: bool) -> None:
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
    trace: Annotated[
        str | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            help="Record what a database file is asked and answers. (HITL_TRACE)",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback and the code of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Human-in-the-loop workflows on Resonate durable promises."""
    del version
    ctx.ensure_object(dict)
    ctx.obj.update(server=server, token=token)
    if trace:
        os.environ["HITL_TRACE"] = trace
    if debug:
        os.environ["HITL_DEBUG"] = "1"


def run() -> None:
    """Run the command line; every failure becomes one sentence on stderr and an exit code."""
    try:
        try:
            _check_arguments(sys.argv[1:])
            app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has gone is expected, and not at exit
    except HitlError as error:
        _fail(str(error), error.exit_code, error.code, error.lines)
    except BrokenPipeError:
        # The reader has gone, as in `hitl pending | head -1`: nothing is wrong, and nothing more can be said.
        silence_stdout()
        sys.exit(0)
    except OSError as error:
        # All other files are opened where their failures have a name of their own.
        silence_stdout()
        _fail(f"what was to be printed could not be written: {error.strerror}.", *_UNEXPECTED)
    except Exception as error:  # noqa: BLE001 - the one place where nothing gets past
        _fail(
            f"unexpected error: {type(error).__name__}: {error} (run it with --debug and report it)",
            *_UNEXPECTED,
        )


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise BadInput for an argument that is not text: it could be kept nowhere."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"the argument {argument!r} is not text in UTF-8.") from error


def _fail(message: str, exit_code: int, code: str, lines: Sequence[str] = ()) -> None:
    """Say what is wrong and exit. Programs, which gave --json, get it as one line of JSON on stderr too."""
    debug = bool(os.environ.get("HITL_DEBUG"))
    if debug:
        import traceback

        traceback.print_exc()
    note(f"hitl: {message}{':' if lines else ''}")
    for line in lines:
        note(f"  {line}")
    if debug:
        note(f"code: {code}")
    if "--json" in sys.argv:
        import msgspec

        failure = {"error": {"code": code, "message": message, "lines": lines}}
        note(printable_json(msgspec.json.encode(failure).decode()))
    sys.exit(exit_code)
