"""JSON of what an agent keeps beside its requests: sessions that wait, and the state of a run."""

from __future__ import annotations

from msgspec import Struct

from hitl_cli.inbox.deferrals import DeferredSession


class DeferralDocument(Struct, frozen=True, kw_only=True):
    """That the session of a request waits; `taken` says whether this caller is the one that resumes it."""

    request: str
    taken: bool = False


class DeferralsDocument(Struct, frozen=True):
    """Sessions that wait for requests. `outcome` is null while a request is open."""

    items: list[DeferredSession]


class StateDocument(Struct, frozen=True, kw_only=True):
    """The state of an agent's run; null if there is none."""

    run: str
    state: str | None
