"""The tree of RFC 6962: the known answers, and what no change of a leaf, an order or a proof survives."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitl_cli.proof.tree import (
    EMPTY,
    Frontier,
    consistency_path,
    inclusion_path,
    is_consistent,
    leaf_hash,
    node_hash,
    root_by_inclusion,
    root_of,
    split,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""The roots over the first 1 to 8 inputs: the test vectors of Certificate Transparency."""


def hash_of(leaves: Sequence[bytes], low: int, high: int) -> bytes:
    """The definition of RFC 6962, 2.1, word by word."""
    if high - low == 1:
        return leaves[low]
    middle = low + split(high - low)
    return node_hash(hash_of(leaves, low, middle), hash_of(leaves, middle, high))


@pytest.mark.parametrize("count", range(1, 9))
def test_the_roots_are_the_known_ones(count: int) -> None:
    assert root_of([leaf_hash(data) for data in INPUTS[:count]]).hex() == ROOTS[count - 1]


def test_the_empty_tree_and_the_known_proofs() -> None:
    leaves = [leaf_hash(data) for data in INPUTS]
    assert root_of([]) == EMPTY == sha256().digest()
    subtree = partial(hash_of, leaves)
    assert [node.hex() for node in inclusion_path(5, 8, subtree)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [node.hex() for node in consistency_path(6, 8, subtree)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


LEAVES = st.lists(st.binary(max_size=3).map(leaf_hash), min_size=1, max_size=70)


@given(LEAVES, st.data())
def test_a_leaf_is_proven_by_its_path_and_by_nothing_else(leaves: list[bytes], data: st.DataObject) -> None:
    size = len(leaves)
    index = data.draw(st.integers(0, size - 1))
    root = hash_of(leaves, 0, size)
    path = inclusion_path(index, size, partial(hash_of, leaves))
    assert root_of(leaves) == root == root_by_inclusion(leaves[index], index, size, path)
    wrong = leaf_hash(b"other")
    assert root_by_inclusion(wrong, index, size, path) != root
    at = data.draw(st.integers(0, size - 1))
    if leaves[at] != leaves[index]:
        assert root_by_inclusion(leaves[index], at, size, path) != root
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        assert (
            root_by_inclusion(leaves[index], index, size, [*path[:place], wrong, *path[place + 1 :]]) != root
        )
        assert root_by_inclusion(leaves[index], index, size, path[:-1]) is None
    assert root_by_inclusion(leaves[index], index, size, [*path, wrong]) is None


@given(LEAVES, st.data())
def test_any_change_of_the_leaves_changes_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    root = root_of(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    changed = {
        "removed": [*leaves[:at], *leaves[at + 1 :]],
        "changed": [*leaves[:at], leaf_hash(b"other"), *leaves[at + 1 :]],
        "added": [*leaves[:at], leaf_hash(b"other"), *leaves[at:]],
        "reordered": data.draw(st.permutations(leaves)),
    }
    for what, others in changed.items():
        assert (root_of(others) == root) == (others == leaves), what


@given(LEAVES, LEAVES, st.data())
def test_only_a_tree_that_begins_with_another_is_consistent_with_it(
    leaves: list[bytes], more: list[bytes], data: st.DataObject
) -> None:
    first = len(leaves)
    grown = [*leaves, *more]
    path = consistency_path(first, len(grown), partial(hash_of, grown))
    roots = root_of(leaves), root_of(grown)
    assert is_consistent(first, len(grown), roots, path)
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    again = Frontier(frontier.size, frontier.peaks)
    for leaf in more:
        again.append(leaf)
    assert again.root() == roots[1]

    at = data.draw(st.integers(0, first - 1))
    rewritten = [*grown[:at], leaf_hash(b"other"), *grown[at + 1 :]]
    forged = consistency_path(first, len(grown), partial(hash_of, rewritten))
    assert not is_consistent(first, len(grown), (roots[0], root_of(rewritten)), forged)
    assert not is_consistent(first, len(grown), (root_of(rewritten[:first]), roots[1]), path)
    assert not is_consistent(first, len(grown), roots, [*path, EMPTY])
    assert is_consistent(first, first, (roots[0], roots[0]), [])
    assert is_consistent(0, first, (EMPTY, roots[0]), [])
