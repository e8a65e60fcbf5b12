"""The `hitl` command: its subcommands, its options, and how an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer
import typer.main

from hitl_cli import __version__, plugins
from hitl_cli.cli.examples import ROOT_EPILOG, epilog_of
from hitl_cli.cli.options import CONTEXT, Family, flag, value
from hitl_cli.cli.output import note, silence_stdout
from hitl_cli.cli.usage import Command, UsageError, in_one_sentence
from hitl_cli.errors import BadInput, HitlError, NotDone
from hitl_cli.format.terminal import printable_json
from hitl_cli.format.times import localized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.plugins import Plugin

_UNEXPECTED = HitlError.exit_code, "unexpected-error"
"""Exit code and error code of an exception that is not a HitlError."""

_PANELS = {
    "Getting started": ("demo", "init", "dev"),
    "Workers and servers": ("worker", "gateway", "server"),
    "Runs": ("start", "status", "wait", "cancel", "workflows", "schedule"),
    "Requests": (
        "ask",
        "pending",
        "show",
        "review",
        "approve",
        "reject",
        "answer",
        "comment",
        "assign",
        "claim",
        "release",
        "extend",
        "away",
        "ask-back",
        "answer-back",
        "open",
        "link",
        "rule",
        "history",
        "stats",
        "verify",
        "receipt",
        "export",
    ),
    "Agents": ("hook", "mcp"),
    "Administration": (
        "doctor",
        "backup",
        "prune",
        "checkpoint",
        "people",
        "notify",
        "login",
        "logout",
        "whoami",
        "token",
        "key",
        "postgres",
    ),
}
"""The panels of the help, with hitl's own commands in order. Plugins have their own panel."""

_PLUGINS_PANEL = "Plugins"


class _Commands(Family):
    """The commands, each imported only when it is used, so that `hitl pending` starts fast."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names of the commands, in the order of the help."""
        own = [name for names in _PANELS.values() for name in names]
        return [*own, *(plugin.name for plugin in plugins.added("hitl.commands"))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command by its name; None for an unknown name or a broken plugin."""
        plugin = plugins.find("hitl.commands", cmd_name)
        return None if plugin is None else _command(plugin)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is called; for an unknown name, Typer suggests the nearest one."""
        if args and plugins.find("hitl.commands", args[0]) is None:
            commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
            self.commands.update((name, command) for name, command in commands if command is not None)
        return super().resolve_command(ctx, args)


def _command(plugin: Plugin) -> Any:
    """Return a command for the help and the parser; None if its plugin is broken."""
    found = plugins.load(plugin, _is_command)
    panel = next((panel for panel, names in _PANELS.items() if plugin.name in names), _PLUGINS_PANEL)
    try:
        if isinstance(found, typer.Typer):  # a family of commands
            family: Any = typer.main.get_command(found)
            family.rich_help_panel = panel
            family.epilog = epilog_of(plugin.name)
            for name, command in family.commands.items():
                command.epilog = epilog_of(plugin.name, name)
            return family
        if found is None:
            return None
        single = typer.Typer(add_completion=False, context_settings=CONTEXT)
        # An answer such as -5 is not an option.
        settings = {"ignore_unknown_options": True} if plugin.name == "answer" else None
        below = epilog_of(plugin.name)
        single.command(
            plugin.name, cls=Command, rich_help_panel=panel, context_settings=settings, epilog=below
        )(found)
        return typer.main.get_command(single)
    except Exception as error:
        if plugin.package == plugins.OWN:
            raise
        plugins.report(plugin, plugins.reason_of(error))  # for example options that Typer cannot read
        return None


def _is_command(found: object) -> TypeGuard[typer.Typer | Callable[..., Any]]:
    return isinstance(found, typer.Typer) or callable(found)


app = typer.Typer(
    name="hitl",
    cls=_Commands,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    result_callback=lambda *_args, **_params: (
        None
    ),  # the return value of a plugin's command is not an exit code
    epilog=ROOT_EPILOG,
)


def _show_version(value: bool) -> None:
    """Print the version and exit, if the option is given."""
    if value:
        print(f"hitl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    server: Annotated[
        str | None, value("URL", "Database or server to use, here or after COMMAND.", "--server", "-S")
    ] = None,
    token: Annotated[
        str | None,
        value("TOKEN", "Token of the server, here or after COMMAND.", "--token", "-T"),
    ] = None,
    trace: Annotated[
        str | None,
        value("FILE", "For debugging: record the protocol messages to a database file in FILE. (HITL_TRACE)"),
    ] = None,
    debug: Annotated[bool, flag("Show tracebacks and error codes.", "--debug")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Run workflows that pause until a person answers.

    Getting started: run `hitl demo` to watch one, then `hitl init` and `hitl dev` for your own.
    """
    del server, token, version  # read by `CommandContext`
    if trace:
        os.environ["HITL_TRACE"] = trace
    if debug:
        os.environ["HITL_DEBUG"] = "1"


def run() -> None:
    """Run the command line. Every failure becomes one message on stderr and an exit code."""
    try:
        try:
            _check_arguments(sys.argv[1:])
            if os.environ.get("_HITL_COMPLETE") == "complete_bash":
                from hitl_cli.cli.completion import complete_in_bash

                complete_in_bash(partial(app, standalone_mode=False))
            sys.exit(app(standalone_mode=False))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here a closed pipe is handled, at exit it would not be
    except UsageError as error:
        usage = in_one_sentence(error)
        _fail(str(usage), usage.exit_code, usage.code)
    except typer.Abort:
        _fail("stopped. Nothing was changed.", NotDone.exit_code, "not-done")
    except HitlError as error:
        said = f"{error} {error.hint}" if error.hint else str(error)
        _fail(said, error.exit_code, error.code, error.lines, error.at)
    except BrokenPipeError:
        # The reader has closed the pipe, as in `hitl pending | head -1`. This is not an error.
        silence_stdout()
        sys.exit(0)
    except OSError as error:
        # Only stdout can fail here: failures of other files are handled where the files are opened.
        silence_stdout()
        _fail(f"cannot write to stdout: {error.strerror}.", *_UNEXPECTED)
    except Exception as error:  # noqa: BLE001 - the last place that can report it
        _fail(
            f"unexpected error: {type(error).__name__}: {error} (run again with --debug, and report it)",
            *_UNEXPECTED,
        )


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise BadInput for an argument that is not UTF-8: it could not be stored."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise BadInput(f"the argument {argument!r} is not valid UTF-8.") from error


def _fail(message: str, exit_code: int, code: str, lines: Sequence[str] = (), at: int | None = None) -> None:
    """Print the error and exit. With --json, the error is also printed as one line of JSON on stderr."""
    debug = bool(os.environ.get("HITL_DEBUG"))
    if debug:
        import traceback

        traceback.print_exc()
    note(f"hitl: {localized(message, at)}{':' if lines else ''}")
    for line in lines:
        note(f"  {line}")
    if debug:
        note(f"code: {code}")
    if "--json" in sys.argv:
        import msgspec

        failure = {"error": {"code": code, "message": message, "lines": lines}}
        note(printable_json(msgspec.json.encode(failure).decode()))
    sys.exit(exit_code)
