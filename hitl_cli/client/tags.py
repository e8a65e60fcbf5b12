"""Tags of promises, of the protocol and of hitl, and the names of hitl's internal functions."""

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

AMENDS_TAG = "hitl:amends"
"""On an amendment of a request, such as other assignees (hitl_cli/inbox/amendments.py): its id."""

DEADLINE_TAG = "hitl:deadline"
"""On a request whose deadline can be moved: its first deadline, in ms since the epoch."""

EXTEND_TAG = "hitl:extend"
"""On the same requests, so that one search finds them."""

CLAIM_TAG = "hitl:claim"
"""On a claim, whose promise is pending while it holds: so one search finds the claims of all requests."""

THREAD_TAG = "hitl:thread"
"""On what was asked back about a request, and on its answers: the id of the request."""

ASKED_BACK_TAG = "hitl:asked-back"
"""On what was asked back, which is pending until it is answered."""

SAID_TAG = "hitl:said"
"""On every record under a request, so that the latest records are found with one search."""

USED_TAG = "hitl:used"
"""On the record of the use of an approval that may be used once: the id of its request."""

REVOKED_TAG = "hitl:revoked"
"""On a record that revokes the links of a request (hitl_cli/auth/links.py)."""

NOTICE_TAG = "hitl:notice"
"""The id of the request that a notification is about."""

REQUEST_TAG = "hitl:request"
"""On every request that was created by `ask` or `hitl ask`."""

LOG_TAG = "hitl:log"
"""On the pieces of the log of all decisions, and on its checkpoints (hitl_cli/ledger/log.py)."""

LOG_PREFIX = "hitl-log-"
CHECKPOINT_PREFIX = "hitl-checkpoint-"
"""The beginning of the ids of those promises, which no run or request can have."""

RETRY_TAG = "hitl:retry"
"""On the record of a failed attempt: the id of the step that is retried."""

TELL = "hitl.tell"

DIGEST = "hitl.digest"

CALL_BACK = "hitl.call-back"
"""Posts the decision on a request to its callback."""

TAKE_BACK = "hitl.take-back"
"""Cancels the requests that a function left pending when it ended."""

TAKE_BACK_SEGMENT = "t-left"
"""The last part of the id of that call, which is under the function's."""

INTERNAL_FUNCTIONS = frozenset({TELL, DIGEST, CALL_BACK, TAKE_BACK})
"""Durable functions that workers run for hitl itself. They are not listed as workflows."""

NOTIFICATION_ID = re.compile(r":(.*\.)?t-[a-z]+(-[0-9]+)?(\.|$)")
"""Matches the ids of notifications and of `TAKE_BACK`, and of their steps. The SDK's own ids are numbers."""


def lineage(
    branch: str, *, scope: Literal["global", "local"], origin: str | None = None, parent: str | None = None
) -> dict[str, str]:
    """Return the tags that place a promise in a call tree; origin and parent default to the branch.

    On servers other than hitl's, a promise without a target needs the scope `global` so that it can be
    settled from outside.
    """
    return {
        SCOPE_TAG: scope,
        ORIGIN_TAG: branch if origin is None else origin,
        BRANCH_TAG: branch,
        PARENT_TAG: branch if parent is None else parent,
    }


def belongs_to_notification(id: str) -> bool:
    """Whether an id is that of a notification, of a `TAKE_BACK`, or of a step of either."""
    return NOTIFICATION_ID.search(id) is not None
