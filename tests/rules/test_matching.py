"""What a rule matches, and that nothing else gets through: hostile commands, paths and URLs."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl_cli.errors import BadInput
from hitl_cli.rules.matching import check_where, matches
from hitl_cli.rules.shell_words import CommandPattern, words_of

if TYPE_CHECKING:
    from pathlib import Path


BASH = shutil.which("bash")


def bash(command: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a call of Bash."""
    return {"tool": "Bash", "input": {"command": command, **more}, "cwd": "/srv/app"}


def allows(pattern: str, command: str, **more: Any) -> bool:
    where = {"tool": "Bash", "input.command": pattern}
    return matches(where, bash(command, **more), None, allow=True)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("git status*", "git status"),
        ("git status*", "git status --short -b"),
        ("git status *", "git status"),
        ("git status *", "git  status 'src'"),
        ("npm run test:*", "npm run test:unit"),
        ("cat src/*", "cat src/a/b.py"),
        ("cat src/*.py", "cat src/a.py"),
        ("make *-docs all", "make user-docs all"),
        ("cat src/*/*.py", "cat src/a/b/c.py"),
        ("make *-x-*-x", "make a-x-b-x-x"),
        ("git commit -m 'fix: a bug'", 'git commit -m "fix: a bug"'),
        ("ls", " ls "),
    ],
)
def test_a_pattern_stands_for_plain_arguments(pattern: str, command: str) -> None:
    assert allows(pattern, command)
    check_where({"tool": "Bash", "input.command": pattern})


HOSTILE = [
    "git status; rm -rf /",
    "git status;rm -rf /",
    "git status && rm -rf /",
    "git status & rm -rf /",
    "git status | sh",
    "git status |& sh",
    "git status || rm -rf /",
    "git status\nrm -rf /",
    "git status\r\nrm -rf /",
    "git status\trm",
    "git status $(rm -rf /)",
    "git status `rm -rf /`",
    "git status ${IFS}rm",
    "git status $IFS",
    'git status "$(rm -rf /)"',
    'git status "`rm -rf /`"',
    'git status "${HOME}"',
    'git status "a\\"; rm -rf /; \\""',
    "git status > /etc/passwd",
    "git status >> ~/.bashrc",
    "git status < /dev/tcp/x/1",
    "git status <(rm -rf /)",
    "git status >(rm -rf /)",
    "git status 2>&1",
    "git status <<EOF\nEOF",
    "git status <<< x",
    "git status 'unfinished",
    'git status "unfinished',
    "git status \\",
    "git status \\;rm",
    "git status #; rm",
    "git status *",
    "git status ?",
    "git status [a-z]",
    "git status {a,b}",
    "git status ~/x",
    "git status ~root",
    "git status !!",
    'git status "!x"',
    "git status\x00; rm",
    "git status\x0b; rm",
    "git status\u2028rm -rf /",
    "git status\u00a0; rm",
    "git status \uff1b rm",
    "git status \u202e",
    "git status $'\\n'rm",
    "git status 'a;b'",
    "git status 'a b'",
    "git status '$(rm)'",
    "git status ''';rm'",
    "git status ../../etc",
    "git status --output=../x",
    "git statusx",
    "git status-all",
    "git",
    "git  push",
    "GIT_DIR=/evil git status",
    "PATH=/evil:$PATH git status",
    "A+=b git status",
    "time git status",
    "! git status",
    "{ git status; }",
    "(git status)",
    "if git status",
    "exec git status",
    "eval git status",
    "command git status",
    "sudo git status",
    "./git status",
    "/evil/git status",
    "Git status",
    "g\u0456t status",
    "'git status'",
    "git\\ status",
    "git 'status;'",
    "(( git status ))",
    "[[ git status ]]",
    "function git { rm; }",
    "git(){ rm; };git status",
    "coproc git status",
    "",
    " ",
    ";",
    "git status" + " x" * 10 + ";",
]


@pytest.mark.parametrize("command", HOSTILE)
def test_a_hostile_command_goes_to_a_person(command: str) -> None:
    assert not allows("git status*", command)
    assert not allows("git status *", command)
    assert not allows("git status", command)


@pytest.mark.parametrize("command", [line for line in HOSTILE if words_of(line) is None])
def test_what_is_not_certain_matches_not_even_itself(command: str) -> None:
    assert not allows(command, command)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("ls*", "lsof"),
        ("rm build*", "rm build2"),
        ("cat src/*", "cat src/../../etc/passwd"),
        ("cat src/*", "cat src/a /etc/passwd"),
        ("cat src/*/*.py", "cat src/a.py"),
        ("cat src/*/test_*.py", "cat src/../../test_a.py"),
        ("cat src/*/test_*.py", "cat src/a/b.py"),
        ("cat src/*a*.py", "cat src/$(a).py"),
        ("cat a*a", "cat a"),
        ("cat .*", "cat ../x"),
        ("cat ./*", "cat ./../x"),
        ("git * status", "git -C x push status"),
        ("echo a", "echo a b"),
        ("echo '*'", "echo b"),
        ("echo 'a'*", "echo a b"),
    ],
)
def test_a_star_stands_for_no_more_than_it_says(pattern: str, command: str) -> None:
    assert not allows(pattern, command)


@pytest.mark.parametrize(
    "more",
    [{"dangerouslyDisableSandbox": True}, {"env": {"PATH": "/evil"}}, {"Command": "rm"}, {"stdin": "x"}],
)
def test_a_field_beside_the_command_that_the_rule_does_not_name_is_not_certain(
    more: dict[str, Any],
) -> None:
    assert allows("git status", "git status", description="x", timeout=5, run_in_background=True)
    assert not allows("git status", "git status", **more)


def test_a_rule_for_a_tool_alone_approves_no_command() -> None:
    assert not matches({"tool": "Bash"}, bash("git status"), None, allow=True)
    assert not matches({"cwd": "/srv/app"}, {"command": "ls", "cwd": "/srv/app"}, None, allow=True)
    assert matches({"tool": "Bash"}, bash("git status; ls"), None, allow=False)
    assert matches({"tool": "Read"}, {"tool": "Read", "input": {"file_path": "/a"}}, None, allow=True)


def test_a_command_that_is_a_list_goes_to_a_person() -> None:
    assert not matches({"input.command": "ls"}, {"input": {"command": ["ls"]}}, None, allow=True)


# Files


def writes(pattern: str, path: str) -> bool:
    where = {"tool": "Write", "input.file_path": pattern}
    return matches(where, {"tool": "Write", "input": {"file_path": path, "content": "x"}}, None, allow=True)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/srv/app/*", "/srv/app/a.py"),
        ("/srv/app/*", "/srv/app/src/deep/a.py"),
        ("/srv/app/*.py", "/srv/app/a.py"),
        ("/srv/*/a.py", "/srv/app/a.py"),
        ("/srv/app/my file.txt", "/srv/app/my file.txt"),
        ("/srv/app/.env", "/srv/app/.env"),
    ],
)
def test_a_path_is_matched_by_its_folders(pattern: str, path: str) -> None:
    assert writes(pattern, path)


@pytest.mark.parametrize(
    "path",
    [
        "/srv/app/../../etc/passwd",
        "/srv/app/..",
        "/srv/app/.",
        "/srv/app/./a",
        "/srv/app//a",
        "//srv/app/a",
        "/srv/app/",
        "/srv/app",
        "/srv/application/a",
        "/srv/app/a/../b",
        "/srv/app/a\x00b",
        "/srv/app/a\n/b",
        "/srv/app/..\\..\\etc",
        "/srv/app/\u2024\u2024/etc",
        "/srv/app/.git/hooks/pre-commit",
        "/srv/app/src/.claude/settings.json",
        "/srv/app/.env",
        "/SRV/app/a",
        "srv/app/a",
        "~/srv/app/a",
        "/srv/app/$HOME",
        "",
    ],
)
def test_a_hostile_path_goes_to_a_person(path: str) -> None:
    assert not writes("/srv/app/*", path)
    assert not writes("/srv/app/*.py", path + ".py")


# URLs


def fetches(pattern: str, url: str) -> bool:
    return matches({"input.url": pattern}, {"tool": "WebFetch", "input": {"url": url}}, None, allow=True)


def test_a_url_is_matched_behind_its_host() -> None:
    assert fetches("https://docs.python.org/3/*", "https://docs.python.org/3/library/re.html?x=1#y")
    assert fetches("https://docs.python.org/3", "https://docs.python.org/3")


@pytest.mark.parametrize(
    "url",
    [
        "https://docs.python.org.evil.com/3/x",
        "https://docs.python.org/3/../../x",
        "https://docs.python.org/3/%2e%2e/..",
        "https://docs.python.org@evil.com/3/x",
        "https://evil.com/https://docs.python.org/3/x",
        "http://docs.python.org/3/x",
        "https://docs.python.org\\@evil.com/3/",
        "https://docs.python.org/3/\\x",
        "https://docs.python.org/3/ x",
        "https://docs.python.org/3/\n",
        "HTTPS://docs.python.org/3/x",
    ],
)
def test_a_hostile_url_goes_to_a_person(url: str) -> None:
    assert not fetches("https://docs.python.org/3/*", url)


# Other arguments


def test_other_arguments_are_compared_as_json() -> None:
    refund = {"tool": "refund", "input": {"amount": 20, "to": {"country": "de"}, "note": "late parcel"}}
    assert matches({"tool": "refund", "input.amount": 20, "input.to.country": "de"}, refund, None, allow=True)
    for where in (
        {"input.amount": 20.5},
        {"input.amount": True},
        {"input.amount": "20"},
        {"input.amount.x": 20},
        {"input.missing": None},
        {"input.note": "late*"},
        {"input": {"amount": 20}},
    ):
        assert not matches(where, refund, None, allow=True), where
    nothing: list[Any] = [None, [], "tool", 5, {"tool.x": 1}]
    for arguments in nothing:
        assert not matches({"tool": "x"}, arguments, None, allow=True)
    assert not matches({}, refund, None, allow=True)


def test_a_tool_is_known_by_its_tag_which_arguments_of_a_model_cannot_change() -> None:
    where = {"tool": "refund", "amount": 20}
    assert matches(where, {"amount": 20}, "refund", allow=True)
    assert matches(where, {"tool": "refund", "amount": 20}, "refund", allow=True)
    assert not matches(where, {"tool": "refund", "amount": 20}, "delete", allow=True)
    assert not matches(where, {"tool": "hammer", "amount": 20}, "refund", allow=True)
    assert not matches(where, {"amount": 20}, None, allow=True)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"tool": "*"},
        {"input.command": "*"},
        {"input.command": "*ls"},
        {"input.command": ""},
        {"input.command": "a; b"},
        {"input.command": "A=b ls"},
        {"input.command": "if true"},
        {"input.command": "ls 'x"},
        {"input.file_path": "src/*"},
        {"input.file_path": "/srv/../*"},
        {"input.url": "https://*"},
        {"input.url": "https://example.org*"},
        {"input.url": "https://*.example.org/x"},
        {"input..x": 1},
        {"": 1},
        {"note": "x" * 5_000},
        {f"a{number}": 1 for number in range(50)},
    ],
)
def test_a_rule_that_matches_everything_or_nothing_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        check_where(where)
    assert refused.value.code == "bad-rule"


def test_long_hostile_values_are_read_in_no_time() -> None:
    """What is quadratic or worse runs into the timeout of tests."""
    for pattern in ("a*a*a*a*a*a*b c", "a *", "a*", "'a'*'b'*'c' x"):
        for command in ("a" * 100_000, "a " * 100_000, "'" * 100_001, "a'\"" * 50_000, '"a$' * 50_000):
            allows(f"x {pattern}", f"x {command}")


# The same, for every command

_WORDS = st.sampled_from(["git", "status", "-s", "--x=y", "a", "a.b", "src/c", "A=b", "if", "time", "eval"])
_MARKS = st.sampled_from([*" ;&|<>$`'\"\\()[]{}*?~#!=\n\t\r\x00", "$(", "${", "&&", "||", "$'", "  "])
_COMMANDS = st.lists(st.one_of(_WORDS, _MARKS, st.just(" "), st.text(max_size=3)), max_size=12).map("".join)


@settings(max_examples=400, deadline=None)
@given(command=_COMMANDS, begin=st.sampled_from(["", "git ", "git status ", "git status", "a "]))
def test_no_command_of_several_is_ever_matched(command: str, begin: str) -> None:
    whole = begin + command
    for pattern in ("git *", "git status*", "a *"):
        if CommandPattern(pattern).fits(whole):
            words = shlex.split(whole)
            assert words == words_of(whole)
            assert not set(";&|<>()$`\\*?[]{}~#!\n\r\t\x00") & set("".join(words))


@pytest.mark.skipif(BASH is None, reason="needs bash")
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.one_of(_WORDS, st.sampled_from([" ", "'", '"', "=", "''", ".", "  "])), max_size=9))
def test_bash_reads_the_same_words(parts: list[str]) -> None:
    """The alphabet has nothing that could do harm: only names, quotes and spaces."""
    command = "git " + "".join(parts)
    words = words_of(command)
    if words is None:
        return
    script = f"git() {{ printf '%s\\0' git \"$@\"; }}; {command}"
    assert BASH is not None
    done = subprocess.run([BASH, "-r", "-c", script], capture_output=True, check=True, env={"PATH": ""})
    assert done.stdout.decode().split("\0")[:-1] == words


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_each_hostile_command_that_has_certain_words_is_one_command_for_bash(tmp_path: Path) -> None:
    for command in HOSTILE:
        if words_of(command) is not None and BASH is not None:
            checked = subprocess.run([BASH, "-n", "-c", command], cwd=tmp_path, check=False)
            assert checked.returncode == 0
