"""`hitl ask`: ask a person from a script."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, NoReturn

import msgspec

from hitl_cli import defaults
from hitl_cli.cli.completion import complete_assignee
from hitl_cli.cli.context import AsPerson, handling, inbox_of, is_remote, read_json, read_stdin
from hitl_cli.cli.decide import read_file
from hitl_cli.cli.options import AsJson, Proof, argument, flag, value
from hitl_cli.cli.output import is_terminal, note, note_unknown, print_json, silence_stdout
from hitl_cli.cli.render.table import on_terminal
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import (
    BadInput,
    BadUsage,
    NotFound,
    RunFailed,
    TimedOut,
    TooLarge,
    Unproven,
    Unreachable,
)
from hitl_cli.format.durations import format_age, parse_duration
from hitl_cli.format.json import to_json
from hitl_cli.format.shell import quoted
from hitl_cli.format.terminal import printable
from hitl_cli.format.times import iso, local, localized
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import check_unchanged, decision_of, digest_of, new_id
from hitl_cli.inbox.decision_result import by_whom, decided_at
from hitl_cli.inbox.pending import read_tags
from hitl_cli.inbox.proof import check_is_the_same
from hitl_cli.people.deputies import in_words as away_in_words
from hitl_cli.people.gateway_file import page_of
from hitl_cli.people.groups import as_asked, in_words
from hitl_cli.proof.signing import too_few_sign
from hitl_cli.requests.amendments import deadline_of
from hitl_cli.requests.demand import ids_to_ask, names_of
from hitl_cli.requests.outcome import given_reason
from hitl_cli.requests.question import (
    MAX_APPROVALS,
    MAX_QUESTION_BYTES,
    Instead,
    Question,
    outcome_of,
    quorum_of,
)
from hitl_cli.requests.question_input import offer_of
from hitl_cli.rules.matching import TOOL
from hitl_cli.runs.run import check_id
from hitl_cli.views.decision import answer_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.ask import StandaloneRequest
    from hitl_cli.inbox.thread import ThreadEntry
    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Digest

SCALARS = ("string", "integer", "number", "boolean")
"""Types of a JSON Schema whose value is one word."""

GRACE_S = 0.8
"""How long to wait for the server after a signal to end."""

CANCEL_GRACE_S = 5.0
"""The same with --cancel-on-exit, which sends one more request."""

LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end the waiting."""


def ask(
    ctx: AsPerson,
    prompt: Annotated[
        str | None,
        argument(
            "[PROMPT]",
            "Prompt, in Markdown. - reads stdin. Omit it to wait for an existing request (--id).",
        ),
    ] = None,
    to: Annotated[
        list[str] | None,
        value(
            "WHO",
            "Assignee: a person or group:NAME (repeatable). Default: anyone.",
            complete=complete_assignee,
        ),
    ] = None,
    details: Annotated[str | None, value("JSON|@FILE", "Details to show below the prompt.")] = None,
    arguments: Annotated[
        str | None,
        value("JSON|@FILE", "Exact arguments of the action to approve. The decision has their digest."),
    ] = None,
    editable: Annotated[
        str | None,
        value("JSON|@FILE", "Let approvers change the arguments: a JSON Schema of what is allowed, or true."),
    ] = None,
    form: Annotated[str | None, value("JSON|@FILE", "JSON Schema of the answer.")] = None,
    choice: Annotated[
        list[str] | None, value("TEXT", "A choice to offer instead of Approve (repeatable).")
    ] = None,
    reassign: Annotated[
        Literal["nobody", "assignees", "anyone"] | None,
        value(
            "WHO", "Who may assign it to others: assignees (and you), anyone, or nobody (no deputies either)."
        ),
    ] = None,
    approvals: Annotated[
        list[str] | None,
        value(
            "N|GROUP=N", "Approvals required: a number, or a number per group as group:ops=1 (repeatable)."
        ),
    ] = None,
    no_self: Annotated[bool, flag("Exclude yourself from the people who may answer.", "--no-self")] = False,
    deadline: Annotated[str, value("DURATION", "Time allowed for the answer.")] = "365d",
    extend: Annotated[
        str | None,
        value("DURATION", "By how much people may move the deadline in total. Default: not at all."),
    ] = None,
    on_deadline: Annotated[
        Literal["expire", "approve", "reject"] | None,
        value("OUTCOME", "What happens at the deadline: expire, approve or reject. Default: expire."),
    ] = None,
    on_deadline_value: Annotated[
        str | None, value("JSON", "At the deadline, approve with this value.")
    ] = None,
    valid_for: Annotated[
        str | None, value("DURATION", "How long an approval is valid. Default: forever.")
    ] = None,
    once: Annotated[
        bool, flag("Allow only one use of an approval: a later `hitl ask --id` exits 4.", "--once")
    ] = False,
    proof: Proof = None,
    on_unproven: Annotated[
        Literal["fail", "ask-again"],
        value("ACTION", "What to do with an approval without a valid signature: fail or ask-again."),
    ] = "fail",
    offer: Annotated[
        str | None,
        value("JSON|@FILE", 'Standing rule that an approver may also create: {"where": …, "longest": "8h"}.'),
    ] = None,
    private: Annotated[
        list[str] | None,
        value(
            "PATH",
            "Part that only assignees, auditors and you see, e.g. details.iban, form.salary (repeatable).",
        ),
    ] = None,
    digest: Annotated[
        str | None, value("FILE", "File to approve. Its SHA-256 is recorded; exits 4 if it changes.")
    ] = None,
    id: Annotated[
        str | None, value("ID", "Id for the request. With an existing id, waits for that request.")
    ] = None,
    key: Annotated[
        str | None, value("NAME", "Another name for the request, for commands such as `hitl approve`.")
    ] = None,
    priority: Annotated[
        Literal["low", "normal", "high", "urgent"],
        value("PRIORITY", "Priority: low, normal, high or urgent."),
    ] = "normal",
    tag: Annotated[list[str] | None, value("NAME=VALUE", "Tag for filters (repeatable).")] = None,
    link: Annotated[str | None, value("URL", "Link to more information.")] = None,
    callback: Annotated[
        str | None, value("URL", "URL to send the decision to. Its host must be in the settings.")
    ] = None,
    no_wait: Annotated[bool, flag("Print the id and exit without waiting.", "--no-wait")] = False,
    timeout: Annotated[
        str | None, value("DURATION", "Stop waiting after DURATION (exit 5). The request stays open.")
    ] = None,
    cancel_on_exit: Annotated[
        bool, flag("Cancel the request if this command ends before an answer.", "--cancel-on-exit")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a person, wait for the answer and print it. Exits 0 for yes, 1 for no, 5 for no answer."""
    settings = ctx.settings
    me = ctx.actor()
    timeout_s = None if timeout is None else parse_duration(timeout) / 1_000
    if no_wait and (timeout is not None or cancel_on_exit):
        raise BadUsage("--no-wait cannot be combined with --timeout or --cancel-on-exit.")
    question = Question(
        prompt=read_stdin(MAX_QUESTION_BYTES + 1) if prompt == "-" else prompt or "",
        details=None if details is None else _read_json(details, "--details"),
        arguments=None if arguments is None else _read_json(arguments, "--arguments"),
        editable=None if editable is None else _read_form(editable, "--editable"),
        form=None if form is None else _read_form(form, "--form"),
        choices=tuple(choice or ()),
        to=as_asked(to or (), me.groups),
        reassign=reassign,
        extend=None if extend is None else parse_duration(extend),
        **quorum_of(_read_approvals(approvals or [], me.groups)),
        allow_self=not no_self,
        on_deadline=_read_on_deadline(on_deadline, on_deadline_value, choice or []),
        once=once,
        valid_for=None if valid_for is None else parse_duration(valid_for),
        proof=proof,
        priority=priority,
        link=link,
        digest=None if digest is None else digest_of(digest),
        callback=callback,
        offer=None if offer is None else offer_of(_read_json(offer, "--offer")),
        private=tuple(private or ()),
    )
    tags = read_tags(tag or [], "--tag")
    names = names_of(tags.get(TOOL), key, id)
    deadline_ms = parse_duration(deadline)
    silent = no_wait and not as_json  # without a wait it would only print the id that it was given
    if prompt is None and (id is None or silent or not _says_nothing(question, key, tag)):
        raise BadUsage('no prompt given: pass a PROMPT, for example hitl ask "Deploy?".')
    if id is not None:
        check_id(id)
    contacts, group = settings.contacts(), settings.group().value
    leaving = _Leaving(CANCEL_GRACE_S if cancel_on_exit else GRACE_S)
    with (
        handling(LEAVING, leaving),
        ctx.client(creates=prompt is not None) as client,
    ):
        inbox = inbox_of(client, me)
        put = partial(
            inbox.ask, question, key=key, tags=tags, deadline_ms=deadline_ms, callbacks=contacts.callbacks
        )
        for own in ids_to_ask(new_id() if id is None else id):
            posted = _existing(inbox, own, question.digest) if prompt is None else put(id=own)
            queued = prompt is not None and inbox.notify(posted, contacts, group)
            command = _Command(posted.id, ctx.given_server)
            gateway = ctx.gateway
            _tell(posted, command, client.now(), gateway and page_of(gateway, posted.id))
            _tell_who_is_not_notified(inbox, posted, contacts, group if queued else None, leaving)
            promise = posted.promise if no_wait else _wait(inbox, posted, command, timeout_s, leaving)
            check_is_the_same(own, promise.id)
            if prompt is None or not _asks_again(on_unproven, posted, promise, settings.groups(), names):
                break
        if no_wait:
            _print_result(answer_document(promise, None) if as_json else posted.id)
            return
        unanswered = promise.state == "pending"
        if unanswered and cancel_on_exit:
            promise = inbox.withdraw(posted)
            unanswered = promise.state == "rejected_canceled"
        _use_up(inbox, posted, promise, digest, leaving)
        now = client.now()
    if leaving.signal is not None:
        note(_left_behind(promise, command, now, local))
        _die_by(leaving.signal)
    if unanswered:
        _print_result(answer_document(promise, None) if as_json else None)
        raise TimedOut(
            f"no answer yet. {_left_behind(promise, command, now)}.",
            code="timed-out",
            at=decided_at(promise, now),
        )
    _finish(posted, promise, now, settings.groups(), names=names, digest=digest, as_json=as_json)


def _asks_again(
    on_unproven: str, posted: StandaloneRequest, promise: Promise, groups: Groups, names: Sequence[str]
) -> bool:
    """Whether to ask a request again, because its approval has no valid proof. Prints a note if so."""
    if on_unproven == "fail" or promise.state == "pending":
        return False
    try:
        decision_of(promise, posted.question, groups, asked=posted.question, names=names)
    except Unproven as error:
        note(f"{error} Asking again.")
        return True
    except RunFailed:  # reported when it is used
        return False
    return False


def _use_up(
    inbox: Inbox, posted: StandaloneRequest, promise: Promise, digest: str | None, leaving: _Leaving
) -> None:
    """Use up an approval with --once.

    Raises NotCovered if it was used before, Conflict if the file has changed.
    """
    if not posted.question.once or outcome_of(promise) != "approved" or leaving.signal is not None:
        return
    if digest is not None and posted.question.digest is not None:
        check_unchanged(posted.id, digest, posted.question.digest)
    inbox.consume(posted.id, fresh_id())


def _existing(inbox: Inbox, id: str, digest: Digest | None) -> StandaloneRequest:
    """Return the request with an id. Raises NotFound, Conflict."""
    try:
        return inbox.asked(id, digest)
    except NotFound as error:
        raise NotFound(f"{error} To create it, run: hitl ask PROMPT --id ID") from error


# The question


def _says_nothing(question: Question, key: str | None, tag: list[str] | None) -> bool:
    """Whether no option of the question is given, except --digest."""
    bare = msgspec.structs.replace(question, digest=None)
    return bare == Question(prompt="") and key is None and not tag


def _read_json(text: str, option: str) -> Any:
    """Return the JSON value of an option. Raises BadInput."""
    raw = read_file(Path(text[1:])) if text.startswith("@") else text.encode()
    if len(raw) > MAX_QUESTION_BYTES:
        raise TooLarge(f"{option} is larger than {MAX_QUESTION_BYTES:,} bytes. Give a --link instead.")
    hint = f" To read a file, write @ before its name: {option} @{text}" if text.endswith(".json") else ""
    return read_json(raw, option, hint)


def _read_form(text: str, option: str) -> dict[str, Any] | bool:
    """Return the JSON Schema of an option. Raises BadInput."""
    form = _read_json(text, option)
    if not isinstance(form, dict | bool):
        raise BadInput(
            f'{option} is not a JSON Schema: write, for example, {{"type": "integer"}}.', code="bad-form"
        )
    return form


def _read_approvals(texts: Sequence[str], groups: Groups) -> int | dict[str, int]:
    """Return how many must approve: a number, or by group. Raises BadUsage."""
    by: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not (number.isascii() and number.isdecimal() and 1 <= int(number[:5]) <= MAX_APPROVALS):
            raise BadUsage(
                f"--approvals {text!r} is not valid: write a number from 1 to 1000, or GROUP=NUMBER."
            )
        if not equals and len(texts) == 1:
            return int(number)
        (own,) = as_asked([name], groups)
        if not name or own in by:
            raise BadUsage("--approvals takes one number, or GROUP=NUMBER for each of several groups.")
        by[own] = int(number)
    return by or 1


def _read_on_deadline(
    plain: Literal["expire", "approve", "reject"] | None, value: str | None, choices: Sequence[str]
) -> Literal["expire", "approve", "reject"] | Instead:
    """Return the outcome at the deadline; a choice needs no JSON quotes. Raises BadInput."""
    if value is None:
        return plain or "expire"
    if plain is not None:
        raise BadUsage("--on-deadline and --on-deadline-value cannot be combined: pass one of them.")
    return Instead(value=value if value in choices else _read_json(value, "--on-deadline-value"))


# Waiting


class _Command(NamedTuple):
    """The commands that a person can type for a request."""

    id: str
    server: str | None

    def __call__(self, verb: str, rest: str = "") -> str:
        """Return a command for the request, on the same server."""
        server = "" if self.server is None else f" -S {quoted(self.server)}"
        if self.id.startswith("-"):
            return f"{f'hitl {verb}{server}'.removesuffix(' --id')}{rest} -- {quoted(self.id)}"
        return f"hitl {verb} {quoted(self.id)}{rest}{server}"


class _Leaving:
    """Records the first signal to end; a second signal ends the process at once.

    After SIGTERM or SIGHUP, the process also ends if the server does not respond in time.
    """

    signal: int | None = None

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def told(self) -> bool:
        """Whether a signal was received."""
        return self.signal is not None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Record a signal."""
        self.signal = number
        for each in LEAVING:
            if signal.getsignal(each) is self:
                signal.signal(each, signal.SIG_DFL)
        if number != signal.SIGINT:
            ending = threading.Timer(self._grace_s, _die_by, [number])
            ending.daemon = True
            ending.start()


def _die_by(number: int) -> NoReturn:
    """End by the signal itself, so that a shell also ends its script and does not see an answer."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # reached only as process 1, which ignores the signal


def _wait(
    inbox: Inbox, posted: StandaloneRequest, command: _Command, timeout_s: float | None, leaving: _Leaving
) -> Promise:
    """Wait for the answer and return the promise, which is pending after a timeout or a signal."""
    if is_terminal(sys.stderr) and posted.promise.state == "pending":
        note("Waiting for the answer (Ctrl-C stops waiting)")
    try:
        return inbox.wait(
            posted, timeout_s=timeout_s, left=leaving.told, heard=partial(_tell_thread, command)
        )
    except Unreachable as error:
        raise Unreachable(
            f"{error} The request stays open: `{command('ask --id')}` waits for it again."
        ) from error


def _tell_thread(command: _Command, entry: ThreadEntry) -> None:
    """Print on stderr what was asked back, and how to answer it; or the answer."""
    if entry.kind == "ask-back":
        said, how = "asks", f"  Answer: {command('answer-back', ' TEXT')}"
    else:
        said, how = "answered", ""
    note(printable(f"{entry.by or 'Somebody'} {said}: {entry.text}{how}"))


def _tell(posted: StandaloneRequest, command: _Command, now: int, page: str | None) -> None:
    """Print on stderr the request and how to answer it: one line, several on a terminal.

    `page` is the URL of the request, if a gateway is known.
    """
    promise, question = posted.promise, posted.question
    if promise.state != "pending":
        if outcome_of(promise) == "approved":  # other outcomes are reported as errors
            before = "" if posted.fresh else "was asked before and "  # a new one was decided by a rule
            note(f"{posted.id} {before}{_how_it_ended(promise, now, local)}")
        return
    age = "" if posted.fresh else f", open for {format_age(now - promise.created_at)}"
    asked = question.asked_at(0)
    to = f" for {in_words(asked, 'or')}" if asked else ""
    lines = [f"Request {posted.id}{to}{age}: {question.title}"]
    if question.digest is not None:
        lines.append(f"sha256 {question.digest.sha256} {question.digest.file}")
    lines.append(f"Answer until {local(deadline_of(promise, ()))}: {_how_to_answer(question, command)}")
    *first, last = lines if is_terminal(sys.stderr) else ["  ".join(lines)]
    for line in first:
        note(line)
    note(last if page is None else f"{last}  or open", page or "")


def _tell_who_is_not_notified(
    inbox: Inbox, posted: StandaloneRequest, contacts: Directory, group: str | None, leaving: _Leaving
) -> None:
    """Print on stderr which assignees are unknown or have no contact, and that no worker is running."""
    groups, asked = inbox.actor.groups, posted.question
    for one in posted.away if posted.promise.state == "pending" else ():
        note(printable(away_in_words(one, local(one.until))))
    if posted.promise.state == "pending":
        note_unknown(asked.everyone, groups)
    keyless = "" if is_remote(inbox.client) else too_few_sign(asked, groups)  # a gateway knows the keys
    if posted.promise.state == "pending" and keyless:
        note(keyless)
    silent = [who for who in inbox.silent(asked.asked_at(0), contacts) if not groups.unknown((who,))]
    if posted.promise.state == "pending" and silent:
        note(f"Not notified, no contact in the settings: {', '.join(silent)}")
    if group is not None and not inbox.worker_notifies(posted, group, leaving.told):
        option = "" if group == defaults.GROUP else f" --group {quoted(group)}"
        note(f"Nobody is notified yet, because no worker is running. Start one: hitl worker{option}")


def _how_to_answer(question: Question, command: _Command) -> str:
    """Return the commands that answer a question."""
    if question.proof == "passkey":
        return command("open")
    sign = "" if question.proof is None else " --sign"
    if question.choices:
        form = "" if question.form is None else " --data JSON"
        yes = command("answer", f" CHOICE{form}{sign}") + f" ({', '.join(question.choices)})"
    elif isinstance(question.form, dict) and question.form.get("type") in SCALARS:
        yes = command("answer", f" VALUE{sign}")
    else:
        yes = command("approve", sign)
    return f"{yes}  or  {command('reject', f' --reason TEXT{sign}')}"


def _left_behind(promise: Promise, command: _Command, now: int, write: Callable[[int], str] = iso) -> str:
    """Print that the request stays open without this command, and return its state."""
    if promise.state == "pending":
        return (
            f"{promise.id} is still open: `{command('ask --id')}` waits for it again,"
            f" `{command('cancel')}` cancels it"
        )
    return f"{promise.id} {_how_it_ended(promise, now, write)}"


# The outcome


def _how_it_ended(promise: Promise, now: int, write: Callable[[int], str] = iso) -> str:
    """Return the outcome of a decided request, and who decided it."""
    if promise.expired_at is not None:
        words = {"approved": ": that means yes", "rejected": ": that means no"}
        means = words.get(outcome_of(promise) or "", "")
        return f"was not answered before its deadline, {write(promise.expired_at)}{means}"
    return f"was {outcome_of(promise)}{by_whom(promise, now, write)}"


def _finish(
    posted: StandaloneRequest,
    promise: Promise,
    now: int,
    groups: Groups,
    *,
    names: Sequence[str],
    digest: str | None,
    as_json: bool,
) -> None:
    """Print the answer if it is yes.

    Raises RunFailed for no, TimedOut if nobody answered, Conflict if the file has changed, Unproven.
    """
    question = posted.question
    decision = decision_of(promise, question, groups, asked=question, names=names)
    if decision.approved and digest is not None and question.digest is not None:
        check_unchanged(posted.id, digest, question.digest)
    if as_json:
        _print_result(answer_document(promise, decision))
    elif decision.approved:  # for scripts: text without quotes, anything else as JSON
        answer = decision.choice if question.choices and question.form is None else decision.data
        text = answer if isinstance(answer, str) else to_json(answer)
        _print_result(printable(text) if on_terminal() else text)
    ended, at = f"{posted.id} {_how_it_ended(promise, now)}", decided_at(promise, now)
    if (
        decision.approved
        and posted.promise.state == "pending"
        and (decision.expired or is_terminal(sys.stderr))
    ):
        note(localized(f"{ended}: {decision.comment}" if decision.comment else ended, at))
    match outcome_of(promise):
        case "approved":
            return
        case "expired":
            raise TimedOut(f"{ended}.", at=at)
        case outcome:
            reason = None if decision.expired else given_reason(outcome, decision.reason)
            raise RunFailed(f"{ended}: {reason}" if reason else f"{ended}.", at=at)


def _print_result(result: Any) -> None:
    """Print the result. A closed pipe must not change the exit code, which is the decision."""
    try:
        if isinstance(result, str):
            print(result)
        elif result is not None:
            print_json(result)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
