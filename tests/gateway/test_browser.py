"""The tests of pages notice errors of Chromium and requests to other hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until
from tests.gateway.browser import IN_A_BROWSER, check_accessible, check_narrow

if TYPE_CHECKING:
    from tests.gateway.conftest import GatewayProcess, OpenVisit

pytestmark = [pytest.mark.heavy, IN_A_BROWSER]

FORBIDDEN = [
    "<script>alert(1)</script>",
    "<img src='http://192.0.2.1/x.png'>",
    "<p style='color: red'>",
    "<script src='//evil.example/x.js'></script>",
]


def test_a_page_of_an_address_that_is_none_is_accessible(
    shared_gateway: GatewayProcess, visit: OpenVisit
) -> None:
    opened = visit(shared_gateway.url)
    opened.expect("404")
    check_accessible(opened.go("/nowhere"))


def test_what_a_page_may_not_do_would_be_noticed(shared_gateway: GatewayProcess, visit: OpenVisit) -> None:
    opened = visit(shared_gateway.url)
    opened.expect("")
    page = opened.go("/nowhere")
    for html in FORBIDDEN:
        wait_until(lambda: page.evaluate("1") and opened.complaints)
        opened.complaints.clear()
        page.evaluate(
            "html => document.body.append(document.createRange().createContextualFragment(html))", html
        )
    wait_until(lambda: page.evaluate("1") and opened.complaints)


def test_what_is_not_accessible_or_too_wide_would_be_noticed(
    shared_gateway: GatewayProcess, visit: OpenVisit
) -> None:
    opened = visit(shared_gateway.url)
    opened.expect("404")
    page = opened.go("/nowhere")
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    with pytest.raises(AssertionError, match="button-name"):
        check_accessible(page)
    page.evaluate("document.querySelector('main').outerHTML = '<hr width=500>'")
    with pytest.raises(AssertionError, match="wider than 320 px"):
        check_narrow(page)
