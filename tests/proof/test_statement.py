"""What is signed is all that a person was shown and said: any change of it, or of its record, is noticed."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl_cli.client.wire import Promise, Proof, Vote, audit_of, decode, encode
from hitl_cli.format.canonical_json import canonical
from hitl_cli.inbox.votes import settle_request
from hitl_cli.proof import ssh
from hitl_cli.proof.checking import check_decision, deciding_votes
from hitl_cli.proof.statement import asked_digest, statement_of
from hitl_cli.requests.question import Question, question_of
from tests.docs.pages import ROOT
from tests.proof.signers import directory, key, public

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.wire import Audit, Json
    from hitl_cli.engine.records import Value

PEOPLE = directory().members
AT = 1_795_784_400_000

TAGS = {"resonate:origin": "run-1", "hitl:workflow": "pay", "hitl:key": "k", "team": "shop"}

QUESTION: dict[str, Any] = {
    "prompt": "Pay the invoice?",
    "details": {
        "sum": {"$view": "diff", "text": "-1\n+2"},
        "logo": {"$view": "image", "url": "https://a/b.png"},
    },
    "arguments": {"amount": 4000},
    "argumentsDigest": "d",
    "editable": {"properties": {"amount": {"type": "integer"}}},
    "form": {"type": "object"},
    "choices": ["now", "later"],
    "to": ["lead"],
    "approvals": 2,
    "approvalsBy": {"lead": 1, "ops": 1},
    "allowSelf": False,
    "onDeadline": "reject",
    "validFor": 1000,
    "once": True,
    "proof": "signed",
    "policy": ["pay-*"],
    "remind": 1000,
    "escalate": [{"after": 1000, "to": ["ops"]}],
    "priority": "high",
    "link": "https://example.org",
    "digest": {"sha256": "a" * 64, "file": "f"},
    "callback": "https://example.org/c",
    "offer": {"where": {"a": 1}, "longest": 1000},
    "code": {"digest": "c", "hitl": "1", "since": 1},
    "reassign": "assignees",
    "extend": 1000,
    "granted": ["extend"],
    "private": ["details.a"],
    "replaces": "r",
    "refused": {"why": "w", "data": 1, "by": "ops", "at": 1},
}
"""Every field of a question, so that none is shown that is not signed."""

RUN = Promise(
    id="run-1",
    state="pending",
    timeout_at=AT * 2,
    param=encode({"func": "pay", "args": [7], "kwargs": {"a": 1}, "version": 1}, {"hitl:by": "agent"}),
    tags={"resonate:target": "poll://any@default", "resonate:origin": "run-1"},
)


def request(question: Json) -> Promise:
    return Promise(
        id="run-1:1.1",
        state="pending",
        timeout_at=AT + 1000,
        created_at=AT - 1000,
        param=encode(question, {"hitl:by": "agent"}),
        tags={"hitl:request": "1"} | TAGS,
    )


def decided(promise: Promise, votes: tuple[Vote, ...], audit: Audit) -> Promise:
    """Return a request that the last vote settled."""
    if len(votes) > 1:
        audit = msgspec.structs.replace(audit, votes=votes)
    settling = settle_request(promise, votes[-1], audit).data
    return msgspec.structs.replace(promise, state=settling["state"], value=settling["value"], settled_at=AT)


def signed(promise: Promise, *people: str) -> Promise:
    """Return a request that people have approved and signed."""
    from hitl_cli.client.wire import Audit

    votes: list[Vote] = []
    for number, person in enumerate(people):
        at, decision = AT + number, f"decision-{number}"
        vote = Vote(by=person, verdict="approve", at=at, data={"amount": 5}, choice="now", comment="fine")
        stated = statement_of(promise, RUN, vote, decision, at).canonical()
        proof = Proof(kind="ssh", decision=decision, at=at, signature=ssh.sign(key(person), stated))
        votes.append(msgspec.structs.replace(vote, proof=proof))
    last = votes[-1]
    assert last.proof is not None
    audit = Audit(
        id=last.proof.decision, by=last.by, via="cli", at=last.at, comment=last.comment, proof=last.proof
    )
    return decided(promise, tuple(votes), audit)


ONE = signed(request(QUESTION | {"approvals": 1, "approvalsBy": {}}), "lead")
TWO = signed(request(QUESTION), "lead", "ops")


def states(promise: Promise, run: Promise | None = RUN) -> set[str]:
    return {one.state for one in check_decision(promise, run, PEOPLE)}


def test_every_field_of_a_question_is_in_the_example() -> None:
    assert QUESTION.keys() == set(Question.__struct_encode_fields__)
    assert states(ONE) == states(TWO) == {"proven"}


def test_the_vectors_of_the_documentation_are_what_is_signed() -> None:
    page = (ROOT / "docs" / "reference" / "proof.md").read_text().partition("### Test vectors")[2]
    blocks = [part.partition("\n")[2] for part in page.split("```")[1::2]]
    asked, statement, signature = blocks[0].strip(), blocks[1].strip().encode(), blocks[2]
    shown = msgspec.json.decode(asked)
    tags = {"hitl:request": "1", "resonate:origin": shown["run"], "hitl:key": shown["key"], **shown["tags"]}
    promise = Promise(
        id=shown["id"],
        state="pending",
        timeout_at=shown["deadline"],
        created_at=shown["created"],
        param=encode(shown["question"], {"hitl:by": shown["by"]}),
        tags=tags,
    )
    vote = Vote(by="lead", verdict="approve", at=AT, data=True, comment="go")
    stated = statement_of(promise, None, vote, "4f1d", AT)
    assert (canonical(shown), stated.canonical()) == (asked.encode(), statement)
    assert all(f"`{one}`" in page for one in (stated.asked, sha256(statement).hexdigest()))
    public_key = page.partition("The key `")[2].partition("`")[0]
    assert ssh.verify(signature, statement, [public_key]) is not None


def paths(value: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where each value in a JSON document is."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(found for name, one in inner for found in paths(one, (*at, name)))]


def put_at(value: Json, path: tuple[Any, ...], change: Callable[[Json], Json]) -> Json:
    """Return a JSON document with one value changed, or removed."""
    if not path:
        return change(value)
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put_at(copied[path[0]], path[1:], change)
    return copied


JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), lambda one: (
    st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=3), one, max_size=2)
), max_leaves=4)  # fmt: skip


def same(one: Json, other: Json) -> bool:
    return canonical(one) == canonical(other)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_any_change_of_what_was_asked_is_another_request(data: st.DataObject) -> None:
    before = {
        "question": QUESTION,
        "call": decode(RUN.param),
        "id": ONE.id,
        "key": "k",
        "workflow": "pay",
        "team": "shop",
        "run": "run-1",
        "asker": "agent",
        "deadline": ONE.timeout_at,
        "created": ONE.created_at,
    }
    path = data.draw(st.sampled_from(paths(before)[1:]))
    old = before
    for name in path:
        old = old[name]
    kind = {int: st.integers(0, 2**45), str: st.text(min_size=1, max_size=5)}
    strategy = JSON if path[0] in ("question", "call") else kind[type(old)]
    new = data.draw(strategy)
    after = put_at(before, path, lambda _: new)

    def digest(facts: Json) -> str:
        tags = {"resonate:origin": facts["run"], "hitl:workflow": facts["workflow"], "hitl:key": facts["key"]}
        promise = msgspec.structs.replace(
            ONE,
            id=facts["id"],
            created_at=facts["created"],
            timeout_at=facts["deadline"],
            param=encode(facts["question"], {"hitl:by": facts["asker"]}),
            tags={**tags, "team": facts["team"]},
        )
        run = msgspec.structs.replace(RUN, param=encode(facts["call"]))
        return asked_digest(promise, run)

    assert (digest(after) == digest(before)) == same(old, new)


HEADERS = ("hitl:id", "hitl:by", "hitl:at", "hitl:comment", "hitl:choice", "hitl:votes", "hitl:proof")


@pytest.mark.parametrize("whole", [ONE, TWO], ids=["one", "two"])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_change_of_an_answer_of_a_vote_or_of_a_header_is_noticed(
    whole: Promise, data: st.DataObject
) -> None:
    assert whole.value is not None
    headers: dict[str, str] = whole.value.headers or {}
    name = data.draw(st.sampled_from([None, "state", "rule", *(one for one in HEADERS if one in headers)]))
    if name is None:
        answer = data.draw(JSON)
        value, unchanged = encode(answer, headers), same(answer, decode(whole.value))
    elif name == "rule":
        value, unchanged = _with(whole, headers | {"hitl:rule": "r"}), False
    elif name == "state":
        value, unchanged = encode({"__type": "error", "message": "no"}, headers), False
    elif name in ("hitl:votes", "hitl:proof"):
        document = msgspec.json.decode(headers[name])
        names = [one for one in paths(document) if one and isinstance(one[-1], str)]
        path = data.draw(st.sampled_from(names))
        old = document
        for part in path:
            old = old[part]
        new = data.draw(st.integers(0, 2**45) if isinstance(old, int) else st.text(max_size=9))
        changed = put_at(document, path, lambda _: new)
        value = _with(whole, headers | {name: msgspec.json.encode(changed).decode()})
        unchanged = same(document, changed)
    else:
        texts = st.text(st.characters(codec="utf-8"), max_size=9)
        new = data.draw(texts | st.integers(0, 2**45).map(str))
        value, unchanged = _with(whole, headers | {name: new}), new == headers[name]
    state = "rejected" if name == "state" else whole.state
    assert (states(msgspec.structs.replace(whole, value=value, state=state)) == {"proven"}) == unchanged


def _with(whole: Promise, headers: dict[str, str]) -> Value:
    assert whole.value is not None
    return msgspec.structs.replace(whole.value, headers=headers)


def test_a_header_that_is_missing_is_noticed() -> None:
    for whole in (ONE, TWO):
        assert whole.value is not None
        headers = whole.value.headers or {}
        for name in HEADERS:
            if name in headers:
                less = {other: text for other, text in headers.items() if other != name}
                changed = msgspec.structs.replace(whole, value=_with(whole, less))
                assert states(changed) != {"proven"}, name
        assert len(deciding_votes(whole)) == len(audit_of(whole).votes) or whole is ONE


def test_another_run_or_none_is_noticed() -> None:
    other = msgspec.structs.replace(RUN, param=encode({"func": "pay", "args": [8]}, {"hitl:by": "agent"}))
    assert states(ONE, other) == states(ONE, None) == {"wrong"}


def test_the_same_person_is_not_two() -> None:
    from hitl_cli.inbox.proof import why_unproven
    from hitl_cli.inbox.request_summary import RequestSummary

    promise = request({"prompt": "Pay?", "approvals": 2, "proof": "signed"})
    votes = audit_of(signed(promise, "lead", "ops")).votes
    twice = msgspec.structs.replace(
        audit_of(signed(promise, "lead")), votes=(votes[0], *deciding_votes(signed(promise, "lead")))
    )
    value = encode({"amount": 5}, twice.headers())
    forged = msgspec.structs.replace(promise, state="resolved", value=value, settled_at=AT)
    question = question_of(promise)
    item = RequestSummary(promise=forged, question=question, run=RUN, now=AT)
    assert why_unproven(item, PEOPLE) is not None
    assert public("lead") != public("lead2")
