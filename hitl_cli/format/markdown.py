"""Untrusted Markdown: which features are allowed, and its HTML for pages and mails.

`parsed` applies to every front end: HTML is text, and an image becomes a link, because loading it would
reveal to its host who reads the request, and when. The HTML is sanitized as well.

The heading of a page is the first line of the prompt. Headings in the rest are placed below it.
"""

from __future__ import annotations

from functools import cache, lru_cache
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup
from msgspec import Struct

from hitl_cli.format.terminal import in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

LONGEST = 20_000
"""Maximum characters of text parsed as Markdown; longer text is shown as its source."""

NESTING_MAX = 100
"""Nesting depth at which the parser drops the rest; real text never gets there."""

LONGEST_TITLE = 200
"""Maximum characters of a first line that can be a heading."""

LOWEST_HEADING = 6

INLINE = frozenset({"em", "strong", "s", "code", "br"})
BLOCKS = frozenset(
    {"p", "pre", "blockquote", "ul", "ol", "li", "hr", "table", "thead", "tbody", "tr", "th", "td"}
)
HEADINGS = frozenset({"h2", "h3", "h4", "h5", "h6"})
TAGS = INLINE | BLOCKS | HEADINGS | {"a"}
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = frozenset({"http", "https", "mailto"})


class Prompt(Struct, frozen=True):
    """A prompt as HTML: a heading, without its tag, and the rest."""

    title: Markup
    body: Markup


def as_html(text: str) -> Markup:
    """Return a text in Markdown as HTML."""
    return _body_html(parsed(text)) if len(text) <= LONGEST else _as_it_is(text)


def as_prompt(text: str) -> Prompt:
    """Return a prompt as a heading and what follows it."""
    if len(text) > LONGEST:
        return Prompt(Markup(escape(_first_line(text)[:LONGEST_TITLE])), _as_it_is(text))  # noqa: S704 - escaped
    tokens = parsed(text)
    title, rest = _headed(tokens)
    if title is None:
        line = _first_line(text)
        shown = f"{line[:LONGEST_TITLE]}…" if len(line) > LONGEST_TITLE else line
        return Prompt(_cleaned(_reader().renderInline(shown), INLINE | {"a"}), _body_html(tokens))
    return Prompt(_cleaned(_rendered(title), INLINE | {"a"}), _body_html(rest))


def as_mail(text: str) -> Markup:
    """Return Markdown as HTML for a mail, with addresses written out: the only links in a mail are ours."""
    if len(text) > LONGEST:
        return _as_it_is(text)
    tokens = parsed(text)
    for token in tokens:
        token.children = _written_out(token.children) if token.children else token.children
    return _body_html(tokens)


def _written_out(tokens: list[Token]) -> list[Token]:
    """Return inline tokens with each link replaced by its text and address."""
    written: list[Token] = []
    addresses: list[str] = []
    for token in tokens:
        if token.type == "link_open":
            addresses.append(str(token.attrs.get("href", "")))
        elif token.type == "link_close":
            written.append(_text(f" ({addresses.pop()})"))
        else:
            written.append(token)
    return written


def as_words(text: str) -> str:
    """Return a line of Markdown as plain text, cut to fit."""
    if len(text) > LONGEST_TITLE:
        return f"{text[:LONGEST_TITLE]}…"
    return _line_as_words(text)


@lru_cache(maxsize=2_048)
def _line_as_words(text: str) -> str:
    """Return a line of Markdown as plain text. Cached, because each page of an inbox has 50 of them."""
    return "".join(_words(token.children or []) for token in _reader().parseInline(text))


def _words(tokens: Sequence[Token]) -> str:
    return "".join(" " if token.type == "softbreak" else token.content for token in tokens)


def _headed(tokens: list[Token]) -> tuple[list[Token] | None, list[Token]]:
    """Return the first line, if it is a heading or a line of text, and the tokens that follow."""
    if len(tokens) < 3 or tokens[0].type not in ("heading_open", "paragraph_open"):  # noqa: PLR2004
        return None, tokens
    inner = tokens[1].children or []
    if len(tokens[1].content.split("\n", 1)[0]) > LONGEST_TITLE:
        return None, tokens
    breaks = [at for at, token in enumerate(inner) if token.type in ("softbreak", "hardbreak")]
    if not breaks:
        return inner, tokens[3:]
    title, rest = inner[: breaks[0]], inner[breaks[0] + 1 :]
    if sum(token.nesting for token in title) != 0:
        return None, tokens
    tokens[1].children = rest
    return title, tokens


def _first_line(text: str) -> str:
    """Return the first line that is not empty, without heading marks (Question.title)."""
    lines = (line.strip().lstrip("#").strip() for line in in_order(text).splitlines())
    return next((line for line in lines if line), "")


def _as_it_is(text: str) -> Markup:
    return Markup('<pre class="code">{}</pre>').format(in_order(text))


def parsed(text: str) -> list[Token]:
    """Return the tokens of a text."""
    return _reader().parse(in_order(text))


def _body_html(tokens: list[Token]) -> Markup:
    """Return tokens as HTML, with headings below the heading of the page."""
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    highest = min((int(token.tag[1:]) for token in headings), default=0)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) - highest + 2, LOWEST_HEADING)}"
    return _cleaned(_rendered(tokens), TAGS)


def _cleaned(html: str, tags: frozenset[str] | set[str]) -> Markup:
    """Return HTML with only the allowed tags. Links open in a new tab."""
    import nh3

    return Markup(  # noqa: S704 - sanitised
        nh3.clean(
            html,
            tags=set(tags),
            attributes={tag: set(names) for tag, names in ATTRIBUTES.items() if tag in tags},
            url_schemes=set(SCHEMES),
            url_relative="deny",
            link_rel="noopener noreferrer nofollow",
            set_tag_attribute_values={"a": {"target": "_blank"}},
        )
    )


@cache
def _reader() -> MarkdownIt:
    """Return the parser: CommonMark with tables, without HTML, and with images as links."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING_MAX})
    markdown.core.ruler.push("images_as_links", _link_images)
    return markdown.enable(["table", "strikethrough"])


def _rendered(tokens: Sequence[Token]) -> str:
    return str(_reader().renderer.render(tokens, _reader().options, {}))


def _link_images(state: StateCore) -> None:
    """Replace each image with a link to it."""
    for token in state.tokens:
        if any(child.type == "image" for child in token.children or ()):
            token.children = [part for child in token.children or () for part in _as_link(child)]


def _as_link(token: Token) -> tuple[Token, ...]:
    """Return an image as a link with its description as the text; any other token unchanged."""
    from markdown_it.token import Token

    if token.type != "image":
        return (token,)
    address = token.attrs.get("src", "")
    opens = Token("link_open", "a", 1, attrs={"href": address})
    return opens, _text(_words(token.children or ()) or str(address)), Token("link_close", "a", -1)


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)
