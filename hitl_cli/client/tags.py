"""The tags of promises, the protocol's and hitl's own, and the functions that hitl runs for itself."""

from __future__ import annotations

import re
from typing import Literal

ORIGIN_TAG = "resonate:origin"
BRANCH_TAG = "resonate:branch"
PARENT_TAG = "resonate:parent"
SCOPE_TAG = "resonate:scope"
TARGET_TAG = "resonate:target"
EXTERNAL_TAG = "resonate:external"
TIMER_TAG = "resonate:timer"

RESERVED_TAGS = ("resonate:", "hitl:")
"""Prefixes of the tags that a workflow's author cannot set."""

COMMENT_TAG = "hitl:comment"

VOTE_TAG = "hitl:vote"

SAID_TAG = "hitl:said"
"""On all that was said of any request, so that what was said last is found without looking at each."""

REVOKED_TAG = "hitl:revoked"
"""What says that links of a request are good no longer (hitl_cli/auth/links.py)."""

NOTICE_TAG = "hitl:notice"
"""The id of the request that somebody is told of."""

REQUEST_TAG = "hitl:request"
"""On what was asked of people by `ask`, or as `ask` does."""

RETRY_TAG = "hitl:retry"
"""The id of the step that failed and is tried again, on the record of that."""

TELL = "hitl.tell"

DIGEST = "hitl.digest"

TAKE_BACK = "hitl.take-back"
"""Cancels what a function left behind when it ended."""

TAKE_BACK_SEGMENT = "t-left"
"""The last part of the id of that call, which is below the function."""

INTERNAL_FUNCTIONS = frozenset({TELL, DIGEST, TAKE_BACK})
"""Durable functions that a worker runs for hitl itself: nobody starts them, and they are no news."""

NOTIFICATION_ID = re.compile(r":(.*\.)?t-[a-z]+(-[0-9]+)?(\.|$)")
"""What is in the id of a notice or of a `TAKE_BACK`, and of all their steps: an SDK's own are numbers."""


def lineage(
    branch: str, *, scope: Literal["global", "local"], origin: str | None = None, parent: str | None = None
) -> dict[str, str]:
    """Return the tags that place a promise in a call tree; origin and parent default to the branch.

    On a server other than ours, `global` is what makes a promise without a target wait for a settlement
    from outside.
    """
    return {
        SCOPE_TAG: scope,
        ORIGIN_TAG: branch if origin is None else origin,
        BRANCH_TAG: branch,
        PARENT_TAG: branch if parent is None else parent,
    }


def belongs_to_notification(id: str) -> bool:
    """Whether a promise is a notice or a `TAKE_BACK`, or a step of one."""
    return NOTIFICATION_ID.search(id) is not None
