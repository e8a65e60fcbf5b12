"""Approving with a change: what may be changed, what is kept, and which votes count together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import decode, encode
from hitl_cli.errors import BadInput, NotCovered, RunFailed
from hitl_cli.forms import problems
from hitl_cli.forms.submission import at_first, read
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.inbox.history import history
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.requests.decision import decision_by_deadline
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import answer_form, changed, shape_of, surely_fits
from hitl_cli.requests.question import Instead, Question, question_of, sensible
from tests.acting import approval, decide, rejection
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.requests.decision import Decision

ARGUMENTS: dict[str, Any] = {
    "amount": 120,
    "to": "acct-1",
    "note": "a\r\nb",
    "more": {"city": "X", "zip": "1"},
}
EDITABLE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "maximum": 500},
        "note": {"type": "string"},
        "extra": {"type": "string", "default": "none"},
        "to": {"type": "string", "readOnly": True},
        "more": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
HOUR_MS = 3_600_000


def ask(client: Client, id: str, **options: Any) -> None:
    options = {"prompt": "Pay?", "arguments": ARGUMENTS, "editable": EDITABLE} | options
    Inbox(client, Actor(person="asker", via="test")).ask(Question(**options), id=id, deadline_ms=HOUR_MS)


def yes(client: Client, id: str, by: str = "ada", **options: Any) -> Any:
    return decide(client, id, approval(by=by, via="test", **options))


def decision(client: Client, id: str) -> Decision[Any]:
    promise = promise_of(client, id)
    question = question_of(promise)
    assert question is not None
    return decision_of(promise, question, NO_GROUPS)


def test_a_change_is_what_is_approved(client: Client) -> None:
    ask(client, "a")
    new = ARGUMENTS | {"amount": 80}
    Inbox(client, Actor(person="ada", via="test")).decide(
        "a", DecisionInput(verdict="approve", arguments=new)
    )
    made = decision(client, "a")
    assert (made.arguments, made.data, made.changed) == (new, new, True)
    made.covers(new)
    with pytest.raises(NotCovered) as refused:
        made.covers(ARGUMENTS)
    assert refused.value.code == "not-covered"
    [entry], _ = history(client)
    assert [one.sentence for one in entry.changes] == ["amount: 120 → 80"]


def test_a_plain_yes_approves_the_arguments_as_they_are(client: Client) -> None:
    ask(client, "a")
    yes(client, "a")
    made = decision(client, "a")
    assert (made.arguments, made.changed) == (ARGUMENTS, False)
    made.covers(ARGUMENTS)
    assert decode(promise_of(client, "a").value) == ARGUMENTS


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (ARGUMENTS | {"amount": 900}, "amount"),
        (ARGUMENTS | {"to": "acct-2"}, "to"),
        ({name: value for name, value in ARGUMENTS.items() if name != "to"}, "to"),
        (ARGUMENTS | {"more": {"city": "X", "zip": "2"}}, "more.zip"),
        (ARGUMENTS | {"new": 1}, "new"),
        ({}, "to"),
        ([], "object"),
        (True, "object"),
    ],
)
def test_what_may_not_be_changed_is_refused_with_its_field(
    client: Client, arguments: Json, field: str
) -> None:
    ask(client, "a")
    for said in ({"arguments": arguments}, {"data": arguments}):
        with pytest.raises(BadInput) as refused:
            decide(client, "a", approval(by="ada", via="test", **said))
        assert refused.value.code == "does-not-fit-form"
        assert field in str(refused.value)
    assert promise_of(client, "a").state == "pending"


@pytest.mark.parametrize(
    "options",
    [
        {"arguments": None},
        {"arguments": [1]},
        {"form": {"type": "object"}},
        {"arguments": ARGUMENTS | {"amount": 501}},
        {"editable": {"type": 7}},
        {"editable": {"$ref": "https://example.org/x"}},
        {
            "arguments": {"rows": [{"a": 1, "hidden": 2}]},
            "editable": {
                "properties": {
                    "rows": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"a": {"type": "integer"}}},
                    }
                }
            },
        },
    ],
)
def test_what_nobody_could_approve_is_not_asked(client: Client, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        ask(client, "a", **options)
    assert refused.value.code in ("bad-question", "bad-form")


CLOSED: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "additionalProperties": False,
}
ODD: dict[str, Any] = {"amount": 120, "to": "acct-1", "more": {"city": "X", "zip": "1"}, "list": [{"a": 1}]}
NODE = {"type": "object", "properties": {"city": {"type": "string"}, "next": {"$ref": "#/$defs/node"}}}

UNCERTAIN: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"minProperties": 1},
    {"properties": {}},
    {"patternProperties": {"^a": {}}},
    {"additionalProperties": {"type": ["integer", "string", "object", "array"]}},
    {"if": {"properties": {"amount": {"const": 1}}}, "then": {"properties": {"to": {"type": "string"}}}},
    {"$ref": "#/$defs/any", "$defs": {"any": {"type": "object"}}},
    {"$ref": "#any", "$defs": {"any": {"$anchor": "any", "properties": {"amount": {}}}}},
    {"anyOf": [{"properties": {"amount": {}}}, {"properties": {"to": {}}}]},
    {"properties": {"amount": {}}, "patternProperties": {"^t": {}}},
    {"properties": {"amount": {}}, "additionalProperties": {"type": ["string", "object", "array"]}},
    {"properties": {"amount": {}}, "if": {"required": ["to"]}, "then": {"properties": {"to": {}}}},
    {"properties": {"amount": {}}, "dependentSchemas": {"amount": {"properties": {"to": {}}}}},
    {"properties": {"more": {"anyOf": [{"properties": {"city": {}}}, {"type": "string"}]}}},
    {"properties": {"more": {"patternProperties": {"^c": {"readOnly": True}}}}},
    {"properties": {"more": {"$ref": "#/$defs/node"}}, "$defs": {"node": NODE}},
    {"properties": {"more": {"$id": "x", "properties": {"city": {}}}}},
    {"properties": {f"name{number}": {"type": "integer"} for number in range(300)}},
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/any",
        "properties": {"to": {}},
        "definitions": {"any": {"properties": {"amount": {}}}},
    },
]


@pytest.mark.parametrize("editable", UNCERTAIN)
def test_a_schema_that_does_not_tell_what_may_be_changed_is_refused(editable: dict[str, Any]) -> None:
    asked = Question(prompt="?", arguments=ODD, editable=editable)
    with pytest.raises(BadInput) as refused:
        sensible(asked)
    assert (refused.value.code, refused.value.problems[0][0]) == ("bad-question", "editable")
    form = answer_form(asked)  # of a request that another tool or an earlier version has put
    assert problems(form, ODD) == []
    for changed_to in (
        ODD | {"to": "acct-2"},
        ODD | {"amount": 80},
        ODD | {"more": {"city": "Y", "zip": "1"}},
    ):
        assert problems(form, changed_to) != []


@pytest.mark.parametrize(
    ("editable", "may", "may_not"),
    [
        ({"properties": {"more": {"type": "object"}}}, {"more": {"any": 1}}, {"to": "x"}),
        (
            {"properties": {"more": {"additionalProperties": {"type": "string"}}}},
            {"more": {"new": "x"}},
            {"more": {"new": 1}},
        ),
        (
            {
                "properties": {
                    "more": {"anyOf": [{"type": "null"}, {"properties": {"city": {"type": "string"}}}]}
                }
            },
            {"more": {"city": "Y", "zip": "1"}},
            {"more": {"city": "X"}},
        ),
        (
            {"properties": {"more": {"anyOf": [CLOSED, {"type": "string"}, {"const": ODD["more"]}]}}},
            {"more": {"city": "Y"}},
            {"more": {"city": "Y", "zip": "1"}},
        ),
        (
            {"$ref": "#/$defs/order", "$defs": {"order": {"properties": {"amount": {"type": "integer"}}}}},
            {"amount": 80},
            {"to": "x"},
        ),
        (
            {
                "properties": {"amount": {"type": "integer"}},
                "if": {"properties": {"amount": {"minimum": 200}}},
                "then": {"required": ["reason"]},
            },
            {"amount": 80},
            {"amount": 200},
        ),
        (
            {"properties": {"list": {"type": "array", "items": {"properties": {"a": {"type": "integer"}}}}}},
            {"list": [{"a": 2}, {"a": 3}]},
            {"list": [{"a": 2, "b": 3}]},
        ),
        (
            {"properties": {"more": {"properties": {"city": {}, "zip": {}}}}},
            {"more": {"city": 1}},
            {"more": 5},
        ),
    ],
)
def test_what_the_schema_names_may_be_changed_and_nothing_else(
    editable: dict[str, Any], may: dict[str, Any], may_not: dict[str, Any]
) -> None:
    form = answer_form(sensible(Question(prompt="?", arguments=ODD, editable=editable)))
    assert problems(form, ODD | may) == []
    assert problems(form, ODD | may_not) != []


def test_a_whole_number_is_the_same_however_it_is_written(client: Client) -> None:
    whole = {"amount": 120, "rate": 7.0, "big": 1e15, "list": [2.0, -0.0]}
    editable = {"properties": {"amount": {"type": "integer"}}}
    ask(client, "a", arguments=whole, editable=editable, approvals=2)
    sent = [{"amount": 80, "rate": 7, "big": 10**15, "list": [2, 0]}, whole | {"amount": 80.0}]
    for who, arguments in zip(("ada", "bob"), sent, strict=True):
        yes(client, "a", by=who, arguments=arguments)
    made = decision(client, "a")
    assert (made.approved, made.changed) == (True, True)
    made.covers(sent[0])
    made.covers(sent[1])
    for other in (True, 7.5, "7"):
        ask(client, f"b{other}", arguments=whole, editable=editable)
        with pytest.raises(BadInput):
            yes(client, f"b{other}", arguments=whole | {"rate": other})


def test_arguments_that_are_not_editable_are_approved_as_they_are_or_not_at_all(client: Client) -> None:
    ask(client, "a", editable=None)
    with pytest.raises(BadInput) as refused:
        yes(client, "a", arguments=ARGUMENTS | {"amount": 80})
    assert refused.value.code == "bad-answer"
    yes(client, "a", arguments=dict(reversed(ARGUMENTS.items())))
    assert (decision(client, "a").data, decision(client, "a").changed) == (True, False)


def test_true_lets_values_change_but_no_name_and_no_type() -> None:
    asked = sensible(
        Question(
            prompt="?",
            arguments={
                "argv": ["rm", "-r"],
                "n": 1,
                "x": 0.5,
                "on": True,
                "no": None,
                "none": [],
                "of": {"a": [1, "b"]},
            },
            editable=True,
        )
    )
    assert asked.editable is True
    form, before = answer_form(asked), asked.arguments
    fits: tuple[Any, ...] = ({"argv": ["ls"]}, {"n": 2}, {"x": 1}, {"on": False}, {"of": {"a": ["b"]}})
    assert not any(problems(form, before | change) for change in fits)
    wrong: tuple[Any, ...] = (
        {"argv": [1]},
        {"n": "1"},
        {"on": 1},
        {"no": 1},
        {"none": [1]},
        {"new": 1},
        {"of": {}},
    )
    assert all(problems(form, before | change) for change in wrong)
    assert not problems(form, before)
    assert shape_of({})["additionalProperties"] is False


def test_a_form_that_is_sent_untouched_changes_nothing() -> None:
    question = Question(prompt="?", arguments=ARGUMENTS, editable=EDITABLE)
    form = answer_form(question)
    first = at_first(form)
    assert read(form, first).data == ARGUMENTS
    assert read(form, {}).data == ARGUMENTS
    sent = read(form, first | {"amount": ["80"], "extra": [""]})
    assert sent.data == ARGUMENTS | {"amount": 80}
    assert not changed(question, read(form, first | {"note": ["a\r\nb"]}).data)


def test_another_tools_value_is_taken_as_far_as_the_schema_allows(client: Client) -> None:
    def settled(id: str, data: Json) -> None:
        ask(client, id)
        client.call_many(
            [ProtocolRequest("promise.settle", {"id": id, "state": "resolved", "value": encode(data)})]
        )

    for id, plain in (("true", True), ("nothing", None)):
        settled(id, plain)
        assert decision(client, id).arguments == ARGUMENTS
    settled("fits", ARGUMENTS | {"amount": 80})
    assert decision(client, "fits").changed
    for id, wrong in (
        ("high", ARGUMENTS | {"amount": 900}),
        ("fixed", ARGUMENTS | {"to": "x"}),
        ("text", "yes"),
    ):
        settled(id, wrong)
        with pytest.raises(RunFailed) as refused:
            decision(client, id)
        assert refused.value.code == "unreadable"


@pytest.mark.parametrize("late", ["approve", Instead(value=ARGUMENTS | {"amount": 1})])
def test_the_deadline_approves_arguments(client: Client, late: Any) -> None:
    ask(client, "a", on_deadline=late)
    promise = promise_of(client, "a")
    question = question_of(promise)
    assert question is not None
    made = decision_by_deadline(promise.id, question, promise.timeout_at)
    assert made.changed is (late != "approve")
    made.covers(ARGUMENTS if late == "approve" else ARGUMENTS | {"amount": 1})
    with pytest.raises(BadInput):
        ask(client, "b", on_deadline=Instead(value=ARGUMENTS | {"amount": 900}))


def test_a_choice_goes_with_the_arguments(client: Client) -> None:
    ask(client, "a", choices=("now", "later"))
    yes(client, "a", text="later", arguments=ARGUMENTS | {"amount": 80})
    made = decision(client, "a")
    assert (made.choice, made.arguments["amount"]) == ("later", 80)


def test_only_votes_for_the_same_arguments_count_together(client: Client) -> None:
    ask(client, "a", approvals=2)
    ada = Actor(person="ada", via="test")
    for by, more, so_far in (("ada", {}, 1), ("bob", {"amount": 80}, 1), ("cy", {"amount": 70}, 1)):
        yes(client, "a", by, arguments=ARGUMENTS | more)
        assert Inbox(client, ada).show("a").item.votes == so_far
        known = OpenRequests(client)
        [*_] = known.load()
        assert [one.votes for one in Inbox(client, ada, known).list()[0]] == [so_far]
    yes(client, "a", "ada", arguments=ARGUMENTS | {"amount": 80})
    made = decision(client, "a")
    assert made.arguments == ARGUMENTS | {"amount": 80}
    assert {vote.by for vote in made.votes if vote.data == made.arguments} == {"ada", "bob"}


def test_a_rejection_changes_nothing(client: Client) -> None:
    ask(client, "a")
    with pytest.raises(BadInput):
        DecisionInput(verdict="reject", arguments={})
    decide(client, "a", rejection(by="ada", via="test"))
    assert (decision(client, "a").arguments, decision(client, "a").changed) == (None, False)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"a": "x", "b": 1}),
        ({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, {"a": {"b": "x"}}),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}),
        ({"properties": {"a": {"type": "string"}}}, {}),
        ({"properties": {"a": {"type": "string", "maxLength": 1}}}, {"a": "xx"}),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, {"a": "x"}),
        ({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, {"a": "x"}),
        ({"properties": [1]}, {}),
        (True, {"a": "x"}),
    ],
)
def test_what_surely_fits_fits(schema: Any, value: dict[str, Any]) -> None:
    """The short way never says yes where the form says no."""
    if surely_fits(schema, value):
        question = Question(prompt="?", arguments=value, editable=schema)
        assert problems(answer_form(question), value) == []
        assert set(schema) == {"properties"}


def test_a_deep_schema_is_left_to_the_form() -> None:
    schema: Any = {"type": "string"}
    value: Any = "x"
    for _ in range(2_000):
        schema, value = {"properties": {"a": schema}}, {"a": value}
    assert not surely_fits(schema, value)
