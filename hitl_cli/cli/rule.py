"""`hitl rule add`, `list` and `remove`: standing answers to requests that are not asked yet."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from hitl_cli.cli.completion import offered
from hitl_cli.cli.context import AsPerson, AtServer
from hitl_cli.cli.options import AsJson, argument, family, flag, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Cell, Column, print_list
from hitl_cli.errors import BadUsage
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import local, local_minute
from hitl_cli.inbox.rule_offers import in_words
from hitl_cli.rules.rule import NewRule, Rule, rules_of
from hitl_cli.rules.rules import Rules, where_of
from hitl_cli.views.rules import rule_document

app = family("rule", "Manage your standing rules, which answer matching requests for you.")

_COLORS = {"approve": "green", "reject": "red"}

Who = Annotated[
    str | None, value("WHO", "Act as this person. Default: your login name. (HITL_AS)", "--as", "--by")
]


def _complete_rule(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return offered(
        ctx,
        incomplete,
        lambda client, _: ((rule.id, sentence(rule)) for rule in rules_of(client, valid=True)),
    )


@app.command()
def add(
    ctx: AtServer,
    tool: Annotated[str | None, value("NAME", "Tool of the agent, e.g. Bash.")] = None,
    match: Annotated[
        str | None, value("PATTERN", "Pattern for the command, file or URL. * matches plain arguments.")
    ] = None,
    where: Annotated[
        list[str] | None,
        value("PATH=VALUE", "Value that another argument must have, e.g. cwd=/srv/app (repeatable)."),
    ] = None,
    duration: Annotated[str, value("DURATION", "How long the rule is valid: at most 30d.", "--for")] = "8h",
    deny: Annotated[bool, flag("Reject instead of approve.", "--deny")] = False,
    reason: Annotated[str | None, value("TEXT", "With --deny: the reason.")] = None,
    asker: Annotated[str | None, value("WHO", "Only requests from this person or agent.", "--from")] = None,
    workflow: Annotated[
        str | None, value("NAME", "Only requests of this workflow.", "--workflow", "-w")
    ] = None,
    who: Who = None,  # noqa: ARG001 - read from the context
    as_json: AsJson = False,
) -> None:
    """Add a rule that answers matching requests for you: only those that you may answer, and not your own."""
    given = [_assignment(one) for one in where or ()]
    if len(more := dict(given)) < len(given):
        raise BadUsage("--where has an argument twice: pass one value for each.")
    rule = NewRule(
        verdict="reject" if deny else "approve",
        where=where_of(tool, match, more),
        asker=asker,
        workflow=workflow,
        reason=reason,
    )
    life_ms = parse_duration(duration)
    with ctx.opened(Rules, creates=True) as (rules, _):
        made = rules.add(rule, life_ms=life_ms)
    if as_json:
        print_json(rule_document(made))
        return
    print(made.id)
    note(f"Until {local(made.ends_at)}, {sentence(made)}. To end it: hitl rule remove {made.id}")


@app.command("list")
def list_(
    ctx: AsPerson,
    every: Annotated[bool, flag("Include rules that have ended.", "--all", "-a")] = False,
    as_json: AsJson = False,
) -> None:
    """List the rules that are valid now."""
    with ctx.opened(Rules) as (rules, _):
        found = rules.list(every=every)
    print_list(
        [rule_document(rule) for rule in found],
        [
            Column("rule", [rule.id for rule in found], whole=True),
            Column("by", [rule.by for rule in found]),
            Column(
                "answer",
                [Cell(rule.verdict, _COLORS[rule.verdict]) for rule in found],
            ),
            Column("what", [_what(rule) for rule in found]),
            Column("state", [Cell(rule.state, "" if rule.state == "valid" else "dim") for rule in found]),
            Column("until", [local_minute(rule.ends_at) for rule in found]),
        ],
        "No rules. Add one: hitl rule add --tool Bash --match 'git status*' --for 8h",
        as_json=as_json,
    )


@app.command()
def remove(
    ctx: AtServer,
    id: Annotated[str, argument("ID", "Id of the rule.", complete=_complete_rule)],
    who: Who = None,  # noqa: ARG001 - read from the context
) -> None:
    """Remove a rule of yours. Its earlier decisions stay."""
    with ctx.opened(Rules) as (rules, _):
        rule, fresh = rules.remove(id)
    print(printable(f"rule {rule.id} {'removed' if fresh else f'had already ended: {rule.state}'}"))


def sentence(rule: Rule) -> str:
    """Return what a rule does, on one line."""
    verb = "approved" if rule.verdict == "approve" else "rejected"
    return printable(f"{verb} for {rule.by}: {_what(rule)}")


def _what(rule: Rule) -> str:
    return ", ".join(f"{name} {text}" for name, text in in_words(rule))


def _assignment(text: str) -> tuple[str, Any]:
    """Return a path and its value, which is JSON or a text. Raises BadUsage."""
    path, found, said = text.partition("=")
    if not found:
        raise BadUsage(f"{text!r} names no argument: write it like cwd=/srv/app.")
    try:
        return path, msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return path, said
