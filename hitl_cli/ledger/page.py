"""A receipt as one page of HTML to print: no script, and nothing from another host."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.format.times import iso
from hitl_cli.inbox.history import decision_of
from hitl_cli.ledger.files import check_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.ledger.receipts import Receipt
    from hitl_cli.people.groups import Groups

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#111;"
    "background:#fff}dt{font-weight:600;margin-top:.7em}dd{margin:0}pre{white-space:pre-wrap;"
    "overflow-wrap:anywhere;background:#f4f4f4;padding:.7em}h1{font-size:1.5em}h2{font-size:1.1em;"
    "margin-top:1.6em}@media print{body{margin:0;max-width:none}pre{background:none;border:1px solid #999}}"
)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Receipt of {id}</title><style>{style}</style></head><body>
<h1>Receipt of a decision</h1>
<dl>{facts}</dl>
{proofs}
<p>The JSON of <code>hitl receipt</code> proves this without any server: <code>hitl verify FILE</code>.</p>
</body></html>
"""


def receipt_page(receipt: Receipt, groups: Groups, keys: Sequence[str]) -> str:
    """Return the page of a receipt, with what it proves by these keys. All texts are escaped."""
    entry = decision_of(receipt.promise, receipt.item.function)
    checked = check_receipt(receipt, groups, keys)
    question = receipt.item.asked
    facts: dict[str, Json] = {
        "Request": entry.id,
        "Asked": iso(entry.asked_at),
        "Prompt": question.prompt,
        "Arguments": _json(question.arguments),
        "Run": None if receipt.run is None else receipt.run.id,
        "Outcome": entry.outcome,
        "Decided": iso(entry.at),
        "By": entry.by or ", ".join(vote.by for vote in entry.votes) or None,
        "Choice": entry.choice,
        "Data": _json(entry.data),
        "Reason": entry.reason,
        "Comment": entry.comment,
        "Proof": f"{checked.state}: {checked.why}" if checked.why else checked.state,
    }
    listed = "".join(f"<dt>{name}</dt><dd>{_text(text)}</dd>" for name, text in facts.items() if text)
    return PAGE.format(id=_text(entry.id), style=STYLE, facts=listed, proofs="\n".join(_proofs(receipt)))


def _proofs(receipt: Receipt) -> Iterator[str]:
    """Yield what was signed, and the path to the checkpoint."""
    for stated in receipt.statements:
        yield f"<h2>Signed by {_text(stated.by)}</h2><pre>{_text(stated.canonical().decode())}</pre>"
    one = receipt.checkpoint
    if one is not None:
        nodes = "\n".join(receipt.path)
        yield (
            f"<h2>In the checkpoint of {_text(iso(one.at))}</h2><p>Leaf {receipt.leaf} of {one.size}, root"
            f" <code>{_text(one.root)}</code>. The path to it:</p><pre>{_text(nodes)}</pre>"
        )


def _json(value: Json) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _text(text: object) -> str:
    return escape(str(text)).replace("\n", "<br>")
