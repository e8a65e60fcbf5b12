"""Runs and their steps as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import asdict

from hitl_cli.client.failure import failure_in
from hitl_cli.client.wire import Json, decode
from hitl_cli.engine.records import PromiseState
from hitl_cli.format.times import iso
from hitl_cli.runs.run import EndState
from hitl_cli.runs.steps import Kind
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.failure import Failure
    from hitl_cli.runs.run import Run
    from hitl_cli.runs.steps import RunStep
    from hitl_cli.runs.workflows import ServedWorkflow


DEEPEST = 100
"""Levels of nested steps. Deeper ones are listed at the last level, because JSON parsers limit the depth."""


class FailureDocument(Struct, frozen=True, kw_only=True):
    """Why a workflow or step failed. `where` is the line in the author's file, `step` the failed step."""

    type: str | None
    message: str
    step: str | None
    function: str | None
    where: str | None
    traceback: str | None


class RunDocument(Struct, frozen=True, kw_only=True):
    """A run of a workflow. `result` is what it returned, `waits_for` its open requests, or why it waits.

    A standalone request that a person has rejected is `rejected`: its `error` is the reason, and it has no
    `failure`.

    `run` is its id and `workflow_name` its workflow; `workflow` and `function` are their old names.
    """

    id: str
    run: str
    workflow_name: str | None
    workflow: str
    function: str | None
    state: EndState
    prompt: None = None
    created_at: str
    deadline: str
    age_s: int
    settled_at: str | None
    waits_for: tuple[str, ...]
    result: Json
    error: str | None
    failure: FailureDocument | None


class RunsPage(Struct, frozen=True):
    """A page of runs, newest first; `next` is the `cursor` of the next page."""

    items: list[RunDocument]
    next: str | None


class WorkflowDocument(Struct, frozen=True, kw_only=True):
    """A workflow of a group; `workers` is how many listening workers serve it, null if unknown."""

    name: str
    group: str
    workers: int | None
    last_run: str | None


class WorkflowList(Struct, frozen=True):
    """The workflows, by name."""

    items: list[WorkflowDocument]


class RetryDocument(Struct, frozen=True, kw_only=True):
    """A failed attempt at a step, and when the next attempt is."""

    error: str
    where: str | None
    again: str


class StepDocument(Struct, frozen=True, kw_only=True):
    """A step of a run, with its failed attempts and inner steps, oldest first."""

    id: str
    kind: Kind
    function: str | None
    state: PromiseState
    created_at: str
    deadline: str
    settled_at: str | None
    result: Json
    error: str | None
    failure: FailureDocument | None
    retries: list[RetryDocument]
    steps: list[StepDocument]


class RunWithSteps(RunDocument, frozen=True, kw_only=True):
    """A run with all its steps."""

    steps: list[StepDocument]


def workflow_document(one: ServedWorkflow) -> WorkflowDocument:
    """Return a workflow."""
    last = None if one.last_run is None else iso(one.last_run)
    return document_of(WorkflowDocument, one, last_run=last)


def run_document(run: Run, now: int) -> RunDocument:
    """Return a run. `now` is ms since the epoch."""
    return document_of(RunDocument, run, **_run_fields(run, now))


def run_with_steps(run: Run, nodes: Sequence[RunStep], now: int) -> RunWithSteps:
    """Return a run with its steps."""
    steps = [step_document(node) for node in nodes]
    return document_of(RunWithSteps, run, steps=steps, **_run_fields(run, now))


def _run_fields(run: Run, now: int) -> dict[str, Json]:
    """Return the fields of a document that a run lacks, or that have another form."""
    return {
        "run": run.id,
        "workflow": run.id,
        "workflow_name": run.function,
        "prompt": None,
        "age_s": max(now - run.created_at, 0) // 1_000,
        "failure": failure_document(run.failure),
    }


def step_document(node: RunStep, depth: int = 1) -> StepDocument:
    """Return a step with its inner steps; `depth` is its level, from 1."""
    promise = node.promise
    inside = node.children if depth < DEEPEST else []
    settled = promise.state != "pending"
    return StepDocument(
        id=promise.id,
        kind=node.kind,
        function=promise.function,
        state=promise.state,
        created_at=iso(promise.created_at),
        deadline=iso(promise.timeout_at),
        settled_at=iso(promise.settled_at) if promise.settled_at is not None else None,
        result=decode(promise.value) if promise.state == "resolved" else None,
        error=failure_in(promise.value).text if settled and promise.state != "resolved" else None,
        failure=failure_document(failure_in(promise.value) if promise.state == "rejected" else None),
        retries=[document_of(RetryDocument, one) for one in node.retries],
        steps=[document for child in inside for document in _step_documents(child, depth + 1)],
    )


def failure_document(failure: Failure | None) -> FailureDocument | None:
    """Return why a workflow or step failed."""
    return None if failure is None else FailureDocument(**asdict(failure))


def _step_documents(node: RunStep, depth: int) -> Iterator[StepDocument]:
    """Yield a step; at the last level, also all its inner steps."""
    yield step_document(node, depth)
    left = node.children[::-1] if depth == DEEPEST else []
    while left:
        deeper = left.pop()
        yield step_document(deeper, DEEPEST)
        left += reversed(deeper.children)
