"""The tags that hitl puts on promises, and the durable functions that it runs for itself."""

from __future__ import annotations

import re

COMMENT_TAG = "hitl:comment"


VOTE_TAG = "hitl:vote"


SAID_TAG = "hitl:said"
"""On all that was said of any request, so that what was said last is found without looking at each."""


REVOKED_TAG = "hitl:revoked"
"""What says that links of a request are good no longer (hitl_cli/auth/links.py)."""


NOTICE_TAG = "hitl:notice"
"""The id of the request that somebody is told of."""


TELL = "hitl.tell"


DIGEST = "hitl.digest"


INTERNAL_FUNCTIONS = frozenset({TELL, DIGEST})
"""Durable functions that a worker runs for hitl itself: nobody starts them, and they are no news."""


NOTIFICATION_ID = re.compile(r":(.*\.)?t-[a-z]+(-[0-9]+)?(\.|$)")
"""What is in the id of a notice, and of all its steps, after that of the run: an SDK's own are numbers."""


def belongs_to_notification(id: str) -> bool:
    """Whether a promise is a notice, or a step of one."""
    return NOTIFICATION_ID.search(id) is not None
