"""Wrong command lines: what the parser refuses in one sentence, and help that is no result."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from hitl_cli.errors import BadUsage
from hitl_cli.format.shell import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

UsageError: Any = typer.BadParameter.__mro__[1]
"""What the parser raises for a command line that it cannot read; Typer has no public name for it."""

_GIVEN = "hitl_cli.given"
"""Where a context keeps the words that the command was given."""

LIKE = 0.8
"""How like an option a word must be to be taken for a misspelled one."""

_ANSWERING = ("ask", "wait")
"""Commands whose exit code is somebody's answer, which help never is."""


class Command(TyperCommand):
    """A command whose help is never taken for its result: `hitl ask "$PROMPT" && deploy` may ask for help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, and keep it for what is said of it."""
        ctx.meta[_GIVEN] = list(args)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, which exits with 0 only where nothing else was meant."""
        option: Any = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def _show_help(ctx: Any, _param: Any, asked: bool) -> None:
    """Show the help and end. Raises BadUsage where that must not look like success."""
    if not asked or ctx.resilient_parsing:
        return
    typer.echo(ctx.get_help())
    if ctx.command.name in _ANSWERING:
        raise BadUsage(f"help is no answer: `{ctx.command_path}` succeeds only where there is one.")
    if len(ctx.meta[_GIVEN]) > 1:
        raise BadUsage(f"only the help was shown: `{ctx.command_path}` did nothing.")
    raise typer.Exit


def in_one_sentence(error: Any) -> BadUsage:
    """Return what the parser refuses, with what to type."""
    ctx, message = error.ctx, error.format_message().rstrip(".").replace("int range", "whole number")
    if ctx is not None and getattr(error, "possibilities", ...) is not ...:
        return BadUsage(_unknown_option(ctx, error.option_name))
    said = f"{message[:1].lower()}{message[1:]}{'' if message.endswith('?') else '.'}"
    return BadUsage(said if ctx is None or "Did you mean" in said else f"{said} {_see(ctx)}")


def _see(ctx: Any) -> str:
    return f"See `{ctx.command_path} --help`."


def _unknown_option(ctx: Any, name: str) -> str:
    """Return what is said of an option that the command does not have: it may be a text with a dash."""
    given: Sequence[str] = ctx.meta.get(_GIVEN, ())
    at = next((n for n, word in enumerate(given) if word.startswith(name)), None)
    word = quoted(name if at is None else given[at])
    said = f"`{ctx.command_path}` has no option {word}."
    known = [option for param in ctx.command.params for option in param.opts if option.startswith("--")]
    if near := get_close_matches(name, known, n=1, cutoff=LIKE):
        return f"{said} Did you mean {near[0]}?"
    if at is None or not any(param.param_type_name == "argument" for param in ctx.command.params):
        return f"{said} {_see(ctx)}"
    if any(word.startswith("-") for word in given[at + 1 :]):
        return f"{said} A text with a dash goes to the end, after `--`."
    words = [quoted(word) for word in given]
    line = " ".join([ctx.command_path, *words[:at], "--", *words[at:]])
    return f"{said} To give it as a text, put `--` before it: {line}"
