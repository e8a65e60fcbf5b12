"""A decision as a person gives it, whichever front end it came through, and what it may carry."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from hitl_cli.client.wire import Json, Verdict
from hitl_cli.errors import BadAnswer, TooLarge

MAX_ANSWER_BYTES = 1_000_000
"""The most data that an answer may carry, as JSON. A decision is not a place to keep files."""

MAX_COMMENT_BYTES = 100_000

MAX_DEPTH = 100
"""How deep data may be nested: what decodes JSON gives up somewhere above a thousand."""

DECODED_KEYS = ("__type", "__py_pickle")
DECODED_TEXTS = ("__INF__", "__NEG_INF__")
"""What the SDKs read as more than JSON: errors, pickled objects, numbers (codec.py, codec.js)."""


class DecisionInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision: a verdict, one of the request's choices, or as one word what its form of one field asks.

    `answer` is a choice, the value of a form with one field, or yes or no. `data` is what the workflow gets.
    It is checked when it is made: BadInput.
    """

    verdict: Verdict | None = None
    data: Any | UnsetType = UNSET
    choice: str | None = None
    answer: str | None = None
    reason: str | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        """Raise BadInput for parts that do not go together, or that cannot be kept."""
        check_comment(self.comment)
        if self.choice is not None and self.answer is not None:
            raise BadAnswer("give choice or answer, not both.")
        if self.verdict == "reject":
            if (self.choice, self.answer, self.data) != (None, None, UNSET):
                raise BadAnswer("a rejection carries no data, choice or answer: give a reason.")
            if self.reason is not None and len(self.reason.encode()) > MAX_ANSWER_BYTES:
                raise TooLarge(f"the reason is too long; an answer may carry {MAX_ANSWER_BYTES:,} bytes.")
            return
        if self.reason is not None:
            raise BadAnswer("a reason goes with a rejection: give a comment.")
        if self.verdict is None and self.choice is None and self.answer is None:
            raise BadAnswer('a verdict is missing: "approve" or "reject"; or a choice, or an answer.')
        if self.data is not UNSET:
            check_data(self.data)


def check_comment(text: str | None) -> None:
    """Raise BadInput for a comment that is too long."""
    if text is not None and len(text.encode(errors="surrogatepass")) > MAX_COMMENT_BYTES:
        raise TooLarge(f"the comment is too long: it may have {MAX_COMMENT_BYTES:,} bytes.")


def check_data(data: Json) -> None:
    """Raise BadInput for data that is too big, or in which an SDK would see more than JSON at any depth."""
    try:
        size = len(msgspec.json.encode(data))
    except RecursionError as error:
        raise BadAnswer("the data is nested too deep, which no workflow could read.") from error
    if size > MAX_ANSWER_BYTES:
        raise TooLarge(f"the data is {size:,} bytes of JSON; an answer may carry {MAX_ANSWER_BYTES:,}.")
    rest = [(data, 1)]
    while rest:
        value, depth = rest.pop()
        if depth > MAX_DEPTH:
            raise BadAnswer(f"the data is nested more than {MAX_DEPTH} deep, which no workflow could read.")
        if isinstance(value, dict):
            for key in DECODED_KEYS:
                if key in value:
                    raise BadAnswer(f"the data has a field {key!r}, which means something else to the SDKs.")
            rest.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            rest.extend((inner, depth + 1) for inner in value)
        elif value in DECODED_TEXTS:
            raise BadAnswer(f"the data has the text {value!r}, which means something else to the SDKs.")
