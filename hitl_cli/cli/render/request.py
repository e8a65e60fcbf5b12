"""A request for a person: drawn by Rich on a terminal, plain lines in a pipe.

Text from requests is escaped, never interpreted (hitl_cli/format/terminal.py, markdown.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.cli.pending import priority_cell
from hitl_cli.cli.render.blocks import INDENT, Block, drawn, plain
from hitl_cli.cli.render.parts import part_blocks
from hitl_cli.cli.render.states import OUTCOME_COLORS, step_mark, step_name, step_outcome
from hitl_cli.cli.render.suggested_commands import commands
from hitl_cli.cli.render.table import Cell, console, on_terminal
from hitl_cli.client.wire import decode
from hitl_cli.format.durations import format_age, format_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.shell import command, quoted
from hitl_cli.format.terminal import printable, printable_lines, visible
from hitl_cli.format.times import local
from hitl_cli.format.validation import within
from hitl_cli.forms.fields import flat
from hitl_cli.forms.reading import as_read, in_lines, in_words, rows_of
from hitl_cli.inbox.pending import SOON_MS
from hitl_cli.inbox.votes import differing_votes
from hitl_cli.inspected import inspected
from hitl_cli.notify.status import said_of, without_old_reminders
from hitl_cli.people.deputies import in_words as away_in_words
from hitl_cli.requests.editable import changed
from hitl_cli.requests.outcome import given_reason, noun_of, vote_given
from hitl_cli.requests.parts import split, split_exactly
from hitl_cli.requests.question import PLAIN, Question, fields_of
from hitl_cli.views.details import amended_text, at_deadline, later, notified, who_may

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from hitl_cli.client.wire import Json, Vote
    from hitl_cli.forms import Field
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.proof.checking import Checked
    from hitl_cli.requests.editable import Change

STEPS = 10
"""How many earlier steps are shown: the last ones."""

SHORT_JSON = 60
"""Maximum characters of JSON on one line."""

SPREAD = 4
"""Indented JSON may be this many times longer than on one line; deeper JSON stays on one line."""

PROOFS = {
    None: "",
    "signed": "needed: sign with --sign, or with a passkey on its page",
    "passkey": "needed: sign with a passkey on its page",
}
"""How a decision must be proven, and where."""

UNREADABLE = "This request cannot be read, so hitl cannot answer it."


def print_request(
    seen: RequestDetails,
    server: str | None = None,
    without_contact: Sequence[str] = (),
    page: str | None = None,
) -> None:
    """Print a request and the commands that answer it. The commands name `server` if it is given.

    `without_contact` are the assignees without a contact in the settings; `page` is the URL of the request,
    if a gateway is known.
    """
    known = commands(seen, server)
    title = "answer with" if len(known) > 1 else "comment with"
    told = [*_blocks(seen, without_contact), Block(title, [[Cell(command)] for command in known], whole=True)]
    if page is not None:
        told.append(Block("or open", [[Cell(page, f"link {page}")]], whole=True))
    if not on_terminal():
        head = "".join(printable(cell.text) for cell in _headline(seen))
        prompt = _prompt_of(seen)
        lines = printable_lines(prompt).strip("\n").split("\n")
        asked = ["", *((" " * INDENT + line).rstrip() for line in lines)] if prompt else []
        print("\n".join([head, *asked, *(line for block in told for line in plain(block))]))
        return
    screen = console()
    for part, whole in _parts(seen, told, screen.width):
        screen.print(part, soft_wrap=whole)


def drawing(seen: RequestDetails, width: int) -> RenderableType:
    """Return a request as a Rich renderable of this width, without the commands that answer it."""
    from rich.console import Group

    return Group(*(part for part, _ in _parts(seen, _blocks(seen), width)))


def _parts(seen: RequestDetails, told: Iterable[Block], width: int) -> Iterator[tuple[RenderableType, bool]]:
    """Yield the parts of a request as Rich renderables, and whether a part must not be wrapped."""
    from rich.padding import Padding
    from rich.text import Text

    from hitl_cli.cli.render.markdown import markdown

    yield Text.assemble(*((printable(c.text), c.style) for c in _headline(seen)), overflow="fold"), True
    if prompt := _prompt_of(seen):
        yield Padding(markdown(prompt, width - INDENT), (1, 0, 0, INDENT)), False
    for block in told:
        for part in drawn(block, width):
            yield part, block.whole


# Content


def _headline(seen: RequestDetails) -> list[Cell]:
    """Return the first line: id, state, workflow, run and age."""
    item = seen.item
    word = "waiting" if seen.decision is None else str(seen.decision.outcome)
    color = OUTCOME_COLORS.get(word, "yellow")
    of = f"  {item.workflow}" if item.workflow != item.id else ""
    by = f"  {item.function}" if item.function else ""
    age = f"  {_ago(item.created_at, item.now)}"
    return [Cell(item.id, "bold"), Cell("  "), Cell(word, color), Cell(f"{by}{of}"), Cell(age, "dim")]


def _prompt_of(seen: RequestDetails) -> str:
    return UNREADABLE if seen.item.question is None else seen.item.question.prompt


def _blocks(seen: RequestDetails, without_contact: Sequence[str] = ()) -> list[Block]:
    """Return everything below the prompt except the commands."""
    now, question = seen.item.now, seen.item.asked
    details, parts = split(question.details)
    arguments, drawn_arguments = split_exactly(question.arguments)
    told = [
        *_unexplained(seen),
        Block("asked again, because the answer could not be used", _refused_rows(question)),
        Block("details", _named_values(details, in_rows=True)),
        *part_blocks("details", parts),
        Block("arguments", [[*name, _exactly(cell)] for *name, cell in _named_values(arguments)]),
        *part_blocks("arguments", drawn_arguments),
        Block("", _facts(seen), whole=True),
        Block("rule that --for creates", _offer_rows(question)),
        Block(
            "form" if question.editable is None else "arguments that you can change",
            list(_field_rows(fields_of(question))),
        ),
        Block("votes", [_vote_row(vote, question, now) for vote in seen.votes]),
        Block(
            "differences between votes",
            [[Cell(one.sentence, "red")] for one in differing_votes(question, seen.votes)],
        ),
        Block("questions", _thread_rows(seen)),
        Block(
            "comments",
            [[Cell(c.by or "?", "bold"), Cell(_ago(c.at, now)), Cell(c.text)] for c in seen.comments],
        ),
        Block(
            "changes",
            [
                [Cell(one.by, "bold"), Cell(_ago(one.at, now)), Cell(amended_text(one, local))]
                for one in seen.item.amendments
                if one.kind != "expire"
            ],
        ),
        Block("notifications", _told_rows(seen, without_contact), whole=True),
        Block("earlier steps", _step_rows(seen), whole=True),
        Block("decision", _decision_rows(seen)),
    ]
    return [block for block in told if block.rows]


def _unexplained(seen: RequestDetails) -> list[Block]:
    """Return the content of a promise that is not a request, or that cannot be read."""
    raw = decode(seen.promise.param)
    if seen.item.question is PLAIN:
        return [Block("param", _named_values(raw))]
    if seen.item.question is not None:
        return []
    try:
        msgspec.convert(raw, inspected(Question))
    except msgspec.ValidationError as error:
        return [Block("why", [[Cell(str(error))]]), Block("content", _named_values(raw))]
    return []


def _refused_rows(question: Question) -> list[list[Cell]]:
    """Return the earlier answer, who gave it, and why it is not valid."""
    refused = question.refused
    if refused is None:
        return []
    return [
        [Cell("why", "dim"), Cell(refused.why, "red")],
        [Cell("by", "dim"), Cell(f"{refused.by or 'another tool'} ({local(refused.at)})")],
        [Cell("answer", "dim"), Cell(in_lines(as_read(question.form, refused.data)))],
    ]


def _facts(seen: RequestDetails) -> list[list[Cell]]:
    """Return the facts of one line each: asker, assignees, deadline and so on."""
    item, question = seen.item, seen.item.asked
    digest, left = question.digest, item.deadline - item.now
    until = local(item.deadline)
    if seen.decision is None:
        until = f"in {format_duration(left)} ({local(item.deadline)}), {at_deadline(question)}"
    lines = [
        ("asked by", Cell(item.asker or "")),
        ("assignees", Cell(who_may(seen))),
        ("", Cell(seen.hint or "", "yellow")),
        *(("away", Cell(away_in_words(one, local(one.until)), "yellow")) for one in item.away),
        ("claimed", Cell(_claim_of(seen), "yellow")),
        *(("later", Cell(f"{text} ({local(at)})")) for text, at in later(seen)),
        (f"{noun_of(question)}s", Cell(item.so_far)),
        ("choices", Cell(", ".join(map(quoted, question.choices)))),
        ("deadline", Cell(until, "red" if seen.decision is None and left < SOON_MS else "")),
        ("priority", priority_cell(question.priority)),
        ("key", Cell(item.key or "")),
        ("replaces", Cell(question.replaces or "")),
        ("replaced by", Cell(seen.replaced_by or "", "red")),
        ("answer not used", Cell(seen.unfit or "", "red")),
        ("link", Cell(question.link or "")),
        ("digest", Cell(f"sha256 {digest.sha256} of {digest.file}" if digest else "")),
        ("arguments", Cell(f"sha256 {question.arguments_digest}" if question.arguments_digest else "")),
        ("valid for", Cell(format_duration(question.valid_for) if question.valid_for else "")),
        ("uses", Cell("once" if question.once else "")),
        ("proof", Cell(PROOFS[question.proof])),
        ("private", Cell(", ".join(question.private))),
        ("policy", Cell(", ".join(map(quoted, question.policy)))),
        ("tags", Cell(", ".join(f"{name}={value}" for name, value in sorted(item.tags.items())))),
    ]
    return [[Cell(name, "dim"), cell] for name, cell in lines if cell.text]


def _claim_of(seen: RequestDetails) -> str:
    """Return who works on an open request, since when, and until when."""
    claim = seen.item.claim if seen.decision is None else None
    until = "" if claim is None or claim.until is None else f" until {local(claim.until)}"
    return "" if claim is None else f"by {claim.by} since {local(claim.at)}{until}"


def _thread_rows(seen: RequestDetails) -> list[list[Cell]]:
    """Return the questions to the asker with their answers, and whether one is still open."""
    rows = [
        [
            Cell(entry.by or "?", "bold"),
            Cell("asked" if entry.kind == "ask-back" else "answered"),
            Cell(_ago(entry.at, seen.item.now)),
            Cell(entry.text),
        ]
        for entry in seen.thread
    ]
    if seen.item.asked_back is not None:
        rows.append(
            [Cell(seen.item.asker or "the person who asked", "bold"), Cell("has not answered yet", "yellow")]
        )
    return rows


def _offer_rows(question: Question) -> list[list[Cell]]:
    """Return what the offered rule would match, and for how long it may be valid."""
    if question.offer is None:
        return []
    most = format_duration(question.offer.longest)
    return [*_named_values(question.offer.where), [Cell("at most", "dim"), Cell(most)]]


def _field_rows(known: Iterable[Field], rows: str = "") -> Iterator[list[Cell]]:
    """Yield a line for each field, including the fields of rows: `lines[].price`."""
    for field in known:
        path = within(rows, field.path)
        yield _field_row(field, path)
        if field.row is not None:
            yield from _field_rows(flat(field.row), f"{path}[]")


def _field_row(field: Field, path: str) -> list[Cell]:
    """Return a field, the kind of its value, its description, and what is valid."""
    kind = f"list of {field.item.kind}" if field.item is not None else field.kind
    said = [
        field.title,
        field.description,
        f"one of {', '.join(field.labels)}" if field.labels else None,
        field.hint,
        None if field.default is msgspec.UNSET else f"default {to_json(field.default)}",
    ]
    return [
        Cell(path or "(the answer)", "bold"),
        Cell(f"{kind}, required" if field.required else kind),
        Cell("; ".join(text for text in said if text)),
    ]


def _vote_row(vote: Vote, question: Question, now: int) -> list[Cell]:
    """Return a vote; if it changes the arguments, only the changes."""
    form = question.form
    data = None if vote.data is True or vote.data in ({}, vote.choice) else vote.data
    told = to_json(data) if form is None else in_words(as_read(form, data))
    if question.editable is not None and vote.verdict == "approve":
        changes = [one.sentence for one in changed(question, vote.data)]
        data, told = changes or None, "; ".join(changes)
    word, color = ("approves", "green") if vote.verdict == "approve" else ("rejects", "red")
    if (answer := vote_given(question, vote)) is not None:
        word, data, told = "answers", answer, answer
    said = [None if data is None else told, vote.reason, vote.comment]
    last = "; ".join(text for text in said if text)
    by = f"{vote.by} for {', '.join(vote.deputy_for)}" if vote.deputy_for else vote.by
    return [Cell(by, "bold"), Cell(word, color), Cell(_ago(vote.at, now)), Cell(last)]


_STANDING_COLORS = {"told": "green", "to be told": "yellow", "not told yet": "red", "not told": "red"}


def _told_rows(seen: RequestDetails, without_contact: Sequence[str]) -> list[list[Cell]]:
    """Return the notifications (of reminders only the last), and the assignees without a contact."""
    every = notified(seen)
    shown = without_old_reminders(every)
    rows = [
        [
            Cell(told.who or "the assignees", "bold"),
            Cell(told.occasion),
            Cell(told.shown, _STANDING_COLORS[told.standing]),
            Cell(said_of(told, seen.item.now)),
        ]
        for told in shown
    ]
    on_record = {told.who for told in shown}
    rows += [
        [
            Cell(who, "bold"),
            Cell("asked"),
            Cell("not notified", "red"),
            Cell("no contact in the settings here"),
        ]
        for who in without_contact
        if who not in on_record
    ]
    more = len(every) - len(shown)
    return [[Cell(f"… {more:,} earlier reminders (see --json)")], *rows] if more else rows


def _step_rows(seen: RequestDetails) -> list[list[Cell]]:
    """Return the last steps of the run before the request."""
    rows = [
        [
            Cell(f"{step_mark(node)} {node.promise.id}"),
            Cell(step_name(node)),
            Cell(step_outcome(node)),
        ]
        for node in seen.before[-STEPS:]
    ]
    more = len(seen.before) - STEPS
    return [[Cell(f"… {more} more: {command('status', [seen.item.workflow])}")], *rows] if more > 0 else rows


def _decision_rows(seen: RequestDetails) -> list[list[Cell]]:
    """Return the decision: its outcome, by whom, when and why."""
    made = seen.decision
    if made is None:
        return []
    instead = f" for {', '.join(made.deputy_for)}" if made.deputy_for else ""
    by = f"{made.by}{instead} via {made.via}" if made.by else made.via or "another tool"
    lines = [
        ("outcome", Cell(str(made.outcome), OUTCOME_COLORS[str(made.outcome)])),
        ("by", Cell("the deadline" if made.deadline else by)),
        ("at", Cell(f"{local(made.at)}, after {format_duration(made.waited_ms)}")),
        ("choice", Cell(made.choice or "")),
        ("changed", Cell("\n".join(line for one in made.changes for line in lines_of_change(one)), "yellow")),
        ("data", Cell(_answer_of(seen, made.data) if made.outcome == "approved" else "")),
        ("reason", Cell(given_reason(made.outcome, made.reason) or "")),
        ("comment", Cell(made.comment or "")),
        ("rule", Cell(made.rule or "")),
        ("used", Cell(_use_of(seen), "yellow")),
        ("proof", Cell("\n".join(map(proof_line, seen.proof)))),
        ("unproven", Cell(seen.unproven or "", "red")),
    ]
    return [[Cell(name, "dim"), cell] for name, cell in lines if cell.text]


def lines_of_change(change: Change) -> list[str]:
    """Return a change of the arguments as lines; a change of a long text as a diff."""
    return [change.sentence, *(change.diff or [])]


def _use_of(seen: RequestDetails) -> str:
    """Return who used up the approval, and when."""
    used = seen.used
    return "" if used is None else f"by {used.by or '?'} via {used.via or '?'} at {local(used.at)}"


def proof_line(one: Checked) -> str:
    """Return whether the proof of one person's decision holds, on one line."""
    match one.state:
        case "proven":
            return f"signed by {one.by} with the {'passkey' if one.kind == 'passkey' else 'key'} {one.key}"
        case "claimed":
            return f"{one.by or 'another tool'} did not sign"
        case "wrong":
            return f"wrong: {one.why}"


def _answer_of(seen: RequestDetails, data: Json) -> str:
    """Return an answer with the titles of its form."""
    form = seen.item.asked.form
    if seen.item.asked.editable is not None:
        return in_lines(data) if changed(seen.item.asked, data) else ""
    return _readable(data) if form is None or data is None else in_lines(as_read(form, data))


def _named_values(value: Json, *, in_rows: bool = False) -> list[list[Cell]]:
    """Return a row for each member of an object; one row for another value, none for null.

    `in_rows`: lists of objects have a line for each object instead of JSON.
    """

    def text(inner: Json) -> str:
        return in_lines(inner) if in_rows and rows_of(inner) else _readable(inner)

    if isinstance(value, dict):
        return [[Cell(str(name), "dim"), Cell(text(inner))] for name, inner in value.items()]
    return [] if value is None else [[Cell(text(value))]]


def _exactly(cell: Cell) -> Cell:
    """Return a cell in which every character is visible."""
    return Cell("\n".join(map(visible, cell.text.split("\n"))), cell.style)


def _readable(value: Json) -> str:
    """Return JSON for people: a string unquoted, a small value on one line, a larger one indented."""
    if isinstance(value, str):
        return value
    text = to_json(value)
    if len(text) <= SHORT_JSON:
        return text
    spread = msgspec.json.format(text, indent=2)
    return spread if len(spread) <= SPREAD * len(text) else text


def _ago(at: int, now: int) -> str:
    return f"{format_age(max(now - at, 0))} ago"
