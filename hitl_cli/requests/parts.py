"""Typed parts of a request's details: a command, a diff, code, an image … (docs/reference/wire.md).

A part is an object with `$view`: the details themselves, or a member of them. An invalid part is refused in a
new request, and shown as plain JSON if another tool created the request.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.json import to_json
from hitl_cli.format.sizes import format_size
from hitl_cli.format.terminal import cut, visible
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VIEW = "$view"

MAX_IMAGE_BYTES = 256 * 1024
MAX_PIXELS = 20_000_000
"""Most pixels of an image: a small file may unpack to many."""

SHOWN = 200
"""Most characters of a name or a reason in a message."""

type Scalar = str | int | float | bool | None


class _Part(Struct, frozen=True, tag_field=VIEW, forbid_unknown_fields=True):
    """A part; `tag` is its `$view`."""


class CommandPart(_Part, frozen=True, tag="command"):
    """A command line. Every character is shown; invisible ones as escapes."""

    text: str


class DiffPart(_Part, frozen=True, tag="diff"):
    """A unified diff."""

    text: str


class CodePart(_Part, frozen=True, tag="code"):
    """Source code. `language` is a name that Pygments knows; other code has no colors."""

    text: str
    language: str | None = None


class JsonPart(_Part, frozen=True, tag="json"):
    """A JSON value."""

    value: Json


class MarkdownPart(_Part, frozen=True, tag="markdown"):
    """Markdown, as in a prompt."""

    text: str


class ImagePart(_Part, frozen=True, tag="image"):
    """A PNG, JPEG, GIF or WebP image in base64, and the text for people who do not see it."""

    data: str
    alt: Annotated[str, Meta(min_length=1)]


class TablePart(_Part, frozen=True, tag="table"):
    """A table with a header row."""

    columns: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)]
    rows: Annotated[tuple[tuple[Scalar, ...], ...], Meta(max_length=10_000)]


type Part = CommandPart | DiffPart | CodePart | JsonPart | MarkdownPart | ImagePart | TablePart

type LineKind = Literal["", "add", "del", "head"]


class Picture(NamedTuple):
    """The facts of an image."""

    mime: str
    width: int
    height: int
    size: int

    @property
    def sentence(self) -> str:
        """The facts in a few words."""
        kind = self.mime.removeprefix("image/").upper()
        return f"{kind}, {self.width}x{self.height}, {format_size(self.size)}"


def split(
    details: Json, read: Callable[[Json], Part | None] | None = None
) -> tuple[Json, list[tuple[str, Part]]]:
    """Return details without their parts, as `read` finds them, and the parts with their names."""
    read = read or part_of
    whole = read(details)
    if whole is not None:
        return None, [("", whole)]
    found = {name: part for name, value in _members(details) if (part := read(value)) is not None}
    if not found:
        return details, []
    parts = [(str(name), part) for name, part in found.items()]
    if isinstance(details, list):
        return [value for number, value in enumerate(details) if number not in found] or None, parts
    return {name: value for name, value in details.items() if name not in found} or None, parts


def split_exactly(arguments: Json) -> tuple[Json, list[tuple[str, Part]]]:
    """Return arguments as `split` does; a text of several lines is a part.

    Parts that could hide some of the content stay JSON: Markdown, an image, a table.
    """
    rest, parts = split(arguments, _exact_part_of)
    if isinstance(rest, dict):
        long = {name: value for name, value in rest.items() if isinstance(value, str) and "\n" in value}
        parts += [(name, CodePart(value)) for name, value in long.items()]
        rest = {name: value for name, value in rest.items() if name not in long} or (None if parts else rest)
    return rest, parts


def exact(value: Json, line: Callable[[str], str] = visible) -> Json:
    """Return a value with every character in its texts made visible, by `line` if given."""
    if isinstance(value, dict):
        return {line(name): exact(inner, line) for name, inner in value.items()}
    if isinstance(value, list):
        return [exact(inner, line) for inner in value]
    if isinstance(value, str):
        return "\n".join(map(line, value.split("\n")))
    return value


def _members(details: Json) -> Iterator[tuple[str | int, Json]]:
    """Yield the members of details that may be parts."""
    if isinstance(details, dict):
        yield from details.items()
    elif isinstance(details, list):
        yield from enumerate(details)


def part_of(value: Json) -> Part | None:
    """Return the part in a JSON value; None if it is not a valid one."""
    if not isinstance(value, dict) or VIEW not in value:
        return None
    try:
        return _read(value)
    except ValueError:  # msgspec.ValidationError is one
        return None


def _exact_part_of(value: Json) -> Part | None:
    """Return the part in a JSON value, if it is of a kind that shows every character."""
    part = part_of(value)
    return part if isinstance(part, CommandPart | DiffPart | CodePart | JsonPart) else None


def wrong_part(details: Json) -> str | None:
    """Return the first invalid part of details, and why it is invalid; None if all are valid."""
    for name, value in [("", details), *_members(details)]:
        if isinstance(value, dict) and VIEW in value:
            try:
                _read(value)
            except ValueError as error:
                where = f"details.{name}" if name != "" else "details"
                return f"{cut(where, SHOWN)} is not a valid part: {cut(str(error), SHOWN)}"
    return None


def _read(value: dict[str, Json]) -> Part:
    """Return the part in an object. Raises ValueError."""
    part: Part = msgspec.convert(value, inspected(Part))
    if isinstance(part, ImagePart):
        picture_of(part)
    if isinstance(part, TablePart) and any(len(row) != len(part.columns) for row in part.rows):
        raise ValueError(f"each row must have {len(part.columns)} cells")
    return part


# Texts


def lines_of(part: CommandPart | DiffPart) -> list[tuple[LineKind, str]]:
    """Return the lines of a command or a diff, with every character visible."""
    if isinstance(part, CommandPart):
        lines = part.text.split("\n")
        return [("", visible(line) + "↵" * (number < len(lines))) for number, line in enumerate(lines, 1)]
    return [(_kind_of(line), visible(line, tabs=True)) for line in part.text.rstrip("\n").split("\n")]


def _kind_of(line: str) -> LineKind:
    """Return the kind of a line of a unified diff."""
    if line.startswith(("+++ ", "--- ", "@@", "diff ", "index ")):
        return "head"
    return "add" if line.startswith("+") else "del" if line.startswith("-") else ""


def in_short(value: Json) -> Json:
    """Return a part as a short text for a message; other values unchanged."""
    part = part_of(value)
    match part:
        case CommandPart():
            return " ".join(text for _, text in lines_of(part))
        case DiffPart():
            kinds = [kind for kind, _ in lines_of(part)]
            return f"{kinds.count('add')} lines added, {kinds.count('del')} removed"
        case CodePart() | MarkdownPart():
            return part.text
        case JsonPart():
            return to_json(part.value)
        case ImagePart():
            return f"{part.alt} ({picture_of(part).sentence})"
        case TablePart():
            return f"{len(part.rows)} rows: {', '.join(part.columns)}"
        case None:
            return value


# Images


def picture_of(part: ImagePart) -> Picture:
    """Return the facts of an image, from its first bytes. Raises ValueError if it cannot be shown."""
    try:
        raw = base64.b64decode(part.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("data is not base64") from error
    if len(raw) > MAX_IMAGE_BYTES:
        raise ValueError(f"the image is {len(raw):,} bytes: at most {MAX_IMAGE_BYTES:,} are allowed")
    try:
        mime, width, height = _measured(raw)
    except (struct.error, IndexError) as error:
        raise ValueError("the image is cut off") from error
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"the image has {width}x{height} pixels: at most {MAX_PIXELS:,} are allowed")
    return Picture(mime, width, height, len(raw))


def _measured(raw: bytes) -> tuple[str, int, int]:
    """Return the type, the width and the height of an image. Raises ValueError, struct.error."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n") and raw[12:16] == b"IHDR":
        return "image/png", *struct.unpack(">II", raw[16:24])
    if raw[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif", *struct.unpack("<HH", raw[6:10])
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", *_jpeg_size(raw)
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp", *_webp_size(raw)
    raise ValueError("the image is not a PNG, JPEG, GIF or WebP")


_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def _jpeg_size(raw: bytes) -> tuple[int, int]:
    """Return the size in the frame header of a JPEG."""
    at = 2
    while raw[at] == 0xFF:  # noqa: PLR2004 - a marker
        if raw[at + 1] in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", raw[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", raw[at + 2 : at + 4])[0]
    raise ValueError("the image has no frame")


def _webp_size(raw: bytes) -> tuple[int, int]:
    """Return the size in the first chunk of a WebP."""
    if raw[12:16] == b"VP8X":
        return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1
    if raw[12:16] == b"VP8L":
        (bits,) = struct.unpack("<I", raw[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", raw[26:30])
    return width & 0x3FFF, height & 0x3FFF
