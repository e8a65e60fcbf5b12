"""`hitl start`, `status`, `wait` and `cancel`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from hitl_cli.cli.completion import complete_run
from hitl_cli.cli.context import (
    AsPerson,
    actor_from,
    given_stdin,
    inbox_of,
    read_json,
    runs_of,
    seen_by,
    without_mark,
)
from hitl_cli.cli.options import (
    Args,
    AsJson,
    Debug,
    Group,
    Kwarg,
    Limit,
    Workflow,
    argument,
    flag,
    value,
)
from hitl_cli.cli.output import is_terminal, note, print_json
from hitl_cli.cli.render.states import END_COLORS, RUN_COLORS, shorten, step_mark, step_name, step_outcome
from hitl_cli.cli.render.table import Cell, Column, console, on_terminal, print_table
from hitl_cli.errors import BadInput, BadJson, BadUsage, Conflict, RunFailed, TimedOut, TooLarge
from hitl_cli.format.durations import format_age, format_duration, parse_duration
from hitl_cli.format.json import to_json, why_not_json
from hitl_cli.format.shell import command
from hitl_cli.format.terminal import printable, printable_json
from hitl_cli.format.times import iso, local
from hitl_cli.format.validation import in_words
from hitl_cli.inspected import inspected
from hitl_cli.people.gateway_file import page_of, run_page
from hitl_cli.runs.idle import no_worker
from hitl_cli.runs.run import RunSpec, RunState, check_id, given_args
from hitl_cli.runs.workflows import missing
from hitl_cli.views.runs import run_document, run_with_steps
from hitl_cli.views.steps import retry_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from hitl_cli.client.protocol import Client
    from hitl_cli.runs import Runs
    from hitl_cli.runs.run import Run, Started
    from hitl_cli.runs.steps import Retry, RunStep

type Line = list[Cell]

DEFAULT_LIMIT = 25
LONGEST_LINE = 1_000_000
"""Maximum bytes of one line of `--stdin`."""

RunId = Annotated[str, argument("ID", "Id of the run, or of a request of `hitl ask`.", complete=complete_run)]


def start(
    ctx: AsPerson,
    id: Annotated[str | None, argument("ID", "Id for the run, of your choice.")] = None,
    args: Annotated[
        list[str] | None, argument("[ARG]...", "Arguments, as JSON or text. Default: the id.")
    ] = None,
    workflow: Workflow = None,
    kwarg: Kwarg = None,
    exact: Args = None,
    no_args: Annotated[bool, flag("Pass no arguments.", "--no-args")] = False,
    group: Group = None,
    deadline: Annotated[str, value("DURATION", "Time limit of the run.")] = "365d",
    wait: Annotated[bool, flag("Wait for the result, like `hitl wait`.", "--wait")] = False,
    stdin: Annotated[
        bool,
        flag(
            "Start many runs, one per line of stdin: an id, or JSON with id, workflow, args and kwargs.",
            "--stdin",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run of a workflow. With the id of an existing run, prints the result of that run."""
    settings = ctx.settings
    name = settings.workflow(workflow).value
    group = settings.group(group).value
    deadline_ms = parse_duration(deadline)
    if stdin:
        if id is not None:
            raise BadUsage("--stdin reads the ids from stdin: pass no ID on the command line.")
        if kwarg or no_args or wait or exact is not None:
            raise BadUsage(
                "--args, --kwarg, --no-args and --wait cannot be combined with --stdin:"
                " write args and kwargs on its lines."
            )
        specs = _read_specs(given_stdin(), name)
    elif id is None:
        raise BadUsage("no id given: pass an ID, for example hitl start hitl-001.")
    else:
        given, named = read_arguments(args, kwarg, exact, no_args=no_args)
        specs = [RunSpec(id=id, workflow=name, args=given, kwargs=named)]
    with ctx.opened(runs_of, creates=True) as (runs, client):
        if stdin:
            every = runs.start_many(specs, group=group, deadline_ms=deadline_ms)
            _finish_many(client, every, specs, group, as_json=as_json)
            return
        started = runs.start(specs[0], group=group, deadline_ms=deadline_ms)
        if not started.run.ended:
            tell_no_worker(client, group, [name])
        if started.run.ended or wait:
            _finish(_wait_showing(runs, started.run, None), as_json=as_json)
        elif as_json:
            print_json(run_document(started.run, client.now()))
        else:
            print(f"run {started.run.id} {_how_started(started)}")
            _tell_pages(runs, started, ctx.gateway)


def _tell_pages(runs: Runs, started: Started, gateway: str | None) -> None:
    """Print on stderr the pages of a run and of its requests; `gateway` is the URL of the gateway."""
    if gateway is None:
        return
    note("Its page:", run_page(gateway, started.run.id))
    for request in () if started.created else runs.show(started.run.id).requests:
        note("Answer at", page_of(gateway, request))


def _how_started(started: Started) -> str:
    return "started" if started.created else "is already running"


def _finish_many(
    client: Client,
    every: Sequence[Started | Conflict],
    specs: Sequence[RunSpec],
    group: str,
    *,
    as_json: bool,
) -> None:
    """Print the runs that were started or found, and raise the last Conflict, if any."""
    found = [one for one in every if not isinstance(one, Conflict)]
    if as_json:
        print_json([run_document(one.run, client.now()) for one in found])
    for one in () if as_json else found:
        print(f"run {one.run.id} {one.run.state if one.run.ended else _how_started(one)}")
    if every:
        tell_no_worker(client, group, [spec.workflow for spec in specs])
    conflicts = [one for one in every if isinstance(one, Conflict)]
    for conflict in conflicts[:-1]:
        note(f"hitl: {conflict}")
    if conflicts:
        raise conflicts[-1]


def _read_specs(stream: BinaryIO, workflow: str) -> list[RunSpec]:
    """Return the runs on the lines of stdin. Raises BadInput with the line number."""
    specs = []
    for number, raw in enumerate(iter(partial(stream.readline, LONGEST_LINE + 1), b""), start=1):
        if len(raw) > LONGEST_LINE:
            raise TooLarge(f"a line of stdin is longer than {LONGEST_LINE:,} bytes. Nothing was started.")
        line = without_mark(raw).strip()
        if not line:
            continue
        try:
            if line.startswith(b"{"):
                given = msgspec.json.decode(line, type=dict[str, Any])
                spec = msgspec.convert({"workflow": workflow, **given}, inspected(RunSpec))
                spec = msgspec.structs.replace(spec, args=given_args(given.get("args")))
            else:
                spec = RunSpec(id=line.decode(), workflow=workflow)
            check_id(spec.id)
        except msgspec.ValidationError as error:
            raise BadJson(
                f"line {number} of stdin: {in_words(error, RunSpec, table='an object')}. Nothing was started."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadJson(
                f"line {number} of stdin cannot be read: {why_not_json(error)}. Nothing was started."
            ) from error
        except BadInput as error:
            raise BadInput(
                f"line {number} of stdin: {error} Nothing was started.", code=error.code
            ) from error
        specs.append(spec)
    return specs


def read_arguments(
    args: list[str] | None, kwarg: list[str] | None, exact: str | None, *, no_args: bool
) -> tuple[Any | UnsetType, dict[str, Any]]:
    """Return the arguments on a command line, UNSET if there are none. Raises BadUsage, BadJson."""
    if (args or exact is not None) and no_args:
        raise BadUsage("--no-args cannot be combined with arguments: pass one of them.")
    if args and exact is not None:
        raise BadUsage("--args cannot be combined with other arguments: put all of them into --args.")
    given: Any | UnsetType = [_read_arg(arg) for arg in args or []] if args or no_args else UNSET
    if exact is not None:
        given = read_json(exact.encode(), "--args")
    named = {}
    for text in kwarg or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise BadUsage(f"--kwarg {text!r} is not valid: write NAME=VALUE.")
        named[name] = _read_arg(value)
    return given, named


def _read_arg(text: str) -> Any:
    """Return an argument: JSON if it parses, otherwise the text itself."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text
    except RecursionError as error:
        raise BadJson("an argument is nested too deeply for JSON.") from error


def tell_no_worker(client: Client, group: str, names: Sequence[str], what: str = "the run") -> None:
    """Print on stderr that no worker is running, or that none serves the workflow, if the server knows."""
    if idle := no_worker(client, group, what):
        note(idle)
        return
    for name in dict.fromkeys(names):
        if said := missing(client, group, name):
            note(f"{said} Until one does, {what} waits. List workflows: hitl workflows")


def status(
    ctx: AsPerson,
    id: Annotated[
        str | None, argument("[ID]", "Show this run with its steps.", complete=complete_run)
    ] = None,
    state: Annotated[
        str | None,
        value(
            "STATE",
            f"Only runs in this state: {', '.join(RUN_COLORS)}.",
            "--state",
            "-s",
            complete=lambda: list(RUN_COLORS),
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    debug: Debug = False,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first, or show one run with its steps."""
    debug = debug or bool(os.environ.get("HITL_DEBUG"))
    if state is not None and state not in RUN_COLORS:
        raise BadUsage(f"{state!r} is not a state: use one of {', '.join(RUN_COLORS)}.")
    with ctx.opened(runs_of) as (runs, client):
        if id is not None:
            tree, now = runs.steps(id), client.now()
            if as_json:
                print_json(run_with_steps(tree.run, tree.root.children, now))
            else:
                headlines = _headlines(tree.run, tree.root.retries, now, debug=debug)
                _print_lines([*headlines, *_step_lines(tree.root.children, now)])
            return
        wanted = None if state is None else msgspec.convert(state, inspected(RunState))
        found, more = runs.list(state=wanted, limit=limit)
        if as_json:
            print_json([run_document(run, client.now()) for run in found])
            return
        if found:
            _show_runs(found, more, client.now())
        else:
            note(
                f"No runs{seen}."
                if (seen := seen_by(ctx.actor()))
                else "No runs. Start one: hitl start hitl-001"
            )


def _show_runs(found: Sequence[Run], more: bool, now: int) -> None:
    """Print runs as a table."""
    print_table(
        [
            Column("run", [run.id for run in found], whole=True),
            Column("state", [Cell(run.state, END_COLORS[run.state]) for run in found]),
            Column("workflow", [run.function or "-" for run in found], spare=1),
            Column("age", [format_age(now - run.created_at) for run in found], right=True, spare=2),
            Column("waiting for, or error", [", ".join(run.waits_for) or (run.error or "") for run in found]),
        ]
    )
    if more:
        note(f"The {len(found)} newest are shown; there are more: pass --limit N.")


def _headlines(run: Run, retries: Sequence[Retry], now: int, *, debug: bool) -> list[Line]:
    """Return the first lines of `hitl status ID`."""
    settled_at = run.settled_at or run.created_at
    took = f"ended {local(settled_at)}, after {format_duration(settled_at - run.created_at)}"
    if not run.ended:
        took = f"{format_age(now - run.created_at)} old"
    first = [Cell(run.id, "bold"), Cell(" "), Cell(run.state, END_COLORS[run.state])]
    lines = [[*first, Cell(f"  {run.function or '-'}"), Cell(f"  {took}", "dim")]]
    if run.waits_for:
        lines.append([Cell(f"waiting for {', '.join(run.waits_for)}")])
    if run.state == "completed":
        lines.append([Cell(f"result {shorten(to_json(run.result))}")])
    if retries and not run.ended:
        lines.append([Cell(retry_text(retries, local), "yellow")])
    if run.error and run.error != run.state:
        lines.append([Cell(run.error + ("" if run.failure is None else run.failure.place), "red")])
    if run.failure is not None and run.failure.traceback:
        shown = run.failure.traceback if debug else command("status", [run.id], ["--debug"])
        lines += [[Cell(f"{'  ' if debug else 'traceback: '}{line}", "dim")] for line in shown.splitlines()]
    return lines


def _step_lines(nodes: Sequence[RunStep], now: int, indent: str = "") -> list[Line]:
    """Return a line for each step, indented under its parent."""
    lines: list[Line] = []
    for node in nodes:
        last = node is nodes[-1]
        promise = node.promise
        end = promise.settled_at or now
        bad = promise.state not in ("pending", "resolved")
        line = [
            Cell(f"{indent}{'└── ' if last else '├── '}{step_mark(node)} "),
            Cell(promise.id, "bold"),
            Cell(f"  {step_name(node, nodes)}"),
            Cell(f"  {format_duration(end - promise.created_at)}", "dim"),
        ]
        if outcome := step_outcome(node):
            line.append(Cell(f"  {outcome}", "red" if bad else ""))
        below = () if node.kind == "notice" else node.children  # `hitl show` has the details
        lines += [line, *_step_lines(below, now, indent + ("    " if last else "│   "))]
    return lines


def _print_lines(lines: Sequence[Line]) -> None:
    """Print lines, in color on a terminal, which wraps them, so that nothing is cut."""
    if not on_terminal():
        print("\n".join("".join(printable(cell.text) for cell in line) for line in lines))
        return
    from rich.text import Text

    screen = console()
    for line in lines:
        screen.print(Text.assemble(*((printable(cell.text), cell.style) for cell in line)), soft_wrap=True)


def wait(
    ctx: AsPerson,
    id: RunId,
    timeout: Annotated[
        str | None, value("DURATION", "Stop waiting after DURATION (exit 5). The run continues.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Wait for a run to finish, and print its result as JSON."""
    timeout_s = None if timeout is None else parse_duration(timeout) / 1_000
    with ctx.opened(runs_of) as (runs, client):
        run = runs.show(id)
        if not run.ended and not as_json and (idle := no_worker(client, run.group)):
            note(idle)
        ended = _wait_showing(runs, run, timeout_s)
        if ended.kind == "request" and ended.state == "completed":
            from hitl_cli.inbox.proof import check_proven

            request = inbox_of(client, actor_from(ctx.settings, ctx.who)).find(ended.id, whole=True)
            check_proven(request, ctx.settings.groups())
        _finish(ended, as_json=as_json)


def _wait_showing(runs: Runs, run: Run, timeout_s: float | None) -> Run:
    """Wait, with a note on a terminal."""
    if not run.ended and is_terminal(sys.stderr):
        note(f"waiting for {run.id} (Ctrl-C stops waiting; the run continues)")
    return runs.wait(run, timeout_s)


def _finish(run: Run, *, as_json: bool) -> None:
    """Print the result of a finished run, or raise its error."""
    if as_json:
        print_json(run_document(run, run.settled_at or run.created_at))
    elif run.state == "completed":
        print(printable_json(to_json(run.result)))
    if run.state == "expired":
        raise TimedOut(
            f"{run.kind} {run.id} expired: its deadline passed {iso(run.deadline)}.", at=run.deadline
        )
    if run.state != "completed":
        place = "" if run.failure is None else run.failure.place
        why = "" if run.error in (None, run.state) else f": {run.error}{place}"
        raise RunFailed(f"{run.kind} {run.id} {run.ending}{why}")


def cancel(
    ctx: AsPerson,
    id: RunId,
    reason: Annotated[str | None, value("TEXT", "Reason, stored with the run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a run and its open requests, or a request of `hitl ask`."""
    with ctx.opened(runs_of) as (runs, client):
        done = runs.cancel(id, reason)
        if as_json:
            print_json(run_document(done.run, client.now()))
        else:
            print(f"{done.run.kind} {id} {'canceled' if done.fresh else 'was already canceled'}")
