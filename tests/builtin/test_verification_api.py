"""E-mail addresses: which are some, and which are the same."""

from __future__ import annotations

import pytest

from hitl_cli.builtin.verification_api import key_of, normal_address, run_id
from hitl_cli.errors import BadInput
from hitl_cli.runs.run import check_id


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" a@EXAMPLE.org\n", "a@example.org"),
        ("A@example.org", "A@example.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("o'hara+tag/x=y@mail.example.org", "o'hara+tag/x=y@mail.example.org"),
        ("a@localhost", "a@localhost"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_an_address_is_written_in_one_way_that_is_an_id(given: str, kept: str) -> None:
    assert normal_address(given) == kept
    assert normal_address(kept) == kept
    assert check_id(run_id(kept)) == f"workflow-{kept}"
    assert key_of(kept) == f"email-confirmed-{kept}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a",
        "a@",
        "@example.org",
        "a b@example.org",
        "a:b@example.org",
        "a@straße.example",  # strasse.example to Python, and somebody else's
        "a@exa mple.org",
        "a@example..org",
        "a@-example.org",
        "a@example.org.",
        ".a@example.org",
        "a..b@example.org",
        "a@b@example.org",
        '"a"@example.org',
        "<a@example.org>",
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org,b@example.org",
        "a\x00@example.org",
        "a@[127.0.0.1]",
        "a" * 65 + "@example.org",
        "a@" + "b" * 64 + ".org",
        "a@" + "b." * 200 + "org",
        "ä@example.org",
        "a@\ud800.org",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        normal_address(text)
