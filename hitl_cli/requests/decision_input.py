"""A decision as a person gives it through any front end, and the limits on its content."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hitl_cli.client.wire import Json, Verdict
from hitl_cli.errors import BadAnswer, TooLarge

MAX_ANSWER_BYTES = 1_000_000
"""Most data of an answer, as JSON. Files do not belong in a decision."""

MAX_COMMENT_BYTES = 100_000

MAX_DEPTH = 100
"""Deepest nesting of data. JSON decoders fail somewhere above a thousand levels."""

DECODED_KEYS = ("__type", "__py_pickle")
DECODED_TEXTS = ("__INF__", "__NEG_INF__")
"""Keys and texts that the SDKs decode as errors, pickled objects or numbers (codec.py, codec.js)."""


class DecisionInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A decision as a person gives it: a verdict, a choice, or an answer.

    Creating one that is not valid raises BadInput.
    """

    verdict: Verdict | None = None
    data: Annotated[Any | UnsetType, Meta(description="Data for the workflow, which must fit the form.")] = (
        UNSET
    )
    arguments: Annotated[
        Any | UnsetType,
        Meta(
            description="The arguments to approve: those of the request, or changed ones if it is `editable`."
        ),
    ] = UNSET
    choice: Annotated[str | None, Meta(description="One of the choices, instead of a verdict.")] = None
    answer: Annotated[
        str | None,
        Meta(
            description="The answer as one text: a choice, the value of a form with a single field, or yes"
            " or no."
        ),
    ] = None
    reason: Annotated[str | None, Meta(description="Reason of a rejection, which the workflow gets.")] = None
    comment: Annotated[str | None, Meta(description="Comment to store with the decision.")] = None
    for_: Annotated[
        str | UnsetType,
        Meta(
            description="With an approval: also create the standing rule that the request offers, for this"
            " duration."
        ),
    ] = UNSET
    unless_claimed: Annotated[
        bool | UnsetType, Meta(description="Refuse it (409) if somebody else has claimed the request.")
    ] = UNSET
    """Both UNSET, so that a decision without them is encoded as before, for the Idempotency-Key."""

    def __post_init__(self) -> None:
        """Raise BadInput for fields that exclude each other, or that are too large."""
        check_comment(self.comment)
        if self.choice is not None and self.answer is not None:
            raise BadAnswer("give choice or answer, not both.")
        if self.for_ is not UNSET and self.verdict != "approve":
            raise BadAnswer("for needs the verdict approve.")
        if self.verdict == "reject":
            if (self.choice, self.answer, self.data, self.arguments) != (None, None, UNSET, UNSET):
                raise BadAnswer("a rejection carries no data, arguments, choice or answer: give a reason.")
            if self.reason is not None and len(self.reason.encode()) > MAX_ANSWER_BYTES:
                raise TooLarge(f"the reason is too long: at most {MAX_ANSWER_BYTES:,} bytes are allowed.")
            return
        if self.reason is not None:
            raise BadAnswer("a reason needs a rejection: give a comment instead.")
        if self.verdict is None and self.choice is None and self.answer is None:
            raise BadAnswer('a verdict ("approve" or "reject"), a choice or an answer is missing.')
        self._check_data()

    def _check_data(self) -> None:
        """Raise BadInput for data or arguments that exclude each other, or cannot be stored."""
        if self.data is not UNSET and self.arguments is not UNSET:
            raise BadAnswer("give data or arguments, not both.")
        for given in (self.data, self.arguments):
            if given is not UNSET:
                check_data(given)


def check_comment(text: str | None, what: str = "comment") -> None:
    """Raise BadInput for a comment, or another text of a person, that is too long."""
    if text is not None and len(text.encode(errors="surrogatepass")) > MAX_COMMENT_BYTES:
        raise TooLarge(f"the {what} is too long: at most {MAX_COMMENT_BYTES:,} bytes are allowed.")


def check_data(data: Json) -> None:
    """Raise BadInput for data that is too large or too deep, or that an SDK would not read as plain JSON."""
    try:
        size = len(msgspec.json.encode(data))
    except RecursionError as error:
        raise BadAnswer("the data is nested too deeply for a workflow to read.") from error
    if size > MAX_ANSWER_BYTES:
        raise TooLarge(f"the data is {size:,} bytes of JSON: at most {MAX_ANSWER_BYTES:,} are allowed.")
    rest = [(data, 1)]
    while rest:
        value, depth = rest.pop()
        if depth > MAX_DEPTH:
            raise BadAnswer(f"the data is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(value, dict):
            for key in DECODED_KEYS:
                if key in value:
                    raise BadAnswer(f"the data has a field {key!r}, which is reserved by the SDKs.")
            rest.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            rest.extend((inner, depth + 1) for inner in value)
        elif value in DECODED_TEXTS:
            raise BadAnswer(f"the data has the text {value!r}, which is reserved by the SDKs.")
