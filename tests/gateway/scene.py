"""Data for the pages: typical open requests and decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acting import approval, comment, decide
from tests.cli.past import DAY_MS, HOUR_MS, MINUTE_MS, Past

if TYPE_CHECKING:
    from tests.conftest import Hitl

PERSON = "reviewer"
"""Who looks."""

RELEASE = "release-1.4.2:3.1"
CONTRACT = "contract-88:1.1"
EXPENSE = "expense-2117:1.1"
DECIDED = "release-1.4.1:3.1"

ROLLOUT: dict[str, Any] = {
    "type": "object",
    "required": ["percent", "window"],
    "properties": {
        "percent": {
            "type": "integer",
            "title": "Share of users",
            "description": "In percent. The rest follows a day later.",
            "minimum": 1,
            "maximum": 100,
            "default": 20,
        },
        "window": {"enum": ["now", "tonight", "next week"], "title": "When"},
        "on": {"type": "string", "format": "date", "title": "Not before"},
        "announce": {"type": "boolean", "title": "Announce it to customers", "default": False},
        "contact": {
            "type": "object",
            "title": "Who stands by",
            "properties": {
                "role": {"type": "string", "title": "Role", "default": "ops"},
                "phone": {"type": "string", "title": "Phone"},
            },
        },
        "regions": {"type": "array", "items": {"enum": ["eu", "us", "asia"]}, "title": "Regions"},
    },
}

PROMPT = """Deploy **1.4.2** to production?

It brings the new search, and two fixes that customers wait for:

- exports larger than 2 GB no longer stop half-way
- the second factor can be reset by support

All 1,284 tests pass. The last release took 6 minutes, and was not rolled back."""

STAND = {"stand": "12 m², hall 3", "days": 3, "last year": "980 EUR, 41 new customers"}

BUDGET: dict[str, Any] = {
    "type": "object",
    "required": ["amount", "budget"],
    "properties": {
        "amount": {
            "type": "integer",
            "title": "Amount in EUR",
            "minimum": 1,
            "maximum": 5_000,
            "default": 1_240,
        },
        "budget": {"enum": ["sales", "marketing"], "title": "Budget"},
    },
}

LONG_WORD = "a-name-of-a-workflow-that-somebody-made-" * 3


def fill(hitl: Hitl) -> None:
    """Have people be asked, answer, vote and remark, over the last two weeks."""
    with Past(hitl, 15 * DAY_MS + 20_000) as past:
        answer_many(past)
        past.now += DAY_MS - 20 * MINUTE_MS
        past.run("release-1.4.1", "deploy", "1.4.1", by="ops")
        past.step("release-1.4.1:1", "release-1.4.1", "build", {"image": "web:1.4.1"})
        past.ask(DECIDED, "Deploy **1.4.1** to production?", to=[PERSON], form=ROLLOUT)
        past.now += 20 * MINUTE_MS
        comment(past.client, DECIDED, "The freeze ends at *noon*.", by="lead", via="cli")
        data = {"percent": 20, "window": "now", "contact": {"role": "ops"}, "regions": ["eu"]}
        past.approve(DECIDED, by=PERSON, data=data, comment="Go.")
        past.approve("release-1.4.1", by=None, data={"deployed": "1.4.1"})
        past.run("import-7", "import", "customers.csv", by="support")
        past.reject("import-7", by=None, reason="row 118 has no address")
        past.now += 23 * HOUR_MS + 11 * MINUTE_MS
        ask_many(past)


def answer_many(past: Past) -> None:
    """Have two weeks of requests answered, a few of them not with a yes."""
    for n in range(18):
        past.now += 16 * HOUR_MS
        id = f"expense-{2_040 + n}:1.1"
        past.ask(id, f"Approve {90 + n * 37 % 800} EUR for travel?")
        took_ms = (3 + n * n % 190) * MINUTE_MS
        past.now += took_ms
        if n % 9 == 1:
            past.reject(id, by="lead", reason="Please book the earlier train.")
        elif n % 9 == 5:
            past.reject(id, by="sales", reason="The trip is off.", state="rejected_canceled")
        else:
            past.approve(id, by=(PERSON, "lead", "finance")[n % 3])
        past.now -= took_ms


def ask_many(past: Past) -> None:
    """Ask what waits now, the oldest more than a day ago."""
    past.run("contract-88", "contract", "data centre", by="finance")
    past.ask(
        CONTRACT,
        "Sign the contract with the new data centre?",
        approvals=2,
        life_ms=5 * DAY_MS,
        details={"costs": "4,200 EUR a month", "ends": "2028-12-31", "notice": "3 months"},
    )
    decide(past.client, CONTRACT, approval(by="lead", via="web", comment="The price is fair."))
    past.now += 20 * HOUR_MS
    past.run("post-november", "publish", "november.md", by="editor")
    past.ask(
        "post-november:1.1",
        "Publish *What is new in November*?",
        choices=["publish", "hold back"],
        to=[PERSON],
        life_ms=2 * DAY_MS,
    )
    past.now += 3 * HOUR_MS
    past.run("expense-2117", "expense", 1_240, by="sales")
    past.ask(
        EXPENSE,
        "Approve **1,240 EUR** for the stand at the fair?",
        form=BUDGET,
        life_ms=3 * DAY_MS,
        details=STAND,
    )
    past.now += HOUR_MS
    past.run("release-1.4.2", "deploy", "1.4.2", by="ops")
    past.step("release-1.4.2:1", "release-1.4.2", "build", {"image": "web:1.4.2", "minutes": 4})
    past.step("release-1.4.2:2", "release-1.4.2", "check", "1,284 passed")
    past.ask(RELEASE, PROMPT, form=ROLLOUT, to=[PERSON], priority="high", life_ms=6 * HOUR_MS, key="release")
    comment(past.client, RELEASE, "Looks good on *staging* since yesterday.", by="qa", via="web")
    past.now += 45 * MINUTE_MS
    past.run("unblock-4471", "unblock", "4471", by="support")
    past.ask(
        "unblock-4471:1.1",
        "Unblock account 4471? Its owner has shown an id.",
        priority="urgent",
        life_ms=30 * MINUTE_MS,
    )
    past.now += 4 * MINUTE_MS


def add_long(hitl: Hitl) -> None:
    """Add texts that are too long for any screen."""
    with Past(hitl, HOUR_MS) as past:
        past.run(LONG_WORD, LONG_WORD, LONG_WORD, by=LONG_WORD)
        past.step(f"{LONG_WORD}:1", LONG_WORD, LONG_WORD, [LONG_WORD])
        past.ask(f"{LONG_WORD}:2", LONG_WORD, to=[PERSON, LONG_WORD], details={LONG_WORD: LONG_WORD * 9})
        past.ask(f"{LONG_WORD}:3", LONG_WORD)
        past.approve(f"{LONG_WORD}:3", by=LONG_WORD, data=LONG_WORD, comment=LONG_WORD)
