"""`hitl pending`: the open requests."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from hitl_cli.cli.completion import complete_assignee
from hitl_cli.cli.context import AsPerson, inbox_of, seen_by
from hitl_cli.cli.options import AsJson, Every, Limit, Matching, flag, value
from hitl_cli.cli.output import note, print_json
from hitl_cli.cli.render.table import Cell, Column, console, filled, lines, on_terminal, print_table
from hitl_cli.client.waiting import wait_until
from hitl_cli.errors import BadName, BadUsage
from hitl_cli.format.durations import format_age, format_duration, parse_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.terminal import printable_json
from hitl_cli.inbox.pending import SOON_MS, RequestFilter, read_tags
from hitl_cli.people.gateway_file import page_of
from hitl_cli.requests.question import GROUP, PRIORITIES
from hitl_cli.views.pending import request_summary_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.pending import Sort
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.requests.question import Priority

type Look = Callable[[], tuple[list[RequestSummary], bool]]
"""Returns open requests, and whether there are more."""

DEFAULT_LIMIT = 25
"""The default number to show."""

HOW_TO_ANSWER = "Answer with: hitl approve ID  or  hitl reject ID --reason TEXT"

LINES_BESIDE = 3
"""Lines that `--watch` needs in addition to the table."""

FIRST: dict[Sort, str] = {"age": "oldest", "due": "next due", "priority": "most urgent"}
"""The sort orders, and what each lists first."""

ASKS_LEAST = 24
"""Minimum width of the prompt on a terminal."""

LOUD = {"urgent": "bold red", "high": "red"}
"""The colors of priorities."""

To = Annotated[
    list[str] | None,
    value("NAME", "Only requests for this person or group (repeatable).", "--to", complete=complete_assignee),
]
Tagged = Annotated[
    list[str] | None, value("NAME=VALUE", "Only requests with this tag (repeatable).", "--tag")
]
SortBy = Annotated[
    str,
    value(
        "BY",
        "Sort by age (oldest first), due (next deadline first) or priority (most urgent first).",
        "--sort",
        complete=lambda: list(FIRST),
    ),
]


def pending(
    ctx: AsPerson,
    mine: Annotated[bool, flag("Only requests that you may answer now.", "--mine", "-m")] = False,
    to: To = None,
    asker: Annotated[str | None, value("WHO", "Only requests from this person.", "--from")] = None,
    workflow: Matching = None,
    tags: Tagged = None,
    due: Annotated[str | None, value("DURATION", "Only requests due within DURATION, e.g. 1d.")] = None,
    older: Annotated[
        str | None, value("DURATION", "Only requests open for more than DURATION, e.g. 1d.")
    ] = None,
    priority: Annotated[
        str | None,
        value("PRIORITY", f"Only this priority: {', '.join(PRIORITIES)}.", complete=lambda: list(PRIORITIES)),
    ] = None,
    sort: SortBy = "age",
    limit: Limit = DEFAULT_LIMIT,
    every: Every = False,
    watch: Annotated[bool, flag("Keep running, and show changes as they happen.", "--watch")] = False,
    as_json: AsJson = False,
) -> None:
    """List open requests, oldest first."""
    me = ctx.actor()
    wanted = RequestFilter(
        workflow=None if workflow is None else _checked_name("--workflow", workflow),
        to=asked_names(to, mine=mine),
        person=me.person if mine else None,
        asker=None if asker is None else _checked_name("--from", asker),
        tags=read_tags(tags or [], "--tag"),
        due_in_ms=None if due is None else parse_duration(due),
        older_than_ms=0 if older is None else parse_duration(older),
        priority=None if priority is None else checked_word("--priority", priority, PRIORITIES),
    )
    by = checked_word("--sort", sort, list(FIRST))
    with ctx.client() as client:
        inbox = inbox_of(client, me)

        def look() -> tuple[list[RequestSummary], bool]:
            return inbox.list(wanted, sort=by, limit=None if every else limit)

        gateway = ctx.gateway
        nothing = f"No open requests{seen_by(me)}."
        if watch:
            _keep_showing(client, look, by, gateway, nothing, as_json=as_json)
            return
        items, more = look()
        if as_json:
            print_json([request_summary_document(item, client.now()) for item in items])
            return
        if not items and wanted != RequestFilter():
            note("No open request matches.")
            return
        if not items:
            note(nothing)
            return
        _show(items, more, client.now(), by, gateway)


def asked_names(given: Sequence[str] | None, *, mine: bool) -> tuple[str, ...]:
    """Return the names given with `--to`. Raises BadInput."""
    if given and mine:
        raise BadUsage("--mine and --to cannot be combined: pass your own name with --to instead.")
    return tuple(_checked_name("--to", name) for name in given or ())


def _checked_name(option: str, name: str) -> str:
    """Return the name, if it is valid. Raises BadName."""
    if not name.removeprefix(GROUP).strip():
        raise BadName(f"{option} is empty: pass a name.")
    return name


def checked_word[T: str](option: str, word: str, known: Sequence[T]) -> T:
    """Return the word, if it is known. Raises BadUsage."""
    for one in known:
        if one == word:
            return one
    raise BadUsage(f"{option} {word!r} is not valid: use one of {', '.join(known)}.")


def _show(items: list[RequestSummary], more: bool, now: int, sort: Sort, gateway: str | None) -> None:
    """Print requests, and on stderr how to answer them; `gateway` is the URL of the gateway, if known."""
    print_table(as_table(items, now, gateway))
    if more:
        note(f"{_shown_first(len(items), sort)}: pass --limit N or --all.")
    note(HOW_TO_ANSWER)
    if gateway is not None:
        note("Or in a browser:", f"{gateway}/")


def _shown_first(count: int, sort: Sort) -> str:
    """Return the note that there are more requests than shown."""
    return f"The {count} {FIRST[sort]} are shown; there are more"


def as_table(items: list[RequestSummary], now: int, gateway: str | None = None) -> list[Column]:
    """Return the columns; empty ones are left out.

    On a terminal an id links to its page on the gateway; in a pipe the page is a column.
    """
    pages = ["" if gateway is None else page_of(gateway, item.id) for item in items]
    ids = [Cell(item.id, f"link {page}" if page else "") for item, page in zip(items, pages, strict=True)]
    left = [item.deadline - now for item in items]
    votes = [_votes(item) for item in items]
    times = [Cell(format_duration(ms), "red" if ms < SOON_MS else "") for ms in left]
    return filled(
        [
            Column("request", ids, whole=True),
            Column("run", [item.workflow for item in items], spare=6),
            Column("workflow", [item.function or "-" for item in items], spare=5),
            Column("prompt", [_asks(item) for item in items], least=ASKS_LEAST),
            Column("to", [_to(item) for item in items], spare=2),
            Column("claimed by", [item.claim.by if item.claim else "" for item in items], spare=1),
            Column("from", [item.asker or "" for item in items], spare=4),
            Column("age", [format_age(now - item.created_at) for item in items], right=True, spare=3),
            Column("time left", times, right=True),
            Column("votes", votes, right=True, spare=1),
            Column("priority", [priority_cell(item.asked.priority) for item in items]),
            Column("page", [] if on_terminal() else pages),
        ]
    )


def _to(item: RequestSummary) -> str:
    """Return the assignees, and the deputies of absent ones."""
    deputies = {one.person: one.deputies for one in item.away}
    return ", ".join(item.to) + "".join(
        f" ({person} is away{f': {", ".join(names)}' if names else ''})" for person, names in deputies.items()
    )


def _votes(item: RequestSummary) -> str:
    """Return the approvals so far, also by group, if several are needed."""
    by = [f"{name} {item.votes_by.get(name, 0)}/{most}" for name, most in item.asked.approvals_by.items()]
    return ", ".join(by) or (f"{item.votes}/{item.asked.approvals}" if item.asked.several else "")


def _asks(item: RequestSummary) -> str:
    """Return the prompt, and if an answer was not valid, why it is asked again."""
    refused, back = item.asked.refused, item.asked_back
    again = "" if refused is None else f" (again: {refused.why})"
    waits = "" if back is None else f" (waiting for {item.asker or 'the person who asked'}: {back.text})"
    return f"{item.prompt or ''}{again}{waits}"


def priority_cell(priority: Priority) -> Cell:
    """Return the priority, empty if normal."""
    return Cell("" if priority == "normal" else priority, style=LOUD.get(priority, ""))


def _keep_showing(
    client: Client, look: Look, sort: Sort, gateway: str | None, nothing: str, *, as_json: bool
) -> None:
    """Show the requests until interrupted, updated at every change; `nothing` if there are none."""
    client.wait(0)
    shown: list[object] | None = None

    def show_again() -> None:
        nonlocal shown
        items, more = look()
        seen: list[object] = [(item.id, item.to, item.votes, item.claim, item.asked_back) for item in items]
        if on_terminal() and not as_json:
            _draw(items, more, client.now(), sort, gateway, nothing)
        elif seen == shown:
            return
        elif as_json:  # one line per change
            documents = [request_summary_document(item, client.now()) for item in items]
            print(printable_json(to_json(documents)))
        elif items:
            _show(items, more, client.now(), sort, gateway)
        else:
            note(nothing)
        shown = seen
        sys.stdout.flush()

    with suppress(KeyboardInterrupt):
        show_again()  # so that an unreachable server is an error at once
        wait_until(client, show_again)


def _draw(
    items: list[RequestSummary], more: bool, now: int, sort: Sort, gateway: str | None, nothing: str
) -> None:
    """Clear the terminal and show as many items as fit."""
    screen = console()
    shown = items[: screen.height]
    drawn: list[str] = []
    room = max(screen.height - LINES_BESIDE - len(HOW_TO_ANSWER) // screen.width, 1)
    while shown and len(drawn := lines(as_table(shown, now, gateway), screen)) > room and len(shown) > 1:
        shown = shown[: max(len(shown) * room // len(drawn), 1)]
    screen.clear()
    if not items:
        print(nothing)
        return
    print("\n".join(drawn[:room]))
    if more or len(items) > len(shown):
        print(f"{_shown_first(len(shown), sort)}.")
    print(HOW_TO_ANSWER)
