"""What is shown of deliveries, also of those that an earlier version has recorded."""

from __future__ import annotations

from typing import Any

import msgspec

from hitl_cli.client.tags import NOTICE_TAG, TARGET_TAG
from hitl_cli.client.wire import Promise, encode
from hitl_cli.notify.status import DeliveryAttempt, notifications_of
from hitl_cli.requests.notification import Notification

ASKED = Notification(request="run:1.1", occasion="asked", names=("reviewer", "lead"))


def settled(id: str, result: Any, *, notice: Notification | None = None) -> Promise:
    """Return a promise that is resolved with a result."""
    return msgspec.convert(
        {
            "id": id,
            "state": "resolved",
            "param": msgspec.to_builtins(encode(notice.call)) if notice else {},
            "value": msgspec.to_builtins(encode(msgspec.to_builtins(result))),
            "tags": {NOTICE_TAG: "run:1.1", TARGET_TAG: "poll://any@default"} if notice else {},
            "timeoutAt": 10,
            "createdAt": 1,
            "settledAt": 2,
        },
        Promise,
    )


def attempt(who: str, outcome: Any = "sent") -> DeliveryAttempt:
    """Return an attempt by webhook."""
    return DeliveryAttempt(who=who, at=2, outcome=outcome, channel="webhook")


def test_what_an_earlier_version_has_recorded_step_by_step_is_shown() -> None:
    recorded = [
        settled(ASKED.id, 2, notice=ASKED),
        settled(f"{ASKED.id}.1", ["reviewer", "lead"]),
        settled(f"{ASKED.id}.2", True),
        settled(f"{ASKED.id}.2.1", None),
        settled(f"{ASKED.id}.2.2", attempt("reviewer", "failed")),
        settled(f"{ASKED.id}.2.3", attempt("reviewer")),
        settled(f"{ASKED.id}.3", True),
        settled(f"{ASKED.id}.3.1", None),
        settled(f"{ASKED.id}.3.2", attempt("lead", "over")),
    ]
    [told] = notifications_of("run:1.1", recorded)
    assert (told.who, told.standing) == ("reviewer", "told")
    assert [tried.outcome for tried in told.tries] == ["failed", "sent"]


def test_what_is_recorded_without_steps_is_shown() -> None:
    [told] = notifications_of("run:1.1", [settled(ASKED.id, [attempt("reviewer")], notice=ASKED)])
    assert (told.who, told.standing) == ("reviewer", "told")
    [told] = notifications_of("run:1.1", [settled(ASKED.id, [attempt("reviewer", "failed")], notice=ASKED)])
    assert (told.who, told.standing) == ("reviewer", "not told")
    assert notifications_of("run:1.1", [settled(ASKED.id, [attempt("reviewer", "over")], notice=ASKED)]) == ()
    assert notifications_of("run:1.1", [settled(ASKED.id, [], notice=ASKED)]) == ()
