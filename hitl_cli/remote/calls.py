"""The calls of commands at a gateway: the arguments and results of methods of `Inbox` and `Runs`.

`POST /api/v1/commands/NAME`. A gateway and a command of different versions understand each other as long as
new fields have defaults. Programs use the rest of the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hitl_cli.client.wire import Proof
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.pending import RequestFilter, Sort
from hitl_cli.people.actor import Actor, Permission
from hitl_cli.people.groups import Groups
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Digest
from hitl_cli.requests.question_input import QuestionInput
from hitl_cli.runs.run import GroupName, RunSpec, RunState, Started

PATH = "/commands/"

MOST = 1_000
"""Most entries of a page."""

type Most = Annotated[int, Meta(ge=0, le=2**31)]
"""How many entries are read at most."""

type Via = Literal["cli", "review"]


class CallRequest(Struct, frozen=True, kw_only=True):
    """A call: the command's front end, and the arguments."""

    args: msgspec.Raw
    via: Via = "cli"


class CallResponse[T](Struct, frozen=True, kw_only=True):
    """The result of a call, and the time at the gateway (ms since the epoch)."""

    now: int
    result: T


# Arguments


class Nothing(Struct, frozen=True):
    """No arguments."""


class Named(Struct, frozen=True, kw_only=True):
    """A request, or a run."""

    name: str
    whole: bool = False


class Listing(Struct, frozen=True, kw_only=True):
    """A page of a list: at most `limit` entries after a cursor."""

    limit: int = MOST
    after: str | None = None

    @property
    def size(self) -> int:
        """The largest number of entries on the page: the limit, from 1 to MOST."""
        return min(max(self.limit, 1), MOST)


class WantedRequests(Listing, frozen=True, kw_only=True):
    """A page of open requests."""

    wanted: RequestFilter
    sort: Sort


class WantedHistory(Listing, frozen=True, kw_only=True):
    """A page of decisions; with `name`, all entries of one request or run."""

    wanted: HistoryFilter
    name: str = ""


class Decided(Struct, frozen=True, kw_only=True):
    """A decision. `asked` is the digest of the request as the person saw it, if they signed."""

    name: str
    whole: bool
    said: DecisionInput
    proof: Proof | None = None
    asked: str | None = None


class Commented(Struct, frozen=True, kw_only=True):
    """A comment, a question that is asked back, or its answer."""

    name: str
    text: str
    whole: bool = False


class Assigned(Struct, frozen=True, kw_only=True):
    """A request to assign; `group` are the workers that notify, if it has no run."""

    name: str
    to: tuple[str, ...]
    add: bool = False
    anyway: bool = False
    whole: bool = False
    group: GroupName = "default"


class ForTime(Struct, frozen=True, kw_only=True):
    """A request, and a time in ms."""

    name: str
    ms: int
    whole: bool = False


class Extended(ForTime, frozen=True, kw_only=True):
    """A request, and a time in ms, or an instant in ms since the epoch."""

    until: int | None = None


class Released(Struct, frozen=True, kw_only=True):
    """A request whose claim to end; with `anyway`, also another person's claim."""

    name: str
    anyway: bool = False
    whole: bool = False


class GoneAway(Struct, frozen=True, kw_only=True):
    """An absence to record: the person, its end, and the deputy."""

    until: int
    since: int | None = None
    to: str | None = None
    person: str | None = None
    anyway: bool = False


class Someone(Struct, frozen=True, kw_only=True):
    """A person; None for the caller."""

    person: str | None = None


class Put(Struct, frozen=True, kw_only=True):
    """A request to create, with its id."""

    asked: QuestionInput


class Existing(Struct, frozen=True, kw_only=True):
    """An existing request without a workflow, by its id; `group` are the workers that notify."""

    id: str
    digest: Digest | None = None
    group: GroupName = "default"


class Consumed(Struct, frozen=True, kw_only=True):
    """An approval to use up."""

    name: str
    key: str


class Names(Struct, frozen=True, kw_only=True):
    """Names of people and groups."""

    names: tuple[str, ...]


class Ago(Struct, frozen=True, kw_only=True):
    """The period of statistics."""

    ago_ms: int
    most: Most | None = None


class StartRuns(Struct, frozen=True, kw_only=True):
    """Runs to start."""

    specs: list[RunSpec]
    group: GroupName
    deadline_ms: int


class WantedRuns(Listing, frozen=True, kw_only=True):
    """A page of runs."""

    state: RunState | None


class Steps(Struct, frozen=True, kw_only=True):
    """The steps of a run, up to a number."""

    name: str
    most: Most | None = None


class Cancel(Struct, frozen=True, kw_only=True):
    """A run to cancel."""

    name: str
    reason: str | None = None


# Results


class Page[T](Struct, frozen=True, kw_only=True):
    """A page of a list, and where the next one begins."""

    items: list[T]
    next: str | None


class OwnGroups(Struct, frozen=True, kw_only=True):
    """The names of all groups; of people, only the caller, the groups they are in and their keys."""

    spelled: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    members: Mapping[str, frozenset[str]] = {}
    ssh: Mapping[str, tuple[str, ...]] = {}


class Me(Struct, frozen=True, kw_only=True):
    """The caller."""

    person: str
    may: frozenset[Permission]
    groups: OwnGroups

    def actor(self, via: Via) -> Actor:
        """Return the caller as an actor of this process."""
        groups = Groups(**msgspec.structs.asdict(self.groups))
        return Actor(person=self.person, via=via, may=self.may, groups=groups)


class Begun(Struct, frozen=True, kw_only=True):
    """A run that was started or found, or why there is none."""

    started: Started | None = None
    conflict: str = ""
    code: str = ""
    hint: str = ""


CALLS: dict[str, type[Struct]] = {
    "me": Nothing,
    "requests": WantedRequests,
    "find": Named,
    "show": Named,
    "decide": Decided,
    "comment": Commented,
    "assign": Assigned,
    "claim": ForTime,
    "release": Released,
    "aways": Nothing,
    "go-away": GoneAway,
    "come-back": Someone,
    "ask-back": Commented,
    "answer-back": Commented,
    "extend": Extended,
    "ask": Put,
    "notify": Existing,
    "asked": Existing,
    "worker-notifies": Existing,
    "withdraw": Existing,
    "consume": Consumed,
    "silent": Names,
    "history": WantedHistory,
    "story": WantedHistory,
    "stats": Ago,
    "start": StartRuns,
    "runs": WantedRuns,
    "run": Named,
    "steps": Steps,
    "workflows": Nothing,
    "cancel": Cancel,
    "workers": Nothing,
}
"""The arguments of each call, by its name."""
