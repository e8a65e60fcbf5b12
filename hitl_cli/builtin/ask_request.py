"""`ask`: ask a person, and return the decision. Every SDK in every language can call it.

const decision = await ctx.rpc("ask", { prompt: "Ship 1.4.2?", to: ["reviewer"] }, options)
"""

# Annotations are evaluated here, not kept as text: the SDK would evaluate text again at each step
# (resonate/durable.py, _resolve_annotation), which costs more than the step itself.

from typing import TYPE_CHECKING, Any

import msgspec
from resonate.context import Context

from hitl_cli.authoring.ask import ask
from hitl_cli.inspected import inspected
from hitl_cli.requests.demand import OnUnproven
from hitl_cli.requests.question import Instead, not_askable
from hitl_cli.requests.question_input import QuestionInput
from hitl_cli.views.decision import decision_document

if TYPE_CHECKING:
    from hitl_cli.requests.decision import Decision


class _AskArguments(QuestionInput, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The argument of the workflow: the fields of a request, and also reminders and escalation."""

    on_unproven: OnUnproven = "fail"
    remind: str | None = None
    escalate: dict[str, str | tuple[str, ...]] | None = None


_OWN = ("id", "callback", "prompt")
"""The fields that are not options of `ask`."""


async def ask_request(ctx: Context, request: Any = None, **fields: Any) -> dict[str, Any]:
    """Ask a person, wait for the decision, and return it as JSON. A rejection does not fail the run.

    `request` has the fields of `POST /api/v1/requests` except `id`, and `on_unproven`, `remind` and
    `escalate` as in `ask`. A string is the prompt. The same fields may be given by name.
    """
    asked = _read(request, fields)
    options = {name: value for name, value in msgspec.structs.asdict(asked).items() if name not in _OWN}
    if isinstance(asked.on_deadline, Instead):
        options["on_deadline"] = asked.on_deadline.value
    decision: Decision[Any] = await ask(ctx, asked.prompt, **options)
    return decision_document(decision)


def _read(request: Any, fields: dict[str, Any]) -> _AskArguments:
    """Return what to ask. Raises BadInput."""
    given = {"prompt": request} if isinstance(request, str) else request or {}
    if not isinstance(given, dict):
        raise not_askable('give an object such as {"prompt": "Deploy?"}, or a text.')
    try:
        asked = msgspec.convert(given | fields, inspected(_AskArguments))
    except msgspec.ValidationError as error:
        raise not_askable(f"{error}.") from error
    if asked.id is not None:
        raise not_askable("the run has the id: a request of it cannot have another one. Use key.")
    if asked.callback is not None:
        raise not_askable("the run gets the decision: a request of it cannot have a callback.")
    return asked
