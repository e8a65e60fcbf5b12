"""Contacts in the settings, and errors in them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from hitl_cli.admin import notify_checks
from hitl_cli.errors import BadInput, BadSetting
from hitl_cli.people.contacts import Address
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.people.contacts import Directory
    from tests.conftest import Hitl

OIDC = '[oidc]\nissuer = "https://id.example.org"\nclient_id = "hitl"\n'
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


def directory(folder: Path, text: str, **env: str) -> Directory:
    (folder / "hitl.toml").write_text(text)
    return Settings(env, folder).directory()


def used(folder: Path, text: str) -> None:
    """Use all settings."""
    directory(folder, text)
    Settings({}, folder).server()
    Settings({}, folder).person()


def test_a_person_is_reached_in_the_order_that_is_set(tmp_path: Path) -> None:
    known = directory(
        tmp_path,
        """
        [people.reviewer]
        email = "a@example.org"
        slack = "$SLACK_REVIEWER"
        apprise = ["ntfy://topic", "$PHONE"]
        notify = ["slack", "apprise", "email", "console"]
        [people.lead]
        email = "b@example.org"
        """,
        SLACK_REVIEWER="https://hooks.slack.com/services/T0/B0/x",
        PHONE="tgram://token/chat",
    )
    assert known.people["reviewer"].addresses == (
        Address("slack", "https://hooks.slack.com/services/T0/B0/x"),
        Address("apprise", "ntfy://topic"),
        Address("apprise", "tgram://token/chat"),
        Address("email", "a@example.org"),
        Address("console"),
    )
    assert known.people["lead"].addresses == (Address("email", "b@example.org"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[people.reviewer]\nemail = "a.example.org"', "people.reviewer.email is 'a.example.org'"),
        ('[people.reviewer]\nemail = "a@b.c\\r\\nBcc: d@e.f"', "people.reviewer.email"),
        ('[groups.ops]\nslack = "hooks.slack.com/x"', "groups.ops.slack must be a URL"),
        ('[people.reviewer]\nwebhook = "ftp://example.org"', "people.reviewer.webhook must be a URL"),
        ('[people.reviewer]\nwebhook = "http://[::1"', "people.reviewer.webhook must be a URL"),
        ('[people.reviewer]\nwebhook = "http://h:99999/"', "people.reviewer.webhook must be a URL"),
        ('[people.reviewer]\napprise = "phone"', "people.reviewer.apprise must be an Apprise URL"),
        (
            '[people.reviewer]\nnotify = ["email"]',
            "notify names email, but people.reviewer.email is not set",
        ),
        ('[people.reviewer]\nnotify = ["sms"]', "sms"),
        ('[people.reviewer]\ndigest = "often"', "people.reviewer.digest is not valid: 'often'"),
        ('[people.reviewer]\nslack_user = "@reviewer"', "people.reviewer.slack_user"),
        ('[people.a]\nslack_user = "U123"\n[people.b]\nslack_user = "U123"', "set for two people"),
        ('[groups.ops]\nslack_user = "U123"', "groups.ops.slack_user is not possible"),
        ('[groups.ops]\nmembers = ["group:legal"]', "groups.ops.members has group:legal"),
        ('[people."group:ops"]\nemail = "a@example.org"', "write [groups.ops]"),
        ('[people.reviewer]\nphone = "1"', "people.reviewer has no setting phone"),
        ('[groups]\nops = ["reviewer"]', 'not a list: write [groups.ops], and below it members = ["…"]'),
        ('[people]\nreviewer = "a@example.org"', "write [people.reviewer], and below it email"),
        ("[groups.a]\n[groups.ops]\nmembers = 7", "groups.ops.members must be a list, not a whole number"),
        ('[email]\nhost = "mail example"', "email.host"),
        ('[email]\nhost = "mail.example.org"\nport = 70000', "email.port is 70000"),
        ('[email]\nhost = "mail.example.org"\nfrom = "hitl"', "email.from is 'hitl'"),
        (
            '[email]\nhost = "mail.example.org"\nuser = "hitl"',
            "email.user and email.password must be given together",
        ),
        ('[email]\nhost = "mail.example.org"\nuser = "u"\npassword = "$MAIL_PASSWORD"', "$MAIL_PASSWORD"),
        ('[hooks."a/b"]\nsecret = "x"', "hooks.a/b is part of a URL"),
        ('[hooks.ci]\nsecret = "hunter2"', "hooks.ci.secret is not valid"),
        ('[hooks.slack]\nkind = "slack"\nsecret = "hunter2"', "hooks.slack.secret is not Slack's"),
        ('[webhooks]\nsecret = "hunter2"', "webhooks.secret is not valid"),
        ('[people.reviewer]\nslack = "$SLACK"', "$SLACK, which is not set"),
        ('gateway = "hitl.example.org"', "'hitl.example.org' (gateway in "),
        ('gateway = "https://hitl.example.org/r/x"', "'https://hitl.example.org/r/x' (gateway in "),
        ('server = "nonsense"', "hitl.toml: 'nonsense' is not the address of a server"),
        ('server = "ftp://x"', "hitl.toml: ftp:// is not a supported server"),
        ('as = "group:ops"', "hitl.toml: 'group:ops' is the name of a group"),
        ('[people."a b"]\nemail = "x"', "people.\"a b\".email is 'x'"),
        ('[people.a]\noidc = "U1"\n[people.b]\noidc = "U1"', "people.a.oidc and people.b.oidc are both 'U1'"),
        ('[people.a]\n[roles]\nauditor = ["b"]', "roles.auditor: b is not in the settings"),
        ('[policy]\n"x-*" = { approvals = { "group:b" = 1 } }', 'policy."x-*".approvals: group:b is not in'),
        ('[visibility.private]\n"h*" = ["prompt"]', "visibility.private.\"h*\" has 'prompt'"),
        ('[requests]\n"h*" = {extend = ""}', "requests.\"h*\".extend: '' is not a duration"),
        ('[checkpoints]\nkeys = ["nonsense"]', "checkpoints.keys: "),
        ('[checkpoints]\nevery = "often"', "checkpoints.every: 'often' is not a duration"),
        (OIDC + 'session = "often"', "oidc.session: 'often' is not a duration"),
        (OIDC + 'session = "30d"', "oidc.session: '30d' must be from 1m to 12h"),
        (OIDC + 'login = "900d"', "oidc.login: '900d' must be at most 365d"),
        (OIDC.replace("https", "ftp"), "oidc.issuer is 'ftp://"),
    ],
)
def test_a_mistake_is_told_with_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        used(tmp_path, text)
    assert said in str(caught.value)
    assert "hitl.toml" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_variable_that_holds_no_url_is_told_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"people\.reviewer\.slack must be") as caught:
        directory(tmp_path, '[people.reviewer]\nslack = "$SLACK"', SLACK="hunter2")
    assert "hunter2" not in str(caught.value)


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    text = (
        '[webhooks]\nsecret = "$SIGNING"\n[hooks.ci]\nsecret = "$SIGNING"\n'
        '[email]\nhost = "mail.example.org"\nuser = "hitl"\npassword = "$MAIL"\n'
        'from = "Requests <a@example.org>"'
    )
    known = directory(tmp_path, text, SIGNING=SECRET, MAIL="pass")
    assert (known.webhooks.secret, known.hooks["ci"].secret) == (SECRET, SECRET)
    assert known.email is not None
    assert known.email.password == "pass"


def test_secrets_come_from_files(tmp_path: Path) -> None:
    text = """
        oidc = { issuer = "https://login.example.org", client_id = "hitl", client_secret = "$SIGNING" }
        webhooks.secret = "$SIGNING"
        callbacks.secret = "$SIGNING"
        hooks.ci.secret = "$SIGNING"
        """
    (tmp_path / "signing").write_text(f"{SECRET}\n")
    known = directory(tmp_path, text, SIGNING_FILE=str(tmp_path / "signing"))
    assert known.oidc is not None
    found = (
        known.webhooks.secret,
        known.callbacks.secret,
        known.hooks["ci"].secret,
        known.oidc.client_secret,
    )
    assert found == (SECRET,) * 4
    (tmp_path / "hitl.toml").write_text('server = "$DATABASE_URL"')
    (tmp_path / "url").write_text("postgresql://worker:secret@db.example.com/hitl\n")
    given = Settings({"DATABASE_URL_FILE": str(tmp_path / "url")}, tmp_path).server().value
    assert given == "postgresql://worker:secret@db.example.com/hitl"
    (tmp_path / "hitl.toml").write_text('server = "postgresql://worker:$PASSWORD@db.example.com/hitl"')
    (tmp_path / "password").write_text("it's/odd")
    env = {"PASSWORD_FILE": str(tmp_path / "password")}
    assert Settings(env, tmp_path).server().value == "postgresql://worker:it%27s%2Fodd@db.example.com/hitl"
    assert Settings({"RESONATE_TOKEN_FILE": str(tmp_path / "password")}, tmp_path).token() == "it's/odd"
    with pytest.raises(BadSetting, match=r"SIGNING_FILE.*No such file"):
        directory(tmp_path, text, SIGNING_FILE=str(tmp_path / "missing"))


def test_a_command_that_meets_a_mistake_says_so_and_does_nothing(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('[people.reviewer]\nemail = "nobody"\n')
    assert "people.reviewer.email is 'nobody', which is not an e-mail address." in hitl.fails(
        2, "pending", code="bad-setting"
    )


def test_doctor_checks_where_callbacks_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"ci.example.org": ["203.0.113.7", "8.8.8.8"], "inside.example.org": ["10.0.0.7"]}
    monkeypatch.setattr(notify_checks, "_addresses_of", lambda host: known.get(host, []))
    hosts = ["ci.example.org:8443", "*.example.net", "inside.example.org", "none.example.org"]
    internal = ["inside.example.org:8080", "gone.example.org"]
    text = f'[callbacks]\nsecret = "{SECRET}"\nhosts = {hosts}\ninternal = {internal}'
    (tmp_path / "hitl.toml").write_text(text)
    found = [one for one in notify_checks.examine_people(Settings({}, tmp_path)) if one.name == "callbacks"]
    assert [one.level for one in found] == ["ok", "warning", "warning", "warning"]
    for one, host in zip(found[1:], ("inside", "none", "gone"), strict=True):
        assert one.text.startswith(f"{host}.example.org")
        assert one.advice
