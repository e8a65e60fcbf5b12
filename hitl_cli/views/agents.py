"""Deferred sessions, and states of runs, of agents as JSON."""

from __future__ import annotations

from msgspec import Struct

from hitl_cli.inbox.deferrals import DeferredSession


class DeferralDocument(Struct, frozen=True, kw_only=True):
    """A deferred session; `taken` says whether this caller may resume it, because it was first."""

    request: str
    taken: bool = False


class DeferralsDocument(Struct, frozen=True):
    """Sessions that wait for requests. `outcome` is null while a request is open."""

    items: list[DeferredSession]


class StateDocument(Struct, frozen=True, kw_only=True):
    """The state of an agent's run; null if there is none."""

    run: str
    state: str | None
