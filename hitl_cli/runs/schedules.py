"""`Schedules`: runs that start at set times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli import defaults
from hitl_cli.client.protocol import OK, call, refused
from hitl_cli.client.tags import TARGET_TAG
from hitl_cli.client.wire import GLOBAL, Call, Json, decode_as, encode, same_json
from hitl_cli.engine import cron
from hitl_cli.engine.records import CatchUp, Value
from hitl_cli.errors import BadInput, BadUsage, Conflict, NotFound
from hitl_cli.format.durations import format_duration
from hitl_cli.format.shell import command
from hitl_cli.inspected import inspected
from hitl_cli.runs.run import address_of, call_of, check_id, show_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client, ProtocolResponse
    from hitl_cli.people.actor import Actor

BAD_REQUEST = 400

RUN_ID = "{{.id}}-{{.timestamp}}"
"""The ids of the runs, as the SDKs make them: the schedule's id, and the time in ms."""


class ScheduleSpec(Struct, frozen=True, kw_only=True):
    """A schedule to add. Without `args` each run gets the schedule's id; see RunSpec.

    `timezone` None is UTC.
    """

    id: str
    cron: str
    timezone: str | None = None
    workflow: str = defaults.WORKFLOW
    args: Json | UnsetType = UNSET
    kwargs: dict[str, Json] = {}
    group: str = defaults.GROUP
    deadline_ms: int = defaults.DEADLINE_MS
    catch_up: CatchUp = "last"


class Schedule(Struct, frozen=True, kw_only=True, rename="camel"):
    """A schedule as any server shows it. Instants are ms since the epoch."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Value | None = None
    promise_tags: dict[str, str] = {}
    created_at: int = 0
    next_run_at: int = 0
    last_run_at: int | None = None
    catch_up: CatchUp | None = None

    @property
    def fields(self) -> str:
        """The five fields of its cron expression, without the time zone."""
        return cron.fields_and_zone(self.cron)[0]

    @property
    def timezone(self) -> str | None:
        """The time zone of the fields; None is UTC."""
        return cron.fields_and_zone(self.cron)[1]

    @property
    def call(self) -> Call | None:
        """The function call of each run; None if it cannot be read."""
        return decode_as(self.promise_param, Call)


class AddedSchedule(Struct, frozen=True, kw_only=True):
    """A schedule, and whether this call created it or found it."""

    schedule: Schedule
    created: bool


class _ScheduleData(Struct, frozen=True):
    schedule: Schedule


class _Page(Struct, frozen=True):
    schedules: list[Schedule]
    cursor: str | None = None


class Schedules:
    """The schedules on a server, for one actor.

    Reading needs the permission `read`; adding and removing need `start`. Every method raises NotAllowed
    for an actor without it, and Unreachable.
    """

    def __init__(self, client: Client, actor: Actor) -> None:
        self._client = client
        self._actor = actor

    def add(self, spec: ScheduleSpec) -> AddedSchedule:
        """Add a schedule, or return the existing one if it is equal in everything.

        Raises BadInput (the id, the cron expression), Conflict (another schedule has this id).
        """
        self._actor.require("start")
        check_id(spec.id)
        start = call_of(spec.workflow, spec.args, spec.kwargs, spec.id)
        asked = {
            "id": spec.id,
            "cron": _expression(spec),
            "promiseId": RUN_ID,
            "promiseTimeout": spec.deadline_ms,
            "promiseParam": encode(msgspec.to_builtins(start)),
            "promiseTags": {TARGET_TAG: address_of(spec.group), **GLOBAL},
            "catchUp": spec.catch_up,
        }
        created = call(self._client, "schedule.get", id=spec.id).status != OK
        answer = call(self._client, "schedule.create", **asked)
        if spec.timezone is not None and answer.status == BAD_REQUEST:
            raise BadInput(
                f"refused: {answer.message()}. The server may not support time zones: give the times in UTC."
            )
        schedule = _as_schedule(answer)
        if not created and not self._sees(schedule) and not _is_as_asked(schedule, asked):
            raise Conflict(
                f"the id {spec.id} is taken. Nothing was changed: use another.", code="already-exists"
            )
        if not created:
            _refuse_other(schedule, asked)
        return AddedSchedule(schedule=schedule, created=created)

    def list(self) -> Sequence[Schedule]:
        """Return all schedules, in the order of their ids."""
        self._actor.require("read")
        found: list[Schedule] = []
        cursor: dict[str, str] = {}
        while True:
            answer = call(self._client, "schedule.search", **cursor)
            if answer.status != OK:
                raise refused(answer)
            page = msgspec.json.decode(answer.data, type=inspected(_Page))
            found += page.schedules
            if page.cursor is None:
                return [one for one in found if self._sees(one)]
            cursor = {"cursor": page.cursor}

    def remove(self, id: str) -> None:
        """Remove a schedule. Runs that it has started continue. Raises NotFound."""
        self._actor.require("start")
        if not self._actor.groups.visibility.is_open:
            found = call(self._client, "schedule.get", id=id)
            if found.status == OK and not self._sees(_as_schedule(found)):
                raise self._unknown(id)
        answer = call(self._client, "schedule.delete", id=id)
        if answer.status != OK:
            error = refused(answer)
            raise self._unknown(id) if isinstance(error, NotFound) else error

    def _sees(self, schedule: Schedule) -> bool:
        """Whether the actor may see a schedule. Schedules have no owner, so operators may see them."""
        actor, start = self._actor, schedule.call
        names = [schedule.id] if start is None else [start.func]
        return actor.sees_all or actor.operates or actor.groups.visibility.is_public(names)

    def _unknown(self, id: str) -> NotFound:
        from difflib import get_close_matches

        near = (
            get_close_matches(id, [one.id for one in self.list()], n=1) if "read" in self._actor.may else []
        )
        hint = f"Did you mean {near[0]}?" if near else "`hitl schedule list` shows them."
        return NotFound(f"no schedule {id!r}. {hint}")


def _expression(spec: ScheduleSpec) -> str:
    """Return the cron expression of a schedule. Raises BadInput for one in a time zone that is not valid."""
    if spec.timezone is not None and spec.cron.startswith(cron.ZONE):
        raise BadUsage(f"{spec.cron!r} has a time zone already: give the time zone once.")
    expression = cron.in_zone(spec.cron, spec.timezone)
    zone = cron.fields_and_zone(expression)[1]
    if zone is not None and (problem := cron.problem(expression)) is not None:
        from difflib import get_close_matches
        from zoneinfo import available_timezones

        known = {name.casefold(): name for name in available_timezones()}
        near = [] if zone in known.values() else get_close_matches(zone.casefold(), known, n=1)
        raise BadInput(f"{problem}.{''.join(f' Did you mean {known[name]}?' for name in near)}")
    return expression


def _is_as_asked(schedule: Schedule, asked: dict[str, object]) -> bool:
    """Whether a schedule is the requested one."""
    stands = msgspec.to_builtins(schedule)
    stands["promiseTags"] |= GLOBAL  # not set by other tools and earlier versions
    return all(same_json(stands[name], value) for name, value in asked.items() if stands[name] is not None)


def _refuse_other(schedule: Schedule, asked: dict[str, object]) -> None:
    """Raise Conflict if a schedule differs from the requested one."""
    if not _is_as_asked(schedule, asked):
        raise Conflict(
            f"schedule {schedule.id} already exists, and differs: {schedule.fields}"
            f" ({schedule.timezone or 'UTC'}) starts {show_call(schedule.call)}, with a deadline after"
            f" {format_duration(schedule.promise_timeout)}. Nothing was changed;"
            f" `{command('schedule remove', [schedule.id])}` removes it.",
            code="already-exists",
        )


def _as_schedule(answer: ProtocolResponse) -> Schedule:
    """Return the schedule in a response. Raises NotFound and others."""
    if answer.status != OK:
        raise refused(answer)
    return msgspec.json.decode(answer.data, type=inspected(_ScheduleData)).schedule
