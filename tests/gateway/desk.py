"""One gateway for all tests of a module, and its pages as a reader finds them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.cli.requests import put
from tests.conftest import HITL, Hitl
from tests.gateway.conftest import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from hitl_cli.requests.question import Question
    from tests.gateway.conftest import Reply

type Attributes = Mapping[str, str | None]

CONTROLS = ("input", "select", "textarea", "button")
VOID = ("input", "meta", "link", "br", "hr", "img")
BREAKS = ("p", "li", "dd", "dt", "h1", "h2", "h3", "div", "label", "legend", "option", "br", "tr", "pre")


class Document(HTMLParser):
    """A page: its elements with their attributes, in order, and what is read of it, in lines."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.status = reply.status
        self.source = reply.text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._read: list[str] = []
        self._area: dict[str, str | None] | None = None
        self.feed(reply.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in BREAKS:
            self._read.append("\n")
        if tag == "textarea":
            self._area = self.elements[-1][1]
            self._area["value"] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in BREAKS:
            self._read.append("\n")
        if tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self._area["value"] = f"{self._area['value'] or ''}{data}".removeprefix("\n")
        else:
            self._read.append(data)

    @property
    def text(self) -> str:
        """What is read, a line for each block, spaces as they are shown."""
        lines = ("".join(self._read)).split("\n")
        return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)

    @property
    def code(self) -> str | None:
        """The code of the error that the page shows."""
        return next((code for _, attributes in self.elements if (code := attributes.get("data-code"))), None)

    def all(self, tag: str, **wanted: str) -> Iterator[dict[str, str | None]]:
        """Yield the elements of a kind that have these attributes."""
        for name, attributes in self.elements:
            if name == tag and all(attributes.get(key.rstrip("_")) == value for key, value in wanted.items()):
                yield attributes

    def control(self, name: str, value: str | None = None) -> dict[str, str | None]:
        """Return the control of a form with this name, and this value where it has several."""
        found = [
            attributes
            for tag, attributes in self.elements
            if tag in CONTROLS and attributes.get("name") == name and value in (None, attributes.get("value"))
        ]
        assert found, f"no {name}={value} in {self.source}"
        return found[0]

    def has(self, name: str) -> bool:
        """Whether a form has a control with this name."""
        return any(tag in CONTROLS and attributes.get("name") == name for tag, attributes in self.elements)

    @property
    def filled(self) -> list[tuple[str, str]]:
        """The fields that a browser sends for an unchanged form, without buttons."""
        sent = []
        selecting = ""
        for tag, at in self.elements:
            if tag == "select":
                selecting = at["name"] or ""
            elif tag == "option" and "selected" in at:
                sent.append((selecting, at["value"] or ""))
            elif tag == "textarea" or (tag == "input" and at.get("type") not in ("radio", "checkbox")):
                sent.append((at["name"] or "", at.get("value") or ""))
            elif tag == "input" and "checked" in at:
                sent.append((at["name"] or "", at["value"] or ""))
        return sent


class Desk:
    """A gateway in a process of its own, which several tests share."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.hitl = Hitl(folder)
        command = [HITL, "gateway", "--port", "0", *args]
        self.gateway = GatewayProcess(command, self.hitl.env, folder)
        self.gateway.said("gateway for")

    def put(self, id: str, question: Question, **options: Any) -> str:
        """Make a request, and return the address of its page."""
        put(self.hitl, id, question, **options)
        return address(id)

    def get(self, path: str) -> Document:
        """Get a page."""
        return Document(self.gateway.get(path))

    def post(self, path: str, sent: Sequence[tuple[str, str]] = (), **more: str) -> Reply:
        """Send a page's form: what is said, `field_NAME` for the field NAME, and what protects it."""
        csrf = self.get(path).control("csrf")["value"] or ""
        given = [(name.replace("field_", "field:"), text) for name, text in more.items()]
        body = urlencode([("csrf", csrf), *sent, *given])
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        return self.gateway.ask("POST", path, data=body.encode(), headers=headers)

    def refused(self, status: int, path: str, code: str, **given: str) -> Document:
        """Send an invalid form, and return the page with this error code (docs/reference/errors.md)."""
        reply = self.post(path, (), **given)
        assert reply.status == status
        page = Document(reply)
        assert page.code == code, page.text
        return page

    def taken(self, path: str, sent: Sequence[tuple[str, str]] = (), **given: str) -> Document:
        """Send a valid form, and return the page that follows, which is the same one."""
        reply = self.post(path, sent, **given)
        assert reply.status == 303, reply.text
        assert reply.headers["Location"] == path
        return self.get(path)


def address(id: str) -> str:
    """Return the address of a request's page."""
    return f"/r/{quote(id, safe=':')}"
