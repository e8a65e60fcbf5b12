"""What `hitl doctor` says of the address at which people reach the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.admin.gateway_checks import judge_gateway
from hitl_cli.settings import DEFAULT_GATEWAY, Setting
from tests.certificates import answering, self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.conftest import GatewayProcess


def judged(url: str) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in judge_gateway(Setting(url, "hitl.toml"))]


def test_a_gateway_answers_at_its_address_or_not(shared_gateway: GatewayProcess) -> None:
    assert [level for level, _ in judged(shared_gateway.url)] == ["ok"]
    [(level, text)] = judged(f"{shared_gateway.url}/elsewhere")
    assert (level, text.endswith("answers with 404")) == ("warning", True)
    [(level, text)] = judged("http://127.0.0.1:9")
    assert (level, "cannot be reached from here: Connection refused" in text) == ("warning", True)
    [finding] = judge_gateway(Setting("http://127.0.0.1:9", "hitl.toml"))
    assert "hitl gateway" in str(finding.advice)
    [(level, text)] = judged("https://hitl..example.org")  # no name that can be looked up
    assert (level, "cannot be reached from here" in text) == ("warning", True)
    assert [*judge_gateway(DEFAULT_GATEWAY)] == []


@pytest.mark.parametrize(
    ("days", "said"),
    [(30, ["answers with 501"]), (3, ["answers with 501", "ends in 2 days"]), (-1, ["expired"])],
)
def test_a_certificate_that_ends_soon_or_has_ended_is_named(
    days: int, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "server.pem", days)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with answering(certificate) as url:
        assert [text.rpartition(said[at])[1] for at, (_, text) in enumerate(judged(url))] == said
