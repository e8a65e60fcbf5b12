"""The history cannot be changed unseen: what a checkpoint proves, on each kind of server, and each attack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl_cli.admin import maintenance
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import call, get_promise
from hitl_cli.client.wire import Audit, Promise, Proof, Vote, encode
from hitl_cli.engine.records import Value
from hitl_cli.errors import BadInput, BadName, Conflict, NotAllowed, NotFound
from hitl_cli.format.canonical_json import canonical
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.votes import record_vote
from hitl_cli.ledger import Ledger, log
from hitl_cli.ledger.check import Finding, check_one
from hitl_cli.ledger.files import ExportCheck, check_receipt
from hitl_cli.ledger.leaves import Leaf, content_of, leaf_of
from hitl_cli.ledger.log import Log, Raced
from hitl_cli.ledger.page import receipt_page
from hitl_cli.ledger.receipts import is_included
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.proof.checkpoint import CheckpointSigner
from hitl_cli.proof.tree import consistency_path, inclusion_path, is_consistent, root_of
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.inbox.requests import request
from tests.ledger.history import DAY_MS, OPS, Compared, compare, decided, make_key, sql
from tests.server.conftest import stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.proof.checkpoint import Checkpoint
    from tests.conftest import Hitl


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> CheckpointSigner:
    """The operator's key."""
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of short blocks, so that a few leaves fill several."""
    monkeypatch.setattr(log, "BLOCK", 4)
    monkeypatch.setattr(log, "LEVEL", 2)


class Store:
    """A file with four decisions, one of them by two votes, and a checkpoint of these six leaves."""

    def __init__(self, client: Client, file: Path, signer: CheckpointSigner) -> None:
        self.client, self.file, self.signer = client, file, signer
        decided(client, *"abc")
        decided(client, "both", approvals=2)
        self.signed = Ledger(client, OPS).checkpoint(signer)

    def compare(self, *checkpoints: Checkpoint, **options: Any) -> Compared:
        return compare(self.client, self.signer, *(checkpoints or (self.signed,)), **options)

    def change(self, statement: str, *values: Any) -> None:
        sql(self.file, statement, *values)


@pytest.fixture
def store(hitl: Hitl, signer: CheckpointSigner) -> Iterator[Store]:
    """A store on a file."""
    if not hitl.on_a_file:
        pytest.skip("changes the file")
    with connect(hitl.url) as client:
        yield Store(client, hitl.database, signer)


# On each kind of server


@pytest.mark.usefixtures("small")
def test_a_checkpoint_holds_while_the_history_grows(client: Client, signer: CheckpointSigner) -> None:
    ledger = Ledger(client, OPS)
    with pytest.raises(NotFound):
        ledger.checkpoint(signer)
    decided(client, *"abcd")
    decided(client, "both", approvals=2)
    first = ledger.checkpoint(signer)
    assert first.size == 7
    decided(client, *(f"more-{n}" for n in range(6)))
    second = ledger.checkpoint(signer)
    decided(client, "later")
    assert (second.size, second.log) == (13, first.log)
    assert ledger.checkpoint(signer).size == 14
    found = compare(client, signer, first, second)
    assert (found.holds, found.counts) == (True, (13, 0, 1))
    tree = Log(client)
    roots = bytes.fromhex(first.root), bytes.fromhex(second.root)
    assert is_consistent(first.size, second.size, roots, consistency_path(7, 13, tree.subtree))

    exported = list(ledger.export(signer.known))
    check = ExportCheck(exported, "f", NO_GROUPS, signer.known, [first, second])
    assert [getattr(one, "state", "") for one in check.items()] == ["claimed"] * 12
    assert [one.why for one in check.checkpoints] == [None] * 3
    receipt = ledger.receipt("both", signer.known, first)
    assert is_included(receipt, first)
    assert check_receipt(receipt, NO_GROUPS, signer.known).state == "claimed"


@pytest.mark.only("file", reason="starts a server of its own")
def test_a_resonate_server_keeps_the_log_too(hitl: Hitl, signer: CheckpointSigner) -> None:
    with connect(stand_in(hitl)) as client:
        decided(client, "a", "b")
        decided(client, "both", approvals=2)
        first = Ledger(client, OPS).checkpoint(signer)
        decided(client, "c")
        second = Ledger(client, OPS).checkpoint(signer)
        found = compare(client, signer, first, second)
        assert (found.holds, found.counts) == (True, (6, 0, 0))
        assert is_included(Ledger(client, OPS).receipt("c", signer.known), second)


def test_a_checkpoint_needs_the_right_to_read(store: Store, signer: CheckpointSigner) -> None:
    asks = Ledger(store.client, Actor(person="bot", via="api", may=frozenset({"ask"})))
    for forbidden in (
        lambda: asks.checkpoint(signer),
        lambda: asks.export(signer.known),
        lambda: asks.check([], ()),
        lambda: asks.receipt("a", ()),
    ):
        with pytest.raises(NotAllowed):
            forbidden()


# Attacks on the database


CHANGES = {
    "removed": "DELETE FROM promises WHERE id = ?",
    "prompt": "UPDATE promises SET param = replace(param, 'data', 'tada') WHERE id = ?",
    "person": "UPDATE promises SET value = replace(value, 'lead', 'ops') WHERE id = ?",
    "verdict": "UPDATE promises SET state = 'rejected' WHERE id = ?",
    "reopened": "UPDATE promises SET state = 'pending', settled_at = NULL WHERE id = ?",
    "deadline": "UPDATE promises SET timeout_at = timeout_at + 1 WHERE id = ?",
    "instant": "UPDATE promises SET settled_at = settled_at + 1 WHERE id = ?",
    "renamed": "UPDATE promises SET id = 'other' WHERE id = ?",
    "tag": "UPDATE promises SET tags = replace(tags, '}', ',\"a\":\"b\"}') WHERE id = ?",
}


def test_a_changed_or_removed_decision_is_named(store: Store) -> None:
    decided(store.client, *CHANGES)
    signed = Ledger(store.client, OPS).checkpoint(store.signer)
    assert store.compare(signed).holds
    for id, statement in CHANGES.items():
        store.change(statement, id)
    gone = ("removed", "renamed")
    expected = sorted((id, "missing" if id in gone else "changed") for id in CHANGES)
    found = store.compare(signed)
    assert (found.wrong, found.why, found.counts[0]) == (expected, [None], 6)


def test_a_later_vote_that_is_removed_is_noticed(store: Store) -> None:
    vote = next(
        leaf.id for piece in Log(store.client).pieces() for leaf in piece.leaves if leaf.kind == "vote"
    )
    store.change("DELETE FROM promises WHERE id = ?", vote)
    assert store.compare().wrong == [(vote, "missing")]


def test_a_decision_that_is_backdated_is_no_part_of_a_checkpoint(store: Store) -> None:
    decided(store.client, "new")
    store.change("UPDATE promises SET settled_at = settled_at - 3600000 WHERE id = 'new'")
    assert store.compare().wrong == [("new", "backdated")]
    Ledger(store.client, OPS).checkpoint(store.signer)  # whoever made it later proves nothing earlier
    assert store.compare().wrong == [("new", "backdated")]


def test_a_signature_that_is_dated_before_a_checkpoint_is_no_part_of_it(store: Store) -> None:
    earlier = store.client.now() - 3_600_000  # before the key was revoked
    proof = Proof(kind="ssh", decision="x", at=earlier, signature="of a key that is revoked")
    Inbox(store.client, OPS).ask(Question(prompt="Pay?"), id="pay", deadline_ms=1_000_000)
    value = encode(True, Audit(id="x", by="lead", via="cli", at=earlier, proof=proof).headers())
    call(store.client, "promise.settle", id="pay", state="resolved", value=value)
    assert store.compare().wrong == [("pay", "backdated")]


def test_a_vote_with_an_early_signature_needs_a_leaf_of_that_time(store: Store) -> None:
    Inbox(store.client, OPS).ask(Question(prompt="Pay?", approvals=2), id="pay", deadline_ms=1_000_000)
    promise = get_promise(store.client, "pay")
    assert promise is not None
    votes = []
    for person, early in (("lead", 0), ("thief", 3_600_000)):
        at = store.client.now() - early  # the thief's key was revoked since
        proof = Proof(kind="ssh", decision=person, at=at, signature="…")
        votes.append(Vote(by=person, verdict="approve", at=at, data=True, proof=proof))
        if person == "lead":
            record_vote(store.client, promise, votes[-1], Audit(id=person, by=person, at=at, proof=proof), ())
    signed = Ledger(store.client, OPS).checkpoint(store.signer)
    value = encode(True, Audit(id="x", by="thief", via="cli", at=signed.at, votes=tuple(votes)).headers())
    call(store.client, "promise.settle", id="pay", state="resolved", value=value)
    assert store.compare(signed).wrong == [("pay", "backdated")]
    thief = votes[-1]
    record_vote(
        store.client, promise, thief, Audit(id="thief", by="thief", at=thief.at, proof=thief.proof), ()
    )
    assert [wrong for _, wrong in store.compare(signed).wrong] == ["backdated"] * 2


def rewrite(store: Store, change: Any) -> None:
    """Have somebody rewrite the log too."""
    [piece] = Log(store.client).pieces()
    store.change("DELETE FROM promises WHERE id LIKE 'hitl-log-%'")
    Log(store.client).append(change(list(piece.leaves)))


def renamed(store: Store) -> None:
    """Give the log its old name again."""
    promise = get_promise(store.client, "hitl-log-0")
    assert promise is not None
    [piece] = Log(store.client).pieces()
    value = msgspec.json.encode(encode(msgspec.structs.replace(piece, log=store.signed.log)))
    store.change("UPDATE promises SET param = ? WHERE id = 'hitl-log-0'", value.decode())


def test_a_log_that_is_rewritten_does_not_fit(store: Store) -> None:
    store.change("DELETE FROM promises WHERE id = 'b'")
    rewrite(store, lambda leaves: [leaf for leaf in leaves if leaf.id != "b"])
    assert (store.compare().why, store.compare().wrong) == (["it is of another database"], [])
    renamed(store)
    [why] = store.compare().why
    assert why == "the log on the server has only 5 of its 6 leaves"
    decided(store.client, "d")
    Ledger(store.client, OPS).checkpoint(store.signer)
    [why] = store.compare().why
    assert why is not None
    assert why.startswith("the log was changed since")


def test_a_log_that_is_reordered_or_gone_does_not_fit(store: Store) -> None:
    rewrite(store, lambda leaves: leaves[::-1])
    renamed(store)
    [why] = store.compare().why
    assert why is not None
    assert "the first 0 leaves" in why
    store.change("DELETE FROM promises WHERE id LIKE 'hitl-log-%'")
    assert store.compare().why == ["this server does not have the log any more, or never had it"]


def test_a_forged_checkpoint_and_one_of_another_store_do_not_hold(
    store: Store, tmp_path: Path, signer: CheckpointSigner
) -> None:
    grown = msgspec.structs.replace(store.signed, root="00" * 32)
    assert store.compare(grown).why == ["it is not signed with a checkpoint key of the settings"]
    thief = make_key(tmp_path, "thief")
    assert store.compare(thief.sign(store.signed)).why == [
        "it is not signed with a checkpoint key of the settings"
    ]
    with connect(f"sqlite:///{tmp_path / 'other.db'}") as other:
        decided(other, *"abc")
        foreign = Ledger(other, OPS).checkpoint(signer)
    assert store.compare(foreign).why == ["it is of another database"]


def test_one_decision_is_compared_with_a_checkpoint(store: Store) -> None:

    def wrong(id: str) -> str | None:
        item = Inbox(store.client, OPS).find(id)
        found = check_one(store.client, item, [store.signed], store.signer.known)
        return None if found is None else found.wrong

    assert wrong("b") is None
    decided(store.client, "new", "old")
    assert wrong("new") is None
    store.change("UPDATE promises SET settled_at = settled_at - 3600000 WHERE id = 'old'")
    store.change("UPDATE promises SET value = replace(value, 'lead', 'ops') WHERE id = 'b'")
    assert (wrong("b"), wrong("old")) == ("changed", "backdated")


def test_only_what_is_new_is_read_again(store: Store) -> None:
    now = store.client.now()
    while store.client.now() == now:
        pass
    decided(store.client, "new")
    second = Ledger(store.client, OPS).checkpoint(store.signer)
    found = store.compare(second, store.signed, since=now + 1)
    assert (found.holds, found.counts) == (True, (1, 0, 0))
    store.change("UPDATE promises SET value = replace(value, 'lead', 'ops') WHERE id = 'new'")
    assert store.compare(second, store.signed, since=now + 1).wrong == [("new", "changed")]


def test_what_the_operator_prunes_is_not_wrong_and_what_others_remove_is(store: Store) -> None:
    for id in ("old:1", "older:1"):  # of runs, which prune deletes as a whole
        request(store.client, id)
        Inbox(store.client, OPS).decide(id, DecisionInput(verdict="approve"))
    signed = Ledger(store.client, OPS).checkpoint(store.signer)
    store.change("DELETE FROM promises WHERE id IN ('a', 'old:1')")
    missing = [("a", "missing"), ("old:1", "missing")]
    assert store.compare(signed).wrong == missing
    thief = make_key(store.file.parent, "thief")
    for unsigned in (
        msgspec.structs.replace(thief, known=store.signer.known),
        CheckpointSigner(key=thief.key, known=()),
    ):
        with pytest.raises(BadInput):  # and nothing is deleted
            maintenance.prune(store.client.name, 0, signer=unsigned)
    assert store.compare(signed).wrong == missing
    maintenance.prune(store.client.name, 0, signer=store.signer)
    found = store.compare(signed)
    assert (found.wrong, found.counts) == ([("a", "missing")], (6, 1, 0))
    assert ("old:1", "missing") not in found_in(store, exported(store), signed)[0]
    store.change("DELETE FROM promises WHERE id LIKE 'hitl-checkpoint-%'")
    assert store.compare(signed).wrong == missing


def test_an_entry_of_the_log_cannot_be_made_one_that_was_pruned(store: Store) -> None:
    maintenance.prune(store.client.name, 0, signer=store.signer)
    store.change("DELETE FROM promises WHERE id = 'b'")
    rewrite(
        store,
        lambda leaves: [
            msgspec.structs.replace(leaf, at=0, run="r") if leaf.id == "b" else leaf for leaf in leaves
        ],
    )
    renamed(store)
    assert store.compare().why != [None]


# The log


def test_long_ids_make_short_pieces(store: Store) -> None:
    long = [Leaf("decision", "\x01" * 1_000 + str(n), n, None, b"") for n in range(1_000)]
    root = Log(store.client).append(long).root()
    pieces = list(Log(store.client).pieces())
    assert len(pieces) > 4
    assert [leaf for piece in pieces[1:] for leaf in piece.leaves] == long
    assert root_of([leaf.hash for piece in pieces for leaf in piece.leaves]) == root


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_the_log_has_every_path(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "BLOCK", 4)
        patch.setattr(log, "LEVEL", 2)
        with connect(f"sqlite:///{tmp_path_factory.mktemp('log') / 'log.db'}") as client:
            leaves: list[Leaf] = []
            for size in sizes:
                new = [
                    Leaf("decision", f"r-{n}", n, None, b"%d" % n)
                    for n in range(len(leaves), len(leaves) + size)
                ]
                leaves += new
                frontier = Log(client).append(new)
                assert frontier.root() == root_of([leaf.hash for leaf in leaves])
            written = Log(client)
            assert [leaf for piece in written.pieces() for leaf in piece.leaves] == leaves
            total = len(leaves)
            index = data.draw(st.integers(0, total - 1))
            size = data.draw(st.integers(index + 1, total))
            hashes = [leaf.hash for leaf in leaves]

            def definition(low: int, high: int) -> bytes:
                return root_of(hashes[low:high])

            assert written.index_of(leaves[index]) == index
            assert inclusion_path(index, size, written.subtree) == inclusion_path(index, size, definition)
            assert consistency_path(size, total, written.subtree) == consistency_path(size, total, definition)


@pytest.mark.parametrize("id", ["hitl-log-0", "hitl-checkpoint-86400000-1"])
def test_nobody_can_ask_under_an_id_of_the_log(store: Store, id: str) -> None:
    with pytest.raises(BadName):
        decided(store.client, id)


def test_a_clock_that_was_far_ahead_hides_no_later_decision(store: Store) -> None:
    Log(store.client).append([Leaf("decision", "x", store.client.now() + DAY_MS, None, b"")])
    decided(store.client, "after")
    signed = Ledger(store.client, OPS).checkpoint(store.signer)
    assert signed.size == 8
    assert is_included(Ledger(store.client, OPS).receipt("after", store.signer.known), signed)


def test_of_two_that_append_one_wins(store: Store) -> None:
    slow, quick = Log(store.client), Log(store.client)
    assert slow.last() is not None
    quick.append([Leaf("decision", "x", 1, None, b"x")])
    with pytest.raises(Raced):
        slow._write(
            log.Piece(log="other", start=6, since=0, until=1, at=1, leaves=(Leaf("vote", "y", 1, None, b""),))
        )
    decided(store.client, "d")
    assert Ledger(store.client, OPS).checkpoint(store.signer).size == 8


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=4)


@settings(max_examples=40)
@given(MAPS, MAPS, st.none() | TEXTS)
def test_a_leaf_is_canonical_json(tags: dict[str, str], headers: dict[str, str], data: str | None) -> None:
    promise = Promise(
        id="r", state="resolved", timeout_at=9, created_at=1, settled_at=2,
        param=Value(headers=headers, data=data), value=None, tags=tags,
    )  # fmt: skip
    text = content_of(promise)
    assert text == canonical(json.loads(text))
    nothing = msgspec.structs.replace(promise, value=Value(headers={}, data=""))
    assert leaf_of(nothing) == leaf_of(promise)


# Files


def exported(store: Store, **options: Any) -> list[bytes]:
    return list(Ledger(store.client, OPS).export(store.signer.known, **options))


def found_in(store: Store, lines: list[bytes], *checkpoints: Checkpoint) -> tuple[list[Any], ExportCheck]:
    check = ExportCheck(lines, "history.jsonl", NO_GROUPS, store.signer.known, checkpoints)
    items = list(check.items())
    return [(one.id, one.wrong if isinstance(one, Finding) else one.state) for one in items], check


def test_an_export_proves_what_it_has(store: Store) -> None:
    decided(store.client, "new")
    lines = exported(store)
    good, check = found_in(store, lines)
    assert {state for _, state in good} == {"claimed"}
    assert (check.unchanged, check.later, check.wrong) == (6, 0, 0)
    changed = [line.replace(b'"lead"', b'"lead "') for line in lines]
    changed = [line.replace(b"Deploy", b"Delete") for line in lines]
    encoded = [line.replace(b'"settledAt":', b'"settledAt":1') for line in lines]
    assert changed == lines  # the data is encoded
    _, check = found_in(store, encoded)
    assert [one.why for one in check.checkpoints] == [
        "the history in the file differs from the one that was signed"
    ]
    for broken in (lines[:-1], [*lines[:3], *lines[4:]], lines[1:], [*lines, lines[2]], [b"{}\n"]):
        with pytest.raises(BadInput):
            found_in(store, broken)


def test_an_export_tells_what_was_changed_or_removed_before(store: Store) -> None:
    store.change("DELETE FROM promises WHERE id = 'b'")
    store.change("UPDATE promises SET value = replace(value, 'lead', 'ops') WHERE id = 'c'")
    found, check = found_in(store, exported(store), store.signed)
    assert {("b", "missing"), ("c", "changed")} <= set(found)
    assert {one.why for one in check.checkpoints} == {None}


@pytest.mark.usefixtures("small")
def test_an_export_of_some_days_is_bound_to_the_rest(store: Store) -> None:
    decided(store.client, "new")
    lines = exported(store, since=0, until=1)
    found, check = found_in(store, lines, store.signed)
    assert (found, check.absent, check.wrong) == ([], 6, 0)


def test_a_receipt_proves_one_decision_and_no_other(store: Store) -> None:
    receipt = Ledger(store.client, OPS).receipt("b", store.signer.known)
    again = msgspec.json.decode(msgspec.json.encode(receipt), type=type(receipt))
    assert check_receipt(again, NO_GROUPS, store.signer.known).state == "claimed"
    other = Ledger(store.client, OPS).receipt("c", store.signer.known)
    for forged in (
        msgspec.structs.replace(receipt, promise=other.promise),
        msgspec.structs.replace(receipt, leaf=other.leaf),
        msgspec.structs.replace(receipt, path=receipt.path[1:]),
        msgspec.structs.replace(receipt, promise=msgspec.structs.replace(receipt.promise, settled_at=1)),
    ):
        assert check_receipt(forged, NO_GROUPS, store.signer.known).state == "wrong"
    assert check_receipt(receipt, NO_GROUPS, ()).state == "wrong"


def test_a_receipt_to_print_loads_nothing_and_escapes_all(store: Store, signer: CheckpointSigner) -> None:
    bad = "<script src=//x>&\"'"
    Inbox(store.client, OPS).ask(Question(prompt=bad), id="x", deadline_ms=1_000_000)
    Inbox(store.client, OPS).decide("x", DecisionInput(verdict="approve", comment=bad))
    page = receipt_page(Ledger(store.client, OPS).receipt("x", signer.known), NO_GROUPS, signer.known)
    assert "<script" not in page
    assert "src=" not in page.replace("src=//x", "")
    assert page.count("&lt;script src=//x&gt;&amp;&quot;&#x27;") == 2
    Inbox(store.client, OPS).ask(Question(prompt="open"), id="open", deadline_ms=1_000_000)
    with pytest.raises(Conflict):
        Ledger(store.client, OPS).receipt("open", signer.known)
