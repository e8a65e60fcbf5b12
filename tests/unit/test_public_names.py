"""The names of `from hitl_cli import …`, and the paths of exceptions that the SDK stores."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hitl_cli
from hitl_cli.requests.decision import Rejected

STORED_BY = {"now": b"chitl_cli\nRejected\n", "before 0.2": b"chitl_cli.decisions\nRejected\n"}
"""The class in a stored exception, in the first protocol of pickle, which is text."""


@pytest.mark.parametrize("name", hitl_cli.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    offered = getattr(hitl_cli, name)
    assert name in dir(hitl_cli)
    assert name == "__version__" or offered.__doc__


@pytest.mark.parametrize("name", [name for name in hitl_cli.__all__ if name != "__version__"])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    reference = Path(hitl_cli.__file__).parents[1] / "docs" / "reference" / "python.md"
    assert re.search(rf"`{name}\b", reference.read_text())


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nobody"):
        hitl_cli.nobody  # noqa: B018


def test_a_rejection_is_stored_under_the_name_that_authors_import() -> None:
    assert STORED_BY["now"] in pickle.dumps(Rejected("no"), protocol=0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert b"decision" not in pickle.dumps(Rejected("no"), protocol=protocol)


@pytest.mark.parametrize("version", STORED_BY)
def test_a_stored_rejection_is_read_by_a_process_that_has_imported_nothing(version: str) -> None:
    stored = STORED_BY[version] + b"(S'no'\ntR."
    read = (
        f"import pickle; error = pickle.loads({stored!r})\n"
        "import hitl_cli; assert type(error) is hitl_cli.Rejected, type(error); print(error)"
    )
    done = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("no\n", "")
