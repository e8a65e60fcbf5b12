"""Answers that come back by `POST /hooks/NAME`: signed, held to who may answer, harmless when sent twice."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from standardwebhooks import Webhook

from hitl_cli.auth.signatures import slack_signature
from hitl_cli.inbox.resolve import find
from hitl_cli.people.groups import groups_of
from tests.acting import decide, details, rejection
from tests.conftest import HITL, Hitl
from tests.gateway.conftest import GatewayProcess
from tests.inbox.requests import request
from tests.notify.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hitl_cli.inbox.history import HistoryEntry
    from tests.gateway.conftest import Reply

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # the one in Slack's documentation
FIVE_MINUTES_S = 300

SETTINGS = """
[people.reviewer]
slack = "{slack}/services/T0/B0/x"
slack_user = "U061F7AUR"
[groups.ops]
members = ["reviewer", "lead", "third"]
[hooks.ci]
secret = "$HOOK_SECRET"
[hooks.slack]
kind = "slack"
secret = "$SLACK_SECRET"
"""


class Desk:
    """A gateway with two hooks, and a stand-in for Slack that gets the results of clicks."""

    def __init__(self, hitl: Hitl, slack: HttpReceiver) -> None:
        self.hitl, self.slack = hitl, slack
        (hitl.folder / "hitl.toml").write_text(SETTINGS.format(slack=slack.url.removesuffix("/hook")))
        env = {**hitl.env, "HOOK_SECRET": SECRET, "SLACK_SECRET": SLACK_SECRET}
        self.gateway = GatewayProcess([HITL, "gateway", "--port", "0"], env, hitl.folder)
        self.client = hitl.client()
        self._asked = 0

    def ask(self, **question: Any) -> str:
        """Ask something, and return the id of the request."""
        self._asked += 1
        asked = {"prompt": "Ship 1.4.2?"} | question
        return request(self.client, f"asked-{self._asked}", **asked).id

    def post(
        self,
        body: Any,
        *,
        hook: str = "ci",
        id: str = "msg_1",
        secret: str = SECRET,
        age_s: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Post what is signed by the reference signer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        at = int(time.time()) - age_s
        signed = {
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": Webhook(secret).sign(id, datetime.fromtimestamp(at, UTC), data.decode()),
        }
        return self.gateway.ask("POST", f"/hooks/{hook}", data=data, headers={**signed, **(headers or {})})

    def click(
        self,
        action: str,
        request: str,
        *,
        user: str = "U061F7AUR",
        age_s: int = 0,
        response_url: str | None = None,
    ) -> Reply:
        """Click on a button in Slack: the payload is as Slack documents it."""
        payload = {
            "type": "block_actions",
            "team": {"id": "T9TK3CUKW", "domain": "example"},
            "user": {"id": user, "username": "jtorrance", "team_id": "T9TK3CUKW"},
            "api_app_id": "AABA1ABCD",
            "token": "9s8d9as89d8as9d8as989",
            "container": {"type": "message", "message_ts": "1548261231.000200"},
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": {"id": "CBR2V3XEX", "name": "review-updates"},
            "response_url": response_url or f"{self.slack.url.removesuffix('/hook')}/actions/T9TK3CUKW/1/x",
            "actions": [
                {
                    "action_id": action,
                    "block_id": "=qXel",
                    "text": {"type": "plain_text", "text": "Approve", "emoji": False},
                    "value": request,
                    "type": "button",
                    "action_ts": "1548426417.840180",
                }
            ],
        }
        return self.signed_by_slack(urlencode({"payload": json.dumps(payload)}).encode(), age_s)

    def signed_by_slack(self, body: bytes, age_s: int = 0) -> Reply:
        """Post what Slack has signed."""
        at = int(time.time()) - age_s
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(at),
            "X-Slack-Signature": slack_signature(SLACK_SECRET.encode(), at, body),
        }
        return self.gateway.ask("POST", "/hooks/slack", data=body, headers=headers)

    def told(self) -> dict[str, Any]:
        """The last message to Slack."""
        document: dict[str, Any] = self.slack.wait_for()[-1].json
        return document

    def decision(self, asked: str) -> HistoryEntry | None:
        return details(self.client, find(self.client, asked).promise).decision

    def decided(self, asked: str) -> HistoryEntry:
        made = self.decision(asked)
        assert made is not None
        return made

    def waits(self, request: str) -> bool:
        return self.decision(request) is None


@pytest.fixture(scope="module")
def gateway_and_slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with HttpReceiver() as slack:
        desk = Desk(Hitl(tmp_path_factory.mktemp("hooks")), slack)
        desk.gateway.said("gateway for")
        yield desk
        desk.gateway.clear_away()
        desk.client.close()


@pytest.fixture
def desk(gateway_and_slack: Desk) -> Desk:
    """The shared gateway, with no messages to Slack yet."""
    gateway_and_slack.slack.received.clear()
    return gateway_and_slack


def approval(request: str, by: str = "reviewer", **more: Any) -> dict[str, Any]:
    return {"request": request, "verdict": "approve", "by": by, **more}


def test_an_answer_decides_and_who_and_through_what_is_on_the_record(desk: Desk) -> None:
    asked = desk.ask(to=("reviewer",))
    reply = desk.post(approval(asked, comment="from the pipeline"))
    assert (reply.status, reply.json) == (
        200,
        {"request": asked, "run": asked, "workflow": asked, "outcome": "approved", "by": "reviewer"},
    )
    made = desk.decided(asked)
    assert (made.by, made.via, made.comment) == ("reviewer", "hook:ci", "from the pipeline")


def test_a_no_has_a_reason_and_a_choice_is_one_of_those_there_are(desk: Desk) -> None:
    asked = desk.ask()
    assert (
        desk.post({"request": asked, "verdict": "reject", "by": "lead", "reason": "too risky"}).status == 200
    )
    assert desk.decided(asked).reason == "too risky"
    asked = desk.ask(choices=("ship", "hold"))
    assert desk.post(approval(asked, choice="sink")).status == 400
    assert desk.post(approval(asked, choice="hold")).status == 200
    assert desk.decided(asked).choice == "hold"


def test_the_same_message_again_is_the_same_decision(desk: Desk) -> None:
    asked = desk.ask()
    first, again = desk.post(approval(asked), id="msg_a"), desk.post(approval(asked), id="msg_a")
    assert (first.status, first.json) == (again.status, again.json)
    other = desk.post({"request": asked, "verdict": "reject", "by": "lead"}, id="msg_a")
    assert (other.status, other.json["code"]) == (409, "already-decided")
    assert "reviewer" in other.json["error"]
    assert desk.decided(asked).outcome == "approved"


@pytest.mark.parametrize("approvals", [1, 2])
def test_an_answer_to_a_key_that_is_sent_again_does_not_answer_what_is_asked_next(
    desk: Desk, approvals: int
) -> None:
    key = f"release-{approvals}"
    first = desk.ask(key=key, approvals=approvals)
    said = desk.post(approval(key), id="msg_k")
    assert said.json["request"] == first
    desk.post(approval(key, by="lead"), id="msg_l")
    assert not desk.waits(first)
    second = desk.ask(key=key, approvals=approvals)
    again = desk.post(approval(key), id="msg_k")
    assert again.json["request"] == first
    assert desk.waits(second)
    assert desk.post(approval(key), id="msg_m").json["request"] == second


def test_the_beginning_of_an_id_is_no_name_for_a_program(desk: Desk) -> None:
    asked = desk.ask()
    assert desk.post(approval(asked[:-1])).status == 404
    desk.click("hitl:approve", asked[:-1])
    assert asked[:-1] in desk.told()["text"]
    assert desk.waits(asked)


def test_an_old_vote_that_is_sent_again_does_not_undo_a_later_one(desk: Desk) -> None:
    asked = desk.ask(to=("group:ops",), approvals=2)
    vote = approval(asked)
    assert desk.post(vote, id="msg_v").json["outcome"] is None
    no = rejection(by="reviewer", via="test", reason="on second thought")
    decide(desk.client, asked, no, groups_of({"ops": ["reviewer", "lead", "third"]}))
    desk.post(vote, id="msg_v")
    desk.post(approval(asked, by="lead"), id="msg_w")
    assert desk.waits(asked)


def test_an_answer_of_somebody_else_is_refused(desk: Desk) -> None:
    asked = desk.ask(to=("group:ops",))
    reply = desk.post(approval(asked, by="stranger"))
    assert (reply.status, reply.json["code"]) == (403, "not-assignee")
    assert "stranger" in reply.json["error"]
    assert desk.waits(asked)
    assert desk.post(approval(asked, by="lead")).status == 200


def test_what_is_not_signed_by_this_secret_and_now_is_refused(desk: Desk) -> None:
    asked = desk.ask()
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    body = json.dumps(approval(asked)).encode()
    for reply in (
        desk.gateway.post("/hooks/ci", approval(asked)),
        desk.post(approval(asked), secret=other),
        desk.post(approval(asked), age_s=FIVE_MINUTES_S + 5),
        desk.post(approval(asked), age_s=-FIVE_MINUTES_S - 5),
        desk.post(body, headers={"webhook-id": "another"}),
        desk.post(body, headers={"webhook-timestamp": "now"}),
        desk.post(body, headers={"webhook-timestamp": "9" * 400}),
        desk.post(body, headers={"webhook-signature": "v1,"}),
        desk.post(body, headers={"webhook-signature": "v2,x y v1,\xff"}),
        desk.post(approval(asked), hook="slack"),
    ):
        assert reply.status == 401, reply.text
        assert list(reply.json) == ["error", "code"]
        assert reply.json["code"] == "signature-invalid"
        assert SECRET not in reply.text
    assert desk.waits(asked)


def test_one_of_several_signatures_is_enough_as_when_secrets_are_rotated(desk: Desk) -> None:
    asked, at = desk.ask(), int(time.time())
    body = json.dumps(approval(asked))
    good = Webhook(SECRET).sign("msg_r", datetime.fromtimestamp(at, UTC), body)
    signed = {"webhook-signature": f"v1,AAAA {good}", "webhook-timestamp": str(at)}
    assert desk.post(body.encode(), id="msg_r", headers=signed).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"[" * 10_000,
        b'{"request": "x"}',
        b'{"request": "x", "verdict": "maybe", "by": "lead"}',
        b'{"request": "x", "verdict": "approve", "by": "lead", "extra": 1}',
        b'{"request": "x", "verdict": "reject", "by": "lead", "data": 1}',
        b'{"request": "x", "verdict": "approve", "by": "lead", "reason": "why not"}',
        b'{"request": "x", "verdict": "approve", "by": " "}',
    ],
)
def test_a_body_that_is_no_answer_is_told_what_is_wrong(desk: Desk, body: bytes) -> None:
    reply = desk.post(body)
    assert reply.status in {400, 404}
    assert reply.json["error"]


def test_what_does_not_fit_the_request_changes_nothing(desk: Desk) -> None:
    asked = desk.ask()
    assert desk.post(approval(asked, choice="ship")).status == 400
    assert desk.post(approval(asked, choice="no")).status == 400
    assert desk.post(approval(asked, by="group:ops")).status == 400
    assert desk.post(approval(asked, data={"__py_pickle": "x"})).status == 400
    assert desk.post(approval("nothing-like-it")).status == 404
    assert desk.waits(asked)


def test_a_hook_that_is_not_set_a_body_that_is_too_big_and_a_get_are_refused(desk: Desk) -> None:
    assert desk.post({}, hook="other").status == 404
    assert desk.post(b"x" * 1_300_000).status == 413
    reply = desk.gateway.get("/hooks/ci")
    assert (reply.status, list(reply.json)) == (405, ["error", "code"])


def test_the_signature_is_the_one_of_slacks_documentation() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    signed = slack_signature(SLACK_SECRET.encode(), 1_531_420_618, body)
    assert signed == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def test_a_click_in_slack_decides_as_the_person_whose_account_it_is(desk: Desk) -> None:
    asked = desk.ask(to=("reviewer",))
    reply = desk.click("hitl:approve", asked)
    assert (reply.status, reply.body) == (200, b"")
    made = desk.decided(asked)
    assert (made.outcome, made.by, made.via) == ("approved", "reviewer", "hook:slack")
    assert desk.told() == {"replace_original": True, "text": "Ship 1.4.2?\nApproved by reviewer"}


def test_marks_in_what_came_of_it_are_not_read(desk: Desk) -> None:
    desk.click("hitl:approve", desk.ask(prompt="Ship __init__.py *now*?"))
    assert desk.told()["text"].startswith("Ship __init__.py *now*?")
    assert desk.told()["mrkdwn"] is False


def test_a_click_on_no_is_a_no_and_a_second_click_is_told_that_it_came_too_late(desk: Desk) -> None:
    asked = desk.ask()
    desk.click("hitl:reject", asked)
    assert desk.decided(asked).outcome == "rejected"
    desk.slack.wait_for(1)
    desk.click("hitl:approve", asked)
    desk.slack.wait_for(2)
    assert desk.told()["response_type"] == "ephemeral"
    assert "reviewer" in desk.told()["text"]


def test_a_click_of_nobody_that_is_known_or_asked_changes_nothing_and_is_told_so(desk: Desk) -> None:
    asked = desk.ask(to=("lead",))
    assert desk.click("hitl:approve", asked, user="U999").status == 200
    assert desk.told()["response_type"] == "ephemeral"
    desk.click("hitl:approve", asked)
    desk.slack.wait_for(2)
    assert "reviewer" in desk.told()["text"]
    assert desk.waits(asked)


def test_a_vote_in_slack_leaves_the_message_to_the_others(desk: Desk) -> None:
    asked = desk.ask(to=("group:ops",), approvals=2)
    desk.click("hitl:approve", asked)
    assert desk.told()["replace_original"] is False
    assert "2 approvals are needed" in desk.told()["text"]
    assert desk.waits(asked)


def test_a_click_that_slack_has_not_signed_or_not_now_is_refused(desk: Desk) -> None:
    asked = desk.ask()
    assert desk.click("hitl:approve", asked, age_s=FIVE_MINUTES_S + 5).status == 401
    headers = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=00"}
    assert desk.gateway.ask("POST", "/hooks/slack", data=b"payload={}", headers=headers).status == 401
    assert desk.waits(asked)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload={}&payload={}",
        b"payload=%5B1%5D",
        b"payload=" + b"%5B" * 10_000,
        b"payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A7%7D",
        b"payload=\xff",
        b"&".join([b"a=1"] * 20),
    ],
)
def test_what_slack_signed_and_is_no_click_is_refused(desk: Desk, body: bytes) -> None:
    reply = desk.signed_by_slack(body)
    assert (reply.status, reply.json["code"]) == (400, "bad-input")
    assert not desk.slack.received


def test_a_click_on_a_link_is_taken_note_of_and_nothing_else(desk: Desk) -> None:
    asked = desk.ask()
    assert desk.click("hitl:open", asked).status == 200
    assert desk.waits(asked)
    assert not desk.slack.received


@pytest.mark.parametrize("elsewhere", ["{url}", "http://[", "file:///etc/passwd", "http://169.254.169.254/x"])
def test_what_came_of_a_click_is_told_nowhere_but_where_messages_are_posted(
    desk: Desk, receiver: HttpReceiver, elsewhere: str
) -> None:
    asked = desk.ask()
    assert desk.click("hitl:approve", asked, response_url=elsewhere.format(url=receiver.url)).status == 200
    assert desk.decided(asked).by == "reviewer"
    desk.click("hitl:approve", desk.ask())
    desk.slack.wait_for(1)
    assert not receiver.received


def test_arguments_are_changed_by_a_hook_and_approved_as_they_are_by_a_click(desk: Desk) -> None:
    options: dict[str, Any] = {"arguments": {"amount": 120}, "editable": True}
    asked = desk.ask(**options)
    assert desk.post(approval(asked, arguments={"amount": "x"}), id="wrong").status == 400
    assert desk.post(approval(asked, arguments={"amount": 80}), id="changed").status == 200
    assert [one.sentence for one in desk.decided(asked).changes] == ["amount: 120 → 80"]
    asked = desk.ask(**options)
    desk.click("hitl:approve", asked)
    assert (desk.decided(asked).data, desk.decided(asked).changes) == ({"amount": 120}, ())
