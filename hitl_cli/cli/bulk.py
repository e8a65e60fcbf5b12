"""Many decisions at once: select requests, preview, confirm, decide, report."""

from __future__ import annotations

import contextlib
import sys
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.context import read_stdin
from hitl_cli.cli.options import flag, value
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.cli.render.decision import sentence
from hitl_cli.cli.render.table import Cell, Column, plain, print_table
from hitl_cli.errors import BadInput, BadUsage, HitlError, NotDone, NotFound, TooLarge
from hitl_cli.format.terminal import printable
from hitl_cli.inbox.bulk import decide_all, matching, plan
from hitl_cli.runs.idle import idle_groups
from hitl_cli.views.decision import (
    decision_result_document,
    failed_decision_document,
    planned_decision_document,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Verdict
    from hitl_cli.inbox import Inbox
    from hitl_cli.inbox.bulk import PlannedDecision
    from hitl_cli.inbox.decide import Said
    from hitl_cli.inbox.request_summary import RequestSummary

Stdin = Annotated[bool, flag("Read ids from stdin, one per line.", "--stdin")]
Match = Annotated[str | None, value("GLOB", "All open requests whose run id or workflow matches.", "--match")]
Yes = Annotated[bool, flag("Skip the confirmation.", "--yes", "-y")]
Dry = Annotated[bool, flag("Show what would happen, without deciding.", "--dry-run")]

BADNESS = attrgetter("exit_code")
"""Orders failures: the command exits with the highest exit code."""

MOST_BYTES = 10_000_000
"""The maximum size of the ids on stdin."""


def named(inbox: Inbox, ids: list[str] | None, *, stdin: bool, match: str | None) -> list[str]:
    """Return all requests that are named. Raises BadInput or NotFound if there are none."""
    names = list(ids or [])
    if stdin:
        names += [name for line in read_stdin(MOST_BYTES + 1).splitlines() if (name := line.strip())]
        if sum(map(len, names)) > MOST_BYTES:
            raise TooLarge(f"stdin has more than {MOST_BYTES:,} bytes of ids. Nothing was changed.")
    if match is not None:
        if not match.strip():
            raise BadUsage("--match is empty: pass a pattern, or '*' for all requests. Nothing was changed.")
        names += matching(inbox, match)
        if not names:
            raise NotFound(
                f"no open request has a run or workflow that matches {match!r}.", code="nothing-waiting"
            )
    if not names and not stdin:
        raise BadUsage("no request given: pass an ID, --stdin or --match.")
    return names


def answer_many(
    inbox: Inbox,
    names: list[str],
    verdict: Verdict,
    answer: Said,
    *,
    yes: bool,
    dry: bool,
    ids: list[str] | None,
    as_json: bool,
) -> None:
    """Preview, confirm and make many decisions.

    Raises the failure with the highest exit code, and NotDone if the person does not confirm.
    """
    planned = plan(inbox, names, answer)
    if dry and as_json:
        print_json([planned_decision_document(one, verdict) for one in planned])
    elif dry and planned:
        print_table(_as_table(planned, verdict))
    if dry:
        failures = [one.problem for one in planned if one.problem is not None]
    else:
        only_named = ids is not None and len(ids) == len(names)
        possible = any(one.problem is None for one in planned)
        if possible and not yes:
            _ask_whether_meant(planned, verdict, may_go_on=only_named)
        failures = _carry_out(inbox, planned, answer, as_json=as_json)
    if failures:
        raise max(failures, key=BADNESS)


def _as_table(planned: Sequence[PlannedDecision], verdict: Verdict) -> list[Column]:
    """Return the columns of the preview."""
    items = [one.item for one in planned]
    return [
        Column("request", [one.item.id if one.item else one.name for one in planned], whole=True),
        Column("run", [item.workflow if item else "" for item in items]),
        Column("prompt", [(item and (item.prompt or item.function)) or "" for item in items]),
        Column("what would happen", [_what_happens(one, verdict) for one in planned]),
    ]


def _what_happens(planned: PlannedDecision, verdict: Verdict) -> Cell:
    if planned.problem is not None:
        return Cell(str(planned.problem), style="red")
    done = planned.item is not None and planned.item.promise.state != "pending"
    return Cell("nothing: it already has this decision" if done else verdict)


def _ask_whether_meant(planned: Sequence[PlannedDecision], verdict: Verdict, *, may_go_on: bool) -> None:
    """Show the preview and ask for confirmation on the terminal. Raises NotDone, BadInput.

    `may_go_on`: all ids are on the command line, so without a terminal no confirmation is needed.
    """
    possible = sum(one.problem is None for one in planned)
    count = "1 request" if len(planned) == 1 else f"{possible} of {len(planned)} requests"
    with contextlib.ExitStack() as stack:
        seen = is_terminal(sys.stderr)
        person = sys.stdin if seen and is_terminal(sys.stdin) else None
        if person is None and seen:  # stdin has the ids
            with contextlib.suppress(OSError):
                person = stack.enter_context(Path("/dev/tty").open())
        if person is None:
            if may_go_on:
                return
            raise BadInput(
                f"this would {verdict} {count}: pass --yes to confirm, or --dry-run to see them.",
                code="needs-confirmation",
            )
        for line in plain(_as_table(planned, verdict)):
            note(line)
        print(f"{verdict} {count}? [y/N] ", end="", file=sys.stderr, flush=True)
        if person.readline().strip().lower() not in ("y", "yes"):
            raise NotDone("nothing was changed.")


def _carry_out(
    inbox: Inbox, planned: Sequence[PlannedDecision], answer: Said, *, as_json: bool
) -> list[HitlError]:
    """Make the decisions, print a line for each, and return the failures (the caller raises the worst)."""
    failures: list[HitlError] = []
    documents: list[object] = []
    settled: set[str] = set()
    for name, came in decide_all(inbox, planned, answer):
        if isinstance(came, HitlError):
            documents.append(failed_decision_document(name, came))
            if name not in str(came):
                came.args = (f"{name}: {came}",)
            failures.append(came)
        else:
            documents.append(decision_result_document(came))
            settled |= {came.promise.id} if came.settled else set()
            if not as_json:
                print(printable(sentence(came, inbox.client.now())))
    if as_json:
        print_json(documents)
    else:
        tell_idle(inbox.client, [one.item for one in planned if one.item and one.item.id in settled])
    worst = max(failures, key=BADNESS, default=None)
    for failure in failures:
        if failure is not worst:
            note(f"hitl: {failure}")
    return failures


def tell_idle(client: Client, decided: Sequence[RequestSummary]) -> None:
    """Print on stderr which groups have no worker, so that the runs of decided requests do not continue."""
    for idle in idle_groups(client, [item.run for item in decided]):
        note(idle)
