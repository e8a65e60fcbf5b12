"""The pages about notifications are right."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.channels.webhook import document
from hitl_cli.people.contacts import Address, Directory, WebhookSettings
from hitl_cli.requests.notification import Occasion
from hitl_cli.settings import convert
from tests.inbox.requests import request
from tests.notify.samples import message

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway
    from tests.notify.receivers import HttpReceiver

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "guides/notifications",
    "guides/email",
    "guides/slack",
    "guides/webhooks",
    "guides/hooks",
    "guides/sign-in",
    "reference/notifications",
)
PAGE = "".join((DOCS / f"{page}.md").read_text() for page in PAGES)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def blocks(language: str) -> list[str]:
    return [str(text) for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)]


def functions() -> dict[str, Any]:
    """What the page's Python defines."""
    names: dict[str, Any] = {}
    for text in blocks("python"):
        exec(compile(text, "docs/guides/webhooks.md", "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("text", blocks("toml"))
def test_the_settings_on_the_page_are_ones(text: str) -> None:
    assert convert(tomllib.loads(text), Path("hitl.toml"))


def test_a_webhook_has_the_fields_of_the_page() -> None:
    [shown] = [json.loads(text) for text in blocks("json")]
    made = document(message())
    assert list(shown) == list(made)
    assert list(shown["data"]) == list(made["data"])
    assert list(shown["data"]["requests"][0]) == list(made["data"]["requests"][0])


def test_the_page_names_every_occasion_of_which_a_webhook_tells() -> None:
    for occasion in set(Occasion.__value__.__args__) - {"sign-in"}:
        assert f"`{occasion}`" in PAGE


def test_a_webhook_is_read_as_the_page_says(receiver: HttpReceiver) -> None:
    settings = Directory(webhooks=WebhookSettings(secret=SECRET))
    asyncio.run(send(message(), Address("webhook", receiver.url), settings))
    receive, came = functions()["receive"], receiver.received[0]
    assert receive(SECRET, came.headers, came.body)["type"] == "hitl.asked"
    with pytest.raises(WebhookVerificationError):
        receive(SECRET, came.headers, came.body + b" ")


def test_an_answer_is_sent_as_the_page_says(hitl: Hitl, start_gateway: StartGateway) -> None:
    (hitl.folder / "hitl.toml").write_text('[hooks.bot]\nsecret = "$BOT_SECRET"\n')
    gateway = start_gateway(env={"BOT_SECRET": SECRET})
    with hitl.client() as client:
        asked = request(client, "deploy-7:1")
    said = {"request": asked.id, "verdict": "approve", "by": "reviewer"}
    answered = functions()["answer"](f"{gateway.url}/hooks/bot", SECRET, said)
    assert answered == {
        "request": asked.id,
        "run": "deploy-7",
        "workflow": "deploy-7",
        "outcome": "approved",
        "by": "reviewer",
    }
