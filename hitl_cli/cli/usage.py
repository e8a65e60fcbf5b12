"""Wrong command lines get one-sentence errors; help that a script did not mean exits with an error."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import typer

from hitl_cli.cli.options import SharingCommand
from hitl_cli.errors import BadUsage
from hitl_cli.format.shell import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

UsageError: Any = typer.BadParameter.__mro__[1]
"""The parser's exception for an invalid command line; Typer has no public name for it."""

_GIVEN = "hitl_cli.given"
"""Key of the command's words in a context."""

LIKE = 0.8
"""Similarity above which a word is taken for a misspelled option."""

_ANSWERING = {"ask": "an approval", "wait": "a run that completed"}
"""Commands whose exit code 0 means something; help must not look like it."""


class Command(SharingCommand):
    """A command whose help is not a success: in `hitl ask "$PROMPT" && deploy`, PROMPT may be --help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, and keep it for error messages."""
        ctx.meta[_GIVEN] = list(args)
        return super().parse_args(ctx, args)

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help, which exits 0 only if it is given alone."""
        option: Any = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def _show_help(ctx: Any, _param: Any, asked: bool) -> None:
    """Show the help and exit. Raises BadUsage if that must not look like success."""
    if not asked or ctx.resilient_parsing:
        return
    typer.echo(ctx.get_help())
    if meant := _ANSWERING.get(ctx.command.name):
        raise BadUsage(f"only the help was shown: with exit code 0, `{ctx.command_path}` means {meant}.")
    if len(ctx.meta[_GIVEN]) > 1:
        raise BadUsage(f"only the help was shown: `{ctx.command_path}` did nothing.")
    raise typer.Exit


def in_one_sentence(error: Any) -> BadUsage:
    """Return the error of the parser, with what to type."""
    ctx, message = error.ctx, error.format_message().rstrip(".").replace("a valid int", "a whole number")
    if ctx is not None and getattr(error, "possibilities", ...) is not ...:
        return BadUsage(_unknown_option(ctx, error.option_name))
    said = f"{message[:1].lower()}{message[1:]}{'' if message.endswith('?') else '.'}"
    return BadUsage(said if ctx is None or "Did you mean" in said else f"{said} {_see(ctx)}")


def _see(ctx: Any) -> str:
    return f"See `{ctx.command_path} --help`."


def _unknown_option(ctx: Any, name: str) -> str:
    """Return the message for an unknown option, which may be text that begins with a dash."""
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
        return f"{said} Put text that begins with a dash at the end, after `--`."
    words = [quoted(word) for word in given]
    line = " ".join([ctx.command_path, *words[:at], "--", *words[at:]])
    return f"{said} To pass it as text, put `--` before it: {line}"
