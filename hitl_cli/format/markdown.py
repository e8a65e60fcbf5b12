"""What Markdown of others may do, and the HTML of it for pages and mails.

`parsed` decides for every front end: HTML is text, and an image is a link to it, since loading one from
elsewhere would tell that host who reads this, and when. The HTML is sanitised again.

A page has one heading of its own: the first line of a prompt. The headings in the rest stand below that.
"""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

LONGEST = 20_000
"""Characters of a text that is read as Markdown; a longer one is shown as it is."""

NESTING_MAX = 100
"""Where the parser leaves out the rest: far beyond what anybody writes."""

LONGEST_TITLE = 200
"""Characters of a first line that can be a heading."""

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
    """What is asked, as HTML: a heading, without a tag of its own, and the rest."""

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
    """Return a text in Markdown as HTML for a mail: no link in it but ours, so an address is written out."""
    if len(text) > LONGEST:
        return _as_it_is(text)
    tokens = parsed(text)
    for token in tokens:
        token.children = _written_out(token.children) if token.children else token.children
    return _body_html(tokens)


def _written_out(tokens: list[Token]) -> list[Token]:
    """Return tokens within a line with the address of each link after its text, in place of the link."""
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
    """Return what a line in Markdown says, without its marks, cut short."""
    if len(text) > LONGEST_TITLE:
        return f"{text[:LONGEST_TITLE]}…"
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
    """Return the first line that says something, without the marks of a heading (Question.title)."""
    lines = (line.strip().lstrip("#").strip() for line in text.splitlines())
    return next((line for line in lines if line), "")


def _as_it_is(text: str) -> Markup:
    return Markup('<pre class="code">{}</pre>').format(text)


def parsed(text: str) -> list[Token]:
    """Return the tokens of a text."""
    return _reader().parse(text)


def _body_html(tokens: list[Token]) -> Markup:
    """Return tokens as HTML, their headings below the one of the page."""
    headings = [token for token in tokens if token.type in ("heading_open", "heading_close")]
    highest = min((int(token.tag[1:]) for token in headings), default=0)
    for token in headings:
        token.tag = f"h{min(int(token.tag[1:]) - highest + 2, LOWEST_HEADING)}"
    return _cleaned(_rendered(tokens), TAGS)


def _cleaned(html: str, tags: frozenset[str] | set[str]) -> Markup:
    """Return HTML of which only what is allowed is left. Links open beside the page."""
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
    """Return what reads Markdown: CommonMark with tables, no HTML, and no image but as a link to it."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING_MAX})
    markdown.core.ruler.push("images_as_links", _link_images)
    return markdown.enable(["table", "strikethrough"])


def _rendered(tokens: Sequence[Token]) -> str:
    return str(_reader().renderer.render(tokens, _reader().options, {}))


def _link_images(state: StateCore) -> None:
    """Put a link to each image in its place."""
    for token in state.tokens:
        if any(child.type == "image" for child in token.children or ()):
            token.children = [part for child in token.children or () for part in _as_link(child)]


def _as_link(token: Token) -> tuple[Token, ...]:
    """Return the link to an image, with its description as the text; any other token as it is."""
    from markdown_it.token import Token

    if token.type != "image":
        return (token,)
    address = token.attrs.get("src", "")
    opens = Token("link_open", "a", 1, attrs={"href": address})
    return opens, _text(_words(token.children or ()) or str(address)), Token("link_close", "a", -1)


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)
