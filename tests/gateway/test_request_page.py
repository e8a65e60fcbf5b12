"""The page of a request: the prompt, every kind of field, errors, and the decision."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.wire import audit_in, decode, encode, headers_of
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Digest, Question, Refused
from tests.acting import approval, decide, rejection
from tests.cli.requests import DAY_MS
from tests.conftest import wait_until
from tests.gateway.desk import Desk, Document, address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.wire import Json, Promise

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A gateway on this machine, where `ada` acts, who is one of the group ops."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "hitl.toml").write_text(
        '[groups.ops]\nmembers = ["ada", "reviewer"]\n[visibility.workflows]\n"hidden-*" = "assigned"\n'
    )
    shared = Desk(folder)
    yield shared
    shared.gateway.clear_away()


def promise(desk: Desk, id: str) -> Promise:
    with desk.hitl.client() as client:
        return as_promise(client.call_many([ProtocolRequest("promise.get", {"id": id})])[0])


def create(desk: Desk, id: str, tags: dict[str, str], data: Json = None) -> str:
    """Make a promise as another program does."""
    with desk.hitl.client() as client:
        param = encode(data)
        asked = {"id": id, "timeoutAt": client.now() + DAY_MS, "param": param, "tags": tags}
        as_promise(client.call_many([ProtocolRequest("promise.create", asked)])[0])
    return address(id)


def said_by(desk: Desk, id: str, by: str, **answer: Any) -> None:
    """Answer as another person."""
    with desk.hitl.client() as client:
        decide(client, id, approval(by=by, via="cli", **answer))


def form(*required: str, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": [*required]}


# What is asked


def test_what_is_asked_is_shown_with_all_that_is_known_of_it(desk: Desk) -> None:
    path = desk.put(
        "shown:1",
        Question(
            prompt="# Refund **order** 17?\n\nIt was *broken*, see [photos](https://example.org/p).",
            details={"order": 17, "customer": {"since": 2019, "tags": ["regular"]}},
            to=("ada", "group:ops"),
            priority="high",
            link="https://example.org/orders/17",
            digest=Digest(sha256="ab" * 32, file="plan.txt"),
        ),
        by="lead",
        key="refund-17",
        tags={"team": "billing"},
    )
    page = desk.get(path)
    assert page.status == 200
    assert '<h1 dir="auto">Refund <strong>order</strong> 17?</h1>' in page.source
    assert "<title>Refund order 17? " in page.source
    assert "It was broken, see photos." in page.text
    for text in ("from lead", "high", "order\n17", "since\n2019", "tags\nregular", "ada, group:ops"):
        assert text in page.text
    for text in ("plan.txt", "ab" * 32, "refund-17", "team=billing", "then it expires"):
        assert text in page.text
    [link] = page.all("a", href="https://example.org/orders/17")
    assert link["rel"] == "noopener noreferrer nofollow"


def test_true_false_and_nothing_are_shown_in_words(desk: Desk) -> None:
    details = {"paid": True, "shipped": False, "note": None, "said": "true", "all": [True, None]}
    page = desk.get(desk.put("words:1", Question(prompt="Refund?", details=details)))
    facts = " ".join(page.text.split())
    nothing = "\N{EN DASH} nothing"
    assert f"paid Yes shipped No note {nothing} said true all Yes {nothing}" in facts


def test_details_that_nobody_can_read_are_not_drawn_as_a_table(desk: Desk) -> None:
    details = {"small": {"a": 1}, "rows": [{"n": number} for number in range(30_000)]}
    page = desk.get(desk.put("big:1", Question(prompt="All of it?", details=details)))
    assert '{"n":29999}' in page.text
    assert len(list(page.all("dl"))) == 1


def test_every_name_of_a_request_leads_to_its_own_address(desk: Desk) -> None:
    path = desk.put("named-run:1.2", Question(prompt="Well?"), key="by-key")
    for name in ("by-key", "named-r"):
        reply = desk.gateway.get(address(name))
        assert (reply.status, reply.headers["Location"]) == (303, path)


@pytest.mark.parametrize("id", ["a/b c:1", "50%2F:1", "ü?#&=:1", "a/../b:1"])
def test_any_id_has_an_address(desk: Desk, id: str) -> None:
    path = desk.put(id, Question(prompt=f"Is {len(id)} the length?"))
    assert f"Is {len(id)} the length?" in desk.get(path).text
    desk.taken(path, verdict="approve")
    assert promise(desk, id).state == "resolved"


def test_an_unknown_name_is_a_page_that_says_so(desk: Desk) -> None:
    page = desk.get("/r/nothing-of-that-name")
    assert page.status == 404
    assert "No request 'nothing-of-that-name'." in page.text


def test_a_promise_that_says_nothing_can_be_answered(desk: Desk) -> None:
    path = create(desk, "bare:1", {"resonate:scope": "global", "resonate:external": "true"})
    assert "bare:1" in desk.get(path).text
    desk.taken(path, verdict="approve")
    assert decode(promise(desk, "bare:1").value) is True


def test_a_promise_of_another_program_shows_what_it_says(desk: Desk) -> None:
    tags = {"resonate:scope": "global", "resonate:external": "true"}
    path = create(desk, "foreign:1", tags, {"order": {"id": HOSTILE}})
    page = desk.get(path)
    assert HOSTILE in page.text
    assert not list(page.all("img", src="x"))
    desk.taken(path, verdict="reject", reason="no")
    assert promise(desk, "foreign:1").state == "rejected"


def test_a_request_that_cannot_be_read_has_no_buttons(desk: Desk) -> None:
    tags = {"resonate:external": "true", "hitl:request": "1"}
    path = create(desk, "broken:1", tags, {"prompt": 7, "why": HOSTILE})
    page = desk.get(path)
    assert "This request is not valid" in page.text
    assert HOSTILE in page.text
    assert not page.has("verdict") or page.control("verdict")["value"] == "comment"
    desk.refused(400, path, "unreadable", verdict="approve")
    assert promise(desk, "broken:1").state == "pending"


def test_a_form_that_is_none_is_said_so(desk: Desk) -> None:
    path = desk.put("noform:1", Question(prompt="Well?", form={"type": "nonsense"}))
    page = desk.get(path)
    assert page.status == 200
    assert "the form is not a valid JSON Schema" in page.text


def test_the_run_that_asks_and_its_steps_before_are_shown(desk: Desk) -> None:
    desk.hitl.ok("start", "stepped")
    inside = {"resonate:scope": "local", "resonate:origin": "stepped", "resonate:parent": "stepped"}
    create(desk, "stepped:1", {**inside, "resonate:branch": "stepped"})
    with desk.hitl.client() as client:
        value = {"id": "stepped:1", "state": "resolved", "value": encode({"stock": 3})}
        client.call_many([ProtocolRequest("promise.settle", value)])
    path = desk.put("stepped:2", Question(prompt="Ship?"), tags=inside)
    page = desk.get(path)
    assert list(page.all("a", href="/runs/stepped"))
    assert "Steps before this request (1)" in page.text
    assert "stock\n3" in page.text
    page = desk.taken(path, verdict="approve")
    assert "Run\nwaiting for a worker that has approval" in page.text


# The form


FIT = "does-not-fit-form"
FIELDS = form(
    "amount",
    "method",
    "express",
    amount={"type": "integer", "title": "How much", "minimum": 1, "exclusiveMaximum": 500, "default": 120},
    rate={"type": "number", "exclusiveMinimum": 0},
    step={"type": "number", "minimum": 0, "multipleOf": 0.5},
    email={"type": "string", "format": "email", "description": "Where the customer is told."},
    site={"type": "string", "format": "uri"},
    when={"type": "string", "format": "date"},
    starts={"type": "string", "format": "date-time", "default": "2026-01-31T12:00:00+02:00"},
    daily={"type": "string", "format": "time"},
    express={"type": "boolean"},
    method={"enum": ["card", "voucher"]},
    country={"enum": [f"C{number}" for number in range(9)]},
    code={"type": "string", "pattern": "^[A-Z]{3}$", "minLength": 3},
    slow={"type": "string", "pattern": "^(a+)+$"},
    notes={"type": "string", "maxLength": 2_000},
    tags={"type": "array", "items": {"type": "string"}, "default": ["a", "b"]},
    checks={"type": "array", "items": {"enum": ["stock", "identity"]}},
    pin={"type": "string", "format": "password", "default": "hush"},
    to=form("zip", zip={"type": "string"}, city={"type": "string"}) | {"title": "Where to"},
    extra={"type": "array", "items": {"type": "object"}},
)


def test_every_kind_of_field_is_drawn_with_what_a_browser_can_check(desk: Desk) -> None:
    page = desk.get(desk.put("fields:1", Question(prompt="Refund?", form=FIELDS)))
    checked: dict[str, dict[str, str | None]] = {
        "amount": {"type": "number", "min": "1", "max": "499", "step": "1", "value": "120"},
        "rate": {"type": "number", "min": "0", "step": "any"},
        "step": {"type": "number", "min": "0", "step": "0.5"},
        "email": {"type": "email"},
        "site": {"type": "url"},
        "when": {"type": "date"},
        "starts": {"type": "datetime-local", "value": "2026-01-31T10:00"},
        "daily": {"type": "time", "value": ""},
        "code": {"pattern": ".*(?:^[A-Z]{3}$).*", "minlength": "3"},
        "tags": {"value": "a\nb"},
        "pin": {"type": "password", "value": ""},
        "to.zip": {"type": "text"},
        "extra": {"value": "", "class": "code"},
    }
    for path, expected in checked.items():
        assert expected.items() <= page.control(f"field:{path}").items(), path
    assert "required" not in page.control("field:amount")
    assert "required" in page.control("field:method", "card")
    assert "required" in page.control("field:express", "true")
    assert page.control("field:checks", "stock")["type"] == "checkbox"
    assert "maxlength" not in page.control("field:notes")
    assert "pattern" not in page.control("field:slow")
    assert page.control("field:country")["id"] in {at["for"] for at in page.all("label")}
    assert "Where to" in page.text
    assert "hush" not in page.source


def test_a_time_is_asked_in_utc_and_one_that_no_browser_can_show_is_kept_as_text(desk: Desk) -> None:
    moment = {"type": "string", "format": "date-time"}
    schema = form(starts=moment, ends=moment | {"default": "2026-01-31T12:00:00.000001Z"})
    path = desk.put("times:1", Question(prompt="When?", form=schema))
    page = desk.get(path)
    assert "In UTC" in page.text
    assert page.control("field:starts")["type"] == "datetime-local"
    assert (
        page.control("field:ends").items() >= {"type": "text", "value": "2026-01-31T12:00:00.000001Z"}.items()
    )
    page = desk.refused(
        400, path, FIT, verdict="approve", field_starts="2026-02-30T12:00", field_ends="2026-02-01T09:00"
    )
    assert page.control("field:starts").items() >= {"type": "text", "value": "2026-02-30T12:00"}.items()
    assert (
        page.control("field:ends").items() >= {"type": "datetime-local", "value": "2026-02-01T09:00"}.items()
    )
    desk.taken(
        path, verdict="approve", field_starts="2026-01-31T12:00:00+02:00", field_ends="2026-02-01T09:00"
    )
    assert decode(promise(desk, "times:1").value) == {
        "starts": "2026-01-31T12:00:00+02:00",
        "ends": "2026-02-01T09:00:00Z",
    }


def test_every_control_has_a_label_and_is_told_its_hints(desk: Desk) -> None:
    page = desk.get(desk.put("labels:1", Question(prompt="Refund?", form=FIELDS)))
    ids = {at["id"] for _, at in page.elements if "id" in at}
    labels = {at["for"] for at in page.all("label")}
    for tag, at in page.elements:
        if tag in ("input", "select", "textarea") and at.get("type") != "hidden":
            assert at["id"] in labels
        for id in (at.get("aria-describedby") or "").split():
            assert id in ids
    assert len(ids) == sum("id" in at for _, at in page.elements)


def test_what_is_filled_in_is_what_the_workflow_gets(desk: Desk) -> None:
    path = desk.put("fill:1", Question(prompt="Refund?", form=FIELDS))
    typed = [
        ("field:tags", "one\r\n\r\ntwo"),
        ("field:checks", "stock"),
        ("field:checks", "identity"),
        ("field:method", "voucher"),
        ("field:express", "false"),
        ("field:notes", "two\r\nlines"),
        ("field:extra", '[{"a": 1}]'),
        ("field:when", "2026-12-24"),
        ("field:daily", "09:30"),
    ]
    touched = {name for name, _ in typed[3:]} | {"field:tags"}
    rest = [
        (name, text)
        for name, text in desk.get(path).filled
        if name.startswith("field:") and name not in touched
    ]
    page = desk.taken(path, [*rest, *typed], verdict="approve")
    assert decode(promise(desk, "fill:1").value) == {
        "amount": 120,
        "tags": ["one", "two"],
        "checks": ["stock", "identity"],
        "method": "voucher",
        "express": False,
        "notes": "two\nlines",
        "extra": [{"a": 1}],
        "when": "2026-12-24",
        "starts": "2026-01-31T10:00:00Z",
        "daily": "09:30:00Z",
        "pin": "hush",
    }
    assert "You approved this" in page.text


def test_what_does_not_fit_is_said_at_its_field_and_nothing_is_lost(desk: Desk) -> None:
    path = desk.put("wrong:1", Question(prompt="Refund?", form=FIELDS))
    page = desk.refused(
        400,
        path,
        FIT,
        verdict="approve",
        field_amount="700",
        field_method="card",
        field_express="true",
        field_email="nowhere",
        field_notes="kept",
        field_pin="secret-pin",
        comment="and this",
    )
    assert "There is a problem" in page.text
    assert "How much must be less than 500" in page.text
    assert "Email is not a valid email" in page.text
    amount = page.control("field:amount")
    assert (amount["value"], amount["aria-invalid"]) == ("700", "true")
    assert page.control("field:notes")["value"] == "kept"
    assert page.control("comment")["value"] == "and this"
    assert "checked" in page.control("field:method", "card")
    assert "secret-pin" not in page.source
    assert list(page.all("a", href=f"#{amount['id']}"))
    assert f"{amount['id']}-problem" in (amount["aria-describedby"] or "")
    assert list(page.all("p", id=f"{amount['id']}-problem"))
    assert promise(desk, "wrong:1").state == "pending"


def test_what_cannot_be_read_or_is_missing_is_said_at_its_field(desk: Desk) -> None:
    path = desk.put("missing:1", Question(prompt="Refund?", form=FIELDS))
    page = desk.refused(
        400, path, FIT, verdict="approve", field_amount="many", field_extra="{", field_express=""
    )
    for text in (
        "How much must be a whole number, such as 120",
        "Extra must be JSON",
        "Express is required",
        "Method is required",
    ):
        assert text in page.text


def test_a_problem_inside_rows_is_said_at_the_field_that_has_it(desk: Desk) -> None:
    items = {"type": "array", "items": form("price", price={"type": "number"})}
    path = desk.put("nested:1", Question(prompt="Prices?", form=form(items=items)))
    page = desk.refused(400, path, FIT, verdict="approve", field_items='[{"price": "x"}, {}]')
    assert "Price must be a number" in page.text
    assert "Price is required" in page.text
    for path in ("items[0].price", "items[1].price"):
        assert list(page.all("a", href=f"#{page.control(f'field:{path}')['id']}"))


LINES = form(
    "lines",
    lines={
        "type": "array",
        "title": "Order lines",
        "minItems": 1,
        "items": form("what", what={"type": "string"}, price={"type": "number", "default": 1}),
    },
    note={"type": "string"},
)


def _sent(page: Document, **changed: str) -> list[tuple[str, str]]:
    """Return what a browser sends of a page's form for an answer, with what was typed."""
    typed = {f"field:{path}": text for path, text in changed.items()}
    return [(name, typed.get(name, text)) for name, text in page.filled if name.startswith("field:")]


def test_rows_are_added_and_removed_without_script_and_nothing_typed_is_lost(desk: Desk) -> None:
    path = desk.put("rows:1", Question(prompt="Order?", form=LINES))
    page = desk.get(path)
    assert "Order lines" in page.text
    assert not page.has("field:lines[0].what")
    for number in range(3):
        sent = [*_sent(page, note="kept"), ("comment", "and this")]
        page = Document(desk.post(path, sent, rows="add lines"))
        assert (page.status, page.code) == (200, None)
        assert page.control(f"field:lines[{number}].price")["value"] == "1"
        sent = _sent(page, **{f"lines[{number}].what": f"item {number}"})
        page = Document(desk.post(path, sent, rows="remove lines[9]"))  # there is none: no harm
    assert page.control("field:note")["value"] == "kept"
    page = Document(desk.post(path, [*_sent(page), ("comment", "and this")], rows="remove lines[1]"))
    assert page.control("comment")["value"] == "and this"
    assert [page.control(f"field:lines[{number}].what")["value"] for number in (0, 1)] == ["item 0", "item 2"]
    assert not page.has("field:lines[2].what")
    assert promise(desk, "rows:1").state == "pending"
    desk.taken(path, _sent(page, **{"lines[1].price": "2.5"}), verdict="approve")
    assert decode(promise(desk, "rows:1").value) == {
        "lines": [{"what": "item 0", "price": 1}, {"what": "item 2", "price": 2.5}], "note": "kept",
    }  # fmt: skip


def test_what_is_wrong_in_rows_is_said_there(desk: Desk) -> None:
    path = desk.put("rows:2", Question(prompt="Order?", form=LINES))
    page = desk.refused(400, path, FIT, verdict="approve", field_lines="")
    assert "Order lines must have at least 1 entry" in page.text
    page = Document(
        desk.post(path, [("field:lines[0]", ""), ("field:lines[0].price", "x")], verdict="approve")
    )
    assert page.status == 400
    assert page.control("field:lines[0].price")["value"] == "x"
    for name, reason in (("what", "What is required"), ("price", "Price must be a number, such as 1.5")):
        id = page.control(f"field:lines[0].{name}")["id"]
        assert reason in page.text
        assert list(page.all("a", href=f"#{id}"))


def test_rows_begin_with_those_of_the_default(desk: Desk) -> None:
    nested = {"type": "array", "items": form(n={"type": "integer"}), "default": [{"n": 1}]}
    rows = {"type": "array", "items": form(a={"type": "string"}, inner=nested)}
    begun = rows | {"default": [{"a": "x"}, {"a": "y", "inner": [{"n": 5}, {}]}]}
    path = desk.put("rows:3", Question(prompt="Well?", form=form(rows=begun, more=rows)))
    page = desk.get(path)
    fewer = Document(desk.post(path, _sent(page), rows="remove rows[0]"))
    more = Document(desk.post(path, _sent(fewer), rows="add rows"))
    assert [more.control(f"field:rows[{n}].a")["value"] for n in (0, 1)] == ["y", ""]
    assert [page.control(f"field:rows[{n}].a")["value"] for n in (0, 1)] == ["x", "y"]
    assert page.control("field:rows[1].inner[0].n")["value"] == "5"
    page = Document(desk.post(path, _sent(page), rows="add rows[0].inner"))
    page = Document(desk.post(path, _sent(page, **{"rows[0].inner[0].n": "7"}), rows="add more"))
    desk.taken(path, _sent(page), verdict="approve")
    assert decode(promise(desk, "rows:3").value) == {
        "rows": [{"a": "x", "inner": [{"n": 7}]}, {"a": "y", "inner": [{"n": 5}, {}]}],
        "more": [{"inner": [{"n": 1}]}],
    }


def test_values_are_called_by_their_titles(desk: Desk) -> None:
    regions = [{"const": "eu-w-1", "title": "Ireland"}, {"const": "us-e-1", "title": "Virginia"}]
    nobody = {"oneOf": [{"const": "ops", "title": "The operators"}, {"const": None, "title": "Nobody"}]}
    schema = form(
        "region", "sites", "who",
        region={"oneOf": regions}, who=nobody, sites={"type": "array", "items": {"anyOf": regions}},
    )  # fmt: skip
    path = desk.put("titles:1", Question(prompt="Where?", form=schema))
    page = desk.get(path)
    for title in ("Ireland", "Virginia", "The operators", "Nobody"):
        assert title in page.text
    assert "eu-w-1" not in page.text
    assert "No answer" not in page.text
    sent = [("field:region", "Virginia"), ("field:sites", "Ireland"), ("field:who", "")]
    desk.taken(path, sent, verdict="approve")
    assert decode(promise(desk, "titles:1").value) == {"region": "us-e-1", "sites": ["eu-w-1"], "who": None}


def test_what_is_read_only_is_shown_and_cannot_be_changed(desk: Desk) -> None:
    fixed = {"type": "string", "readOnly": True, "default": "PO-7"}
    schema = form(order=fixed, amount={"type": "integer"}, by={"type": "string", "readOnly": True})
    path = desk.put("fixed:1", Question(prompt="Pay?", form=schema))
    page = desk.get(path)
    assert "PO-7" in page.text
    assert not page.has("field:order")
    assert not page.has("field:by")
    desk.taken(path, [("field:order", "PO-8"), ("field:amount", "3")], verdict="approve")
    assert decode(promise(desk, "fixed:1").value) == {"order": "PO-7", "amount": 3}


@pytest.mark.parametrize(("button", "answer"), [("yes", True), ("no", False)])
def test_a_form_of_one_yes_or_no_is_two_buttons(desk: Desk, button: str, answer: bool) -> None:
    go = {"type": "boolean", "title": "Restart it now?", "description": "It takes a minute."}
    whole = {"whole": go, "field": form("go", go=go), "default": form(go={**go, "default": False})}
    for name, schema in whole.items():
        id = f"{button}-{name}:1"
        path = desk.put(id, Question(prompt="Now?", form=schema))
        page = desk.get(path)
        assert [at.get("value") for at in page.all("button", name_="verdict")] == ["yes", "no", "reject"]
        assert "Restart it now?\nIt takes a minute." in page.text
        taken = desk.taken(path, verdict=button, yes_no=page.control("yes_no")["value"] or "")
        assert f"You answered: {button.capitalize()}" in taken.text
        assert decode(promise(desk, id).value) == (answer if name == "whole" else {"go": answer})


def test_a_yes_or_no_among_others_or_that_may_be_nothing_is_a_field(desk: Desk) -> None:
    go = {"type": ["boolean", "null"]}
    for id, schema in {
        "null:1": form("go", go=go),
        "two:1": form(go={"type": "boolean"}, n={"type": "string"}),
    }.items():
        page = desk.get(desk.put(id, Question(prompt="Now?", form=schema)))
        assert page.control("verdict")["value"] == "approve"


def test_lists_of_objects_are_rows_in_details_and_in_the_record(desk: Desk) -> None:
    line = {"sku": {"type": "string", "title": "Article"}, "n": {"type": "integer", "title": "Pieces"}}
    schema = form(lines={"type": "array", "title": "Order lines", "items": form(**line)})
    details = {"stock": [{"hall": 3, "left": None}, {"hall": 4, "note": "new"}], "deep": [{"a": [1]}]}
    path = desk.put("rows:9", Question(prompt="Order?", details=details, form=schema))
    heads = [at["data-label"] for at in desk.get(path).all("td")]
    assert heads == ["hall", "left", "note"] * 2
    said_by(desk, "rows:9", "ada", data={"lines": [{"sku": "A1", "n": 2}, {"sku": "B2", "n": 1}]})
    page = desk.get(path)
    assert [at["data-label"] for at in page.all("td")][:4] == ["Article", "Pieces"] * 2
    assert all(text in page.text for text in ("Order lines", "A1", "B2"))
    shown = desk.hitl.ok("show", "rows:9")
    assert "stock  hall: 3; left: -" in shown
    assert re.search(r"Order lines:\n\s+Article: A1; Pieces: 2\n\s+Article: B2; Pieces: 1", shown)


def test_nothing_is_offered_only_where_it_can_be_chosen(desk: Desk) -> None:
    schema = form(
        "grade",
        grade={"enum": ["a", "b", None]},
        size={"enum": ["s", "m"], "default": "m"},
        express={"type": "boolean", "default": False},
        gift={"type": "boolean"},
        ship_to=form("zip", zip={"type": "string"}),
        receipts={"type": "array", "items": {"type": "string"}, "default": []},
    )
    page = desk.get(desk.put("nothing:1", Question(prompt="Well?", form=schema)))
    assert [at["value"] for at in page.all("input", name="field:grade")] == ["", "a", "b"]
    assert "checked" in page.control("field:grade", "")
    assert [at["value"] for at in page.all("input", name="field:size")] == ["s", "m"]
    assert [at["value"] for at in page.all("input", name="field:express")] == ["true", "false"]
    assert [at["value"] for at in page.all("input", name="field:gift")] == ["true", "false"]
    assert "null" not in page.text
    assert "Ship to (optional)" in page.text
    assert page.control("field:receipts")["value"] == ""


def test_an_answer_of_one_value_has_one_field(desk: Desk) -> None:
    path = desk.put("single:1", Question(prompt="How many?", form={"type": "integer", "minimum": 1}))
    assert "Your answer" in desk.refused(400, path, FIT, verdict="approve", field_="0").text
    desk.taken(path, verdict="approve", field_="3")
    assert decode(promise(desk, "single:1").value) == 3


def test_without_a_word_a_form_of_defaults_is_approved_with_them(desk: Desk) -> None:
    path = desk.put(
        "defaults:1", Question(prompt="Well?", form=form("a", a={"type": "integer", "default": 5}))
    )
    desk.taken(path, verdict="approve")
    assert decode(promise(desk, "defaults:1").value) == {"a": 5}


def test_nothing_that_an_sdk_would_unpickle_gets_into_an_answer(desk: Desk) -> None:
    path = desk.put("pickle:1", Question(prompt="Well?", form={"type": "object"}))
    page = desk.refused(400, path, "bad-answer", verdict="approve", field_='{"__py_pickle": "x"}')
    assert "__py_pickle" in page.text
    assert promise(desk, "pickle:1").state == "pending"


# Deciding


def test_approving_says_what_came_of_it(desk: Desk) -> None:
    path = desk.put("yes:1", Question(prompt="Ship?"))
    page = desk.taken(path, verdict="approve", comment="fine\r\nby me")
    assert "You approved this" in page.text
    assert "via the inbox page" in page.text
    assert "<title>Approved: Ship? " in page.source
    assert "fine by me" in page.text.replace("\n", " ")
    assert not page.has("reason")
    settled = promise(desk, "yes:1")
    audit = audit_in(headers_of(settled.value))
    assert (settled.state, audit.by, audit.via) == ("resolved", "ada", "web")


def test_who_assigns_away_what_they_may_not_see_then_is_led_to_the_inbox(desk: Desk) -> None:
    question = Question(prompt="Ship?", to=("ada",), reassign="assignees")
    for id, where in (("hidden-1", "/"), ("seen-1", "/r/seen-1")):
        reply = desk.post(desk.put(id, question), verdict="assign", names="bob", how="replace", anyway="1")
        assert (reply.status, reply.headers["Location"]) == (303, where)
    assert desk.get("/r/hidden-1").status == 404


def test_who_is_away_says_so_and_is_back(desk: Desk) -> None:
    path, day = "/away", f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
    assert "that you may see is away" in desk.get(path).text
    desk.refused(400, path, "bad-away", until="2020-01-01", to="reviewer")
    assert "at most a year" in desk.refused(400, path, "bad-away", until="9999-12-31").text
    page = desk.refused(400, path, "unknown-name", until=day, to="reviwer")
    assert [one["value"] for one in page.all("input", name="until")] == [day]
    assert len([*page.all("input", name="anyway")]) == 1
    desk.refused(403, path, "not-allowed", until=day, person="reviewer")
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    assert desk.gateway.ask("POST", path, data=b"csrf=x&until=2030-01-01", headers=headers).status == 403
    assert list(desk.taken(path, until=day, to="reviewer").all("section", **{"data-away": "ada"}))
    assert "reviewer can answer for you" in desk.get("/?all=1").text
    page = desk.get(desk.put("gone:1", Question(prompt="Ship?", to=("ada",))))
    assert "ada is away until" in page.text
    assert "that you may see is away" in desk.taken(path, back="1", person="ada").text
    assert "away" not in desk.get("/?all=1").text.replace("Away", "")


def test_it_is_claimed_and_assigned_under_more(desk: Desk) -> None:
    path = desk.put("more:1", Question(prompt="Ship?", to=("ada", "bob"), reassign="assignees", extend=10**8))
    page = desk.taken(path, verdict="claim", time="2h")
    assert "ada claimed it until" in page.text.replace("\n", " ")
    assert not page.has("anyway")
    desk.taken(path, verdict="release")
    assert "ada moved the deadline to" in desk.taken(path, verdict="extend", by="1d").text.replace("\n", " ")
    page = desk.refused(400, path, "bad-name", verdict="assign", names=" ")
    page = desk.refused(400, path, "unknown-name", verdict="assign", names="bob, cy", how="replace")
    assert [one["value"] for one in page.all("input", name="anyway")] == ["1"]
    page = desk.taken(path, verdict="assign", names="bob, cy", how="replace", anyway="1")
    assert "assigned it to bob, cy" in page.text
    desk.refused(403, path, "not-assignee", verdict="approve")


def test_it_is_asked_back_answered_and_decided_for_who_is_away(desk: Desk) -> None:
    path = desk.put("back:1", Question(prompt="Ship?", to=("ada", "gone"), approvals=2), by="ada")
    assert {at.get("data-key") for at in desk.get(path).all("summary")} == {"r", "b", "c", "t"}
    page = desk.taken(path, verdict="ask-back", question="Which <b>region\u202e</b>?")
    assert r"Which <b>region\u202e</b>?" in page.text
    assert "This request is waiting for ada" in page.text
    assert r"Which <b>region\u202e</b>?" in desk.get("/").text
    page = desk.refused(400, path, "bad-answer", verdict="answer-back", answer=" ")
    page = desk.taken(path, verdict="answer-back", answer="The second")
    assert "The second" in page.text
    assert "This request is waiting for" not in page.text
    with desk.hitl.client() as client:
        away = Inbox(client, Actor(person="gone", via="test"))
        away.go_away(until=client.now() + 3_600_000, to="cy")
    wait_until(lambda: "gone is away until" in desk.get(path).text)  # who is away is believed for 1 s
    desk.hitl.ok("approve", "back:1", "--as", "cy")
    assert "cy for gone" in desk.get(path).text
    with desk.hitl.client() as client:
        Inbox(client, Actor(person="gone", via="test")).come_back()


def test_what_another_has_claimed_is_decided_only_after_a_tick(desk: Desk) -> None:
    path = desk.put("claimed:1", Question(prompt="Ship?"))
    desk.hitl.ok("claim", "claimed:1", "--as", "bob")
    page = desk.refused(409, path, "claimed", verdict="approve")
    assert page.has("anyway")
    assert "You approved this" in desk.taken(path, verdict="approve", anyway="1").text


def test_rejecting_keeps_the_reason(desk: Desk) -> None:
    path = desk.put("no:1", Question(prompt="Ship?", form=FIELDS))
    page = desk.taken(path, verdict="reject", reason="Not <b>yet</b>")
    assert "You rejected this" in page.text
    assert "Not <b>yet</b>" in page.text
    assert decode(promise(desk, "no:1").value) == {"__type": "error", "message": "Not <b>yet</b>"}


def test_a_choice_is_a_button(desk: Desk) -> None:
    path = desk.put("choice:1", Question(prompt="Which?", choices=("ship", 'hold "it"', "two\nlines")))
    page = desk.get(path)
    assert not any(at.get("value") == "approve" for at in page.all("button"))
    made = page.control("choice", 'hold "it"')["value"] or ""
    assert 'hold "it"' in desk.taken(path, choice=made).text
    assert decode(promise(desk, "choice:1").value) == 'hold "it"'


def test_a_choice_of_several_lines_is_the_one_that_was_asked(desk: Desk) -> None:
    path = desk.put("lines:1", Question(prompt="Which?", choices=("one", "two\nlines")))
    desk.taken(path, choice="two\r\nlines")
    assert decode(promise(desk, "lines:1").value) == "two\nlines"


def test_a_choice_that_is_none_and_an_answer_that_is_none_change_nothing(desk: Desk) -> None:
    path = desk.put("none:1", Question(prompt="Which?", choices=("one", "two")))
    desk.refused(400, path, "bad-answer", choice="three")
    desk.refused(400, path, "bad-answer", verdict="approve")
    desk.refused(400, path, "bad-answer", verdict="")
    assert promise(desk, "none:1").state == "pending"


def test_a_choice_with_a_form_carries_both(desk: Desk) -> None:
    question = Question(prompt="Which?", choices=("one", "two"), form=form("why", why={"type": "string"}))
    path = desk.put("both:1", question)
    page = desk.refused(400, path, FIT, choice="two", field_why="")
    assert "Why is required" in page.text
    desk.taken(path, choice="two", field_why="better")
    settled = promise(desk, "both:1")
    assert decode(settled.value) == {"why": "better"}
    assert audit_in(headers_of(settled.value)).choice == "two"


def test_enter_in_a_field_decides_nothing(desk: Desk) -> None:
    page = desk.get(desk.put("enter:1", Question(prompt="Well?", form=FIELDS)))
    answer = page.elements.index(("form", next(page.all("form", id="answer"))))
    first = next(at for tag, at in page.elements[answer:] if tag == "button")
    assert "disabled" in first


def test_the_same_answer_twice_is_one(desk: Desk) -> None:
    path = desk.put("twice:1", Question(prompt="Ship?"))
    csrf = desk.get(path).control("csrf")["value"] or ""
    desk.taken(path, verdict="approve")
    settled = promise(desk, "twice:1")
    reply = desk.gateway.ask("POST", path, form={"csrf": csrf, "verdict": "approve"})
    assert reply.status == 303
    assert promise(desk, "twice:1") == settled


def test_decided_meanwhile_says_by_whom_and_keeps_what_was_typed(desk: Desk) -> None:
    path = desk.put("late:1", Question(prompt="Refund?", form=FIELDS))
    csrf = desk.get(path).control("csrf")["value"] or ""
    with desk.hitl.client() as client:
        decide(client, "late:1", rejection(by="reviewer", via="cli", reason="out of stock"))
    settled = promise(desk, "late:1")
    sent = {
        "csrf": csrf,
        "verdict": "approve",
        "field:notes": "my notes",
        "field:pin": "late-pin",
        "comment": "hm",
    }
    reply = desk.gateway.ask("POST", path, form=sent)
    page = Document(reply)
    assert reply.status == 409
    assert "Rejected by reviewer" in page.text
    assert "out of stock" in page.text
    assert "What you typed" in page.text
    assert "my notes" in page.text
    assert "late-pin" not in page.source
    assert not page.has("reason")
    assert promise(desk, "late:1") == settled


def test_after_its_deadline_a_request_cannot_be_answered(desk: Desk) -> None:
    path = desk.put("expired:1", Question(prompt="Quick?"), deadline_ms=1)
    page = desk.get(path)
    assert "The deadline passed" in page.text
    assert "can no longer answer" in page.text
    desk.refused(410, path, "deadline-passed", verdict="approve")


def test_a_canceled_request_says_so(desk: Desk) -> None:
    path = desk.put("canceled", Question(prompt="Never mind?"))
    desk.hitl.ok("cancel", "canceled", "--as", "lead")
    page = desk.get(path)
    assert "Canceled" in page.text
    assert desk.refused(409, path, "already-decided", verdict="approve").text.count("was canceled")


def test_who_may_not_answer_has_no_buttons_and_is_told_why(desk: Desk) -> None:
    path = desk.put("theirs:1", Question(prompt="Ship?", to=("lead",), form=FIELDS))
    page = desk.get(path)
    assert "nly lead can answer" in page.text
    assert not page.has("reason")
    assert not page.has("field:amount")
    refused = desk.refused(403, path, "not-assignee", verdict="reject", reason="mine")
    assert "ada" in refused.text
    desk.refused(403, path, "not-assignee", verdict="approve", field_amount="x")
    assert promise(desk, "theirs:1").state == "pending"


def test_who_started_it_may_not_answer_where_that_is_asked(desk: Desk) -> None:
    path = desk.put("own", Question(prompt="Ship?", allow_self=False), by="ada")
    assert "someone else" in desk.get(path).text
    assert not desk.get(path).has("reason")


def test_a_member_of_a_group_may_answer_what_asks_it(desk: Desk) -> None:
    desk.taken(desk.put("group:1", Question(prompt="Ship?", to=("group:ops",))), verdict="approve")
    assert promise(desk, "group:1").state == "resolved"


@pytest.mark.only("file", reason="over HTTP no server says which workers listen")
def test_who_decides_learns_that_no_worker_continues_the_run(desk: Desk) -> None:
    worker = desk.hitl.worker()
    for id in ("idle-1", "idle-2"):
        desk.hitl.ok("start", id)

    def asked() -> list[str]:
        found = [one["id"] for one in desk.hitl.json("pending", "--all")]
        return sorted(id for id in found if id.startswith("idle-"))

    wait_until(lambda: len(asked()) == 2)
    worker.stop()
    own, other = asked()
    assert "hitl worker" not in desk.get(address(own)).text
    assert "hitl worker" in desk.taken(address(own), verdict="approve").text
    said_by(desk, other, "reviewer")
    assert "hitl worker" not in desk.get(address(other)).text


# Votes and comments


def test_where_several_must_approve_the_page_says_who_did_and_how_many_are_missing(desk: Desk) -> None:
    path = desk.put("votes:1", Question(prompt="Ship?", approvals=3))
    said_by(desk, "votes:1", "reviewer", comment="go on")
    page = desk.get(path)
    assert "1 of 3 approvals" in page.text
    assert "reviewer approves" in page.text
    assert "go on" in page.text
    page = desk.taken(path, verdict="approve")
    assert "You approved" in page.text
    assert "1 more approval is needed. Until then you can change your vote" in page.text
    page = desk.taken(path, verdict="reject", reason="I looked again")
    assert "You rejected" in page.text
    assert "I looked again" in page.text
    assert "1 of 3 approvals" in page.text
    assert promise(desk, "votes:1").state == "pending"


def test_a_vote_of_no_is_not_called_an_approval(desk: Desk) -> None:
    path = desk.put("vote-of-no:1", Question(prompt="Is it well?", approvals=3, form={"type": "boolean"}))
    said_by(desk, "vote-of-no:1", "reviewer", data=False)
    page = desk.taken(path, verdict="no")
    assert "You answered: No" in page.text
    assert "reviewer answers No" in " ".join(page.text.split())
    assert "2 of 3 answers" in page.text
    for words in ("reviewer approves", "ada approves", "approvals", "approval is"):
        assert words not in page.text


def test_the_last_vote_decides(desk: Desk) -> None:
    path = desk.put("last:1", Question(prompt="Ship?", approvals=2, choices=("ship", "hold")))
    said_by(desk, "last:1", "reviewer", text="ship")
    page = desk.taken(path, choice="ship")
    assert "You answered: ship" in page.text
    assert "reviewer answers ship" in " ".join(page.text.split())
    assert decode(promise(desk, "last:1").value) == "ship"


def test_a_comment_decides_nothing_and_is_markdown(desk: Desk) -> None:
    path = desk.put("remark:1", Question(prompt="Ship?"))
    page = desk.taken(path, verdict="comment", comment="Is the **log** [written](javascript:alert(1))?")
    assert "<strong>log</strong>" in page.source
    assert not any((at.get("href") or "").startswith("javascript:") for at in page.all("a"))
    assert page.has("reason")
    desk.refused(400, path, "bad-answer", verdict="comment", comment="  ")


def test_a_decided_request_can_be_commented_on(desk: Desk) -> None:
    path = desk.put("after:1", Question(prompt="Ship?"))
    desk.taken(path, verdict="approve")
    assert "too late" in desk.taken(path, verdict="comment", comment="too late").text


# What others write


@pytest.mark.parametrize(
    ("prompt", "absent"),
    [
        ("[x](javascript:alert(1))", "href"),
        ("[x](/runs)", 'href="/runs" target'),
        ("[x](data:text/html,<b>)", 'href="data:'),
        ("![shot](https://evil.example/pixel.png)", 'evil.example/pixel.png" alt'),
        ("<img src=x onerror=alert(1)>", "<img src=x"),
        ("<style>body{display:none}</style>", "<style>"),
    ],
)
def test_markdown_does_nothing_but_show_text(desk: Desk, prompt: str, absent: str) -> None:
    id = f"markdown-{abs(hash(prompt))}:1"
    source = desk.get(desk.put(id, Question(prompt=f"Look\n\n{prompt}"))).source
    start = source.index('class="prose"')
    body = source[start : source.index("</section>", start)]
    assert absent not in body


def test_a_picture_elsewhere_is_a_link_to_it(desk: Desk) -> None:
    path = desk.put("picture:1", Question(prompt="Look\n\n![a shot](https://example.org/p.png)"))
    page = desk.get(path)
    assert "a shot" in page.text
    [link] = page.all("a", href="https://example.org/p.png")
    assert link["rel"] == "noopener noreferrer nofollow"
    assert {at["src"] for at in page.all("img")} == {"/static/icon.svg"}


def test_hostile_texts_are_shown_and_do_nothing_wherever_they_stand(desk: Desk) -> None:
    schema = form(
        HOSTILE,
        **{
            HOSTILE: {"type": "string", "title": HOSTILE, "description": HOSTILE, "default": HOSTILE},
            "pick": {"enum": [HOSTILE, "b"], "title": HOSTILE},
            "many": {"enum": [HOSTILE, *map(str, range(9))]},
            "ticks": {"type": "array", "items": {"enum": [HOSTILE]}},
            "of": {
                **form(x={"type": "string", "pattern": HOSTILE}),
                "title": HOSTILE,
                "description": HOSTILE,
            },
            "json": {"type": ["array", "object"], "default": [HOSTILE]},
        },
    )
    id = f"h{HOSTILE}:1"
    path = desk.put(
        id,
        Question(
            prompt=HOSTILE,
            details={HOSTILE: [HOSTILE, {HOSTILE: HOSTILE}]},
            form=schema,
            choices=(HOSTILE, "b"),
            to=("ada", HOSTILE),
            approvals=3,
            digest=Digest(sha256="a" * 64, file=HOSTILE),
        ),
        by=HOSTILE,
        key=HOSTILE,
        tags={HOSTILE: HOSTILE},
    )
    with desk.hitl.client() as client:
        answer = approval(by=HOSTILE, via=HOSTILE, text=HOSTILE, data={HOSTILE: "x"}, comment=HOSTILE)
        decide(client, id, answer)
    desk.taken(path, verdict="comment", comment=HOSTILE)
    harmless(desk.get(path))
    harmless(desk.refused(400, path, FIT, choice=HOSTILE, **{f"field:{HOSTILE}": "", "field:of.x": HOSTILE}))
    desk.taken(path, verdict="reject", reason=HOSTILE)
    harmless(desk.get(path))


def harmless(page: Document) -> None:
    """Check that a page has no script, picture or handler but its own."""
    assert {at.get("src") for at in page.all("script")} == {"/static/hitl.js"}
    assert {at.get("src") for at in page.all("img")} == {"/static/icon.svg"}
    for _, at in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in at)
    assert "<script>alert(1)</script>" in page.text
    assert len(re.findall("<script", page.source)) == 1


def test_another_sites_form_decides_nothing(desk: Desk) -> None:
    path = desk.put("foreign-form:1", Question(prompt="Ship?"))
    assert desk.gateway.ask("POST", path, form={"verdict": "approve", "csrf": "guess"}).status == 403
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    csrf = desk.get(path).control("csrf")["value"] or ""
    form = {"verdict": "approve", "csrf": csrf}
    assert desk.gateway.ask("POST", path, form=form, headers=headers).status == 403
    assert promise(desk, "foreign-form:1").state == "pending"


AMOUNT = form("sum", "due_on", sum={"type": "integer", "title": "Amount"}, due_on={"type": "string"})


def test_votes_with_other_data_are_shown_before_the_second_and_after(desk: Desk) -> None:
    path = desk.put("differ:1", Question(prompt="Pay?", approvals=2, form=AMOUNT))
    said_by(desk, "differ:1", "reviewer", data={"sum": 100, "due_on": "now"})
    assert "100" in desk.get(path).text
    mine = {"verdict": "approve", "field_sum": "120", "field_due_on": "now"}
    page = desk.refused(409, path, "votes-differ", comment="kept", **mine)
    assert "Amount: 100 (reviewer), 120 (ada)" in page.text
    assert "Due on:" not in page.text
    assert page.control("field:sum")["value"] == "120"
    assert page.control("comment")["value"] == "kept"
    mark = page.control("stand_by")["value"] or ""
    desk.refused(409, path, "votes-differ", stand_by=mark, **mine | {"field_sum": "130"})
    assert promise(desk, "differ:1").state == "pending"
    page = desk.taken(path, (), stand_by=mark, **mine)
    assert "The votes have different data" in page.text
    assert decode(promise(desk, "differ:1").value) == {"sum": 120, "due_on": "now"}
    assert "Amount" in page.text
    shown = desk.hitl.ok("show", "differ:1")
    assert "Amount: 100 (reviewer), 120 (ada)" in shown
    assert "Due on: now" in shown
    assert "Amount: 120; Due on: now" in desk.hitl.ok("history", "differ:1")
    assert "Amount\n120\nDue on\nnow" in desk.get("/history").text


def test_votes_with_the_same_data_ask_nothing_more(desk: Desk) -> None:
    path = desk.put("differ:2", Question(prompt="Pay?", approvals=2, form=AMOUNT))
    said_by(desk, "differ:2", "reviewer", data={"sum": 100, "due_on": "now"})
    page = desk.taken(path, verdict="approve", field_sum="100", field_due_on="now")
    assert "The votes have different data" not in page.text


def test_the_form_begins_with_ones_own_vote(desk: Desk) -> None:
    path = desk.put("own:1", Question(prompt="Pay?", approvals=3, form=AMOUNT))
    said_by(desk, "own:1", "reviewer", data={"sum": 100, "due_on": "now"})
    assert desk.get(path).control("field:sum")["value"] == ""
    mine = {"field_sum": "100", "field_due_on": "now"}
    desk.taken(path, (), verdict="approve", **mine)
    assert desk.get(path).control("field:sum")["value"] == "100"
    desk.taken(path, (), verdict="reject", reason="no")
    assert desk.get(path).control("field:sum")["value"] == ""


def test_what_is_asked_again_says_why_and_begins_with_what_was_answered(desk: Desk) -> None:
    refused = Refused(why="amount must be even", data={"sum": 3, "due_on": "now"}, by="ada", at=0)
    asked = Question(prompt="Pay?", form=AMOUNT)
    first = desk.put("again:1", asked)
    again = replace(asked, refused=refused, replaces="again:1")
    path = desk.put("again:2", again, tags={"resonate:origin": "again:1"})
    page = desk.get(path)
    assert "Your answer could not be used" in page.text
    assert "amount must be even" in page.text
    assert page.control("field:sum")["value"] == "3"
    assert "amount must be even" in desk.get("/").text
    desk.taken(first, verdict="approve", field_sum="3", field_due_on="now")
    page = desk.get(first)
    assert "Your answer could not be used" in page.text
    assert list(page.all("a", href=path))
    desk.taken(path, verdict="approve", field_sum="4", field_due_on="now")
    assert "could not be used" not in desk.get(path).text


EDITABLE = {
    "properties": {
        "amount": {"type": "integer", "maximum": 500},
        "argv": {"type": "array", "items": {"type": "string"}},
    }
}


def test_arguments_are_changed_on_the_page_and_shown_before_they_count(desk: Desk) -> None:
    arguments = {"amount": 120, "argv": ["rm", "a b"], "to": "acct-1"}
    path = desk.put("change:1", Question(prompt="Pay?", arguments=arguments, editable=EDITABLE))
    page = desk.get(path)
    assert page.control("field:amount")["value"] == "120"
    assert not page.has("field:to")
    desk.refused(400, path, FIT, verdict="approve", field_amount="900")
    sent = {"verdict": "approve", "field_amount": "80", "field_argv": "rm\r\na b", "comment": "kept"}
    page = desk.refused(409, path, "arguments-changed", **sent)
    assert "amount: 120 → 80" in page.text
    assert "argv" not in page.text.partition("Change the arguments")[0].partition("amount: 120 → 80")[2][:20]
    assert (page.control("field:amount")["value"], page.control("comment")["value"]) == ("80", "kept")
    mark = page.control("stand_by")["value"] or ""
    desk.refused(409, path, "arguments-changed", stand_by=mark, **sent | {"field_amount": "81"})
    assert promise(desk, "change:1").state == "pending"
    page = desk.taken(path, (), stand_by=mark, **sent)
    assert "amount: 120 → 80" in page.text
    assert decode(promise(desk, "change:1").value) == arguments | {"amount": 80}
    assert "amount: 120 → 80" in desk.get("/history").text
    assert "amount: 120 → 80" in desk.hitl.ok("show", "change:1")


def test_arguments_that_are_left_alone_are_approved_at_once(desk: Desk) -> None:
    arguments = {"amount": 120, "argv": [], "text": "a\r\nb"}
    path = desk.put("change:2", Question(prompt="Pay?", arguments=arguments, editable=True))
    desk.taken(path, [one for one in desk.get(path).filled if one[0].startswith("field:")], verdict="approve")
    assert decode(promise(desk, "change:2").value) == arguments


def test_votes_for_other_arguments_are_shown_and_do_not_count_together(desk: Desk) -> None:
    path = desk.put(
        "change:3", Question(prompt="Pay?", arguments={"amount": 120}, editable=EDITABLE, approvals=2)
    )
    said_by(desk, "change:3", "reviewer", arguments={"amount": 100})
    page = desk.refused(409, path, "votes-differ", verdict="approve", field_amount="120")
    assert "Amount: 100 (reviewer), 120 (ada)" in page.text
    mark = page.control("stand_by")["value"] or ""
    page = desk.taken(path, (), verdict="approve", field_amount="120", stand_by=mark)
    assert "Only votes for the same arguments count together" in page.text
    assert promise(desk, "change:3").state == "pending"
    page = desk.refused(409, path, "arguments-changed", verdict="approve", field_amount="100")
    mark = page.control("stand_by")["value"] or ""
    desk.taken(path, (), verdict="approve", field_amount="100", stand_by=mark)
    assert decode(promise(desk, "change:3").value) == {"amount": 100}
