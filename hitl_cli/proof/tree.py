"""The Merkle tree of RFC 6962: roots, inclusion and consistency proofs. No I/O, and no state but a frontier.

A leaf is hashed with the prefix 0x00 and a node with 0x01, so that one cannot be taken for the other.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

type Subtree = Callable[[int, int], bytes]
"""Returns the hash over the leaves from one index up to, but not including, another one."""

EMPTY = sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two others."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The right edge of a tree: enough to append leaves, and to know its root."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """`peaks` are the hashes of the complete subtrees of a tree of that size, the largest first."""
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> list[bytes]:
        """Append the hash of a leaf. Return the subtrees that it completes, the smallest first."""
        completed = [leaf]
        at = self.size
        while at & 1:
            completed.append(node_hash(self.peaks.pop(), completed[-1]))
            at >>= 1
        self.peaks.append(completed[-1])
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.peaks:
            return EMPTY
        *larger, root = self.peaks
        for peak in reversed(larger):
            root = node_hash(peak, root)
        return root


def split(count: int) -> int:
    """Return the number of leaves in the left subtree: the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that a leaf is in a tree of that size (RFC 6962, 2.1.1)."""
    low, high = 0, size
    path: list[bytes] = []
    while high - low > 1:
        middle = low + split(high - low)
        if index < middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low = middle
    return path[::-1]


def consistency_path(first: int, second: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that a tree begins with the first leaves of another one (RFC 6962, 2.1.2).

    The first tree is not empty.
    """
    low, high = 0, second
    path: list[bytes] = []
    while first != high:
        middle = low + split(high - low)
        if first <= middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low = middle
    if low:
        path.append(subtree(low, high))
    return path[::-1]


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Iterable[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162, 2.1.3.2); None if it has a wrong length."""
    if not 0 <= index < size:
        return None
    at, last = index, size - 1
    root = leaf
    for node in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            root = node_hash(node, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, node)
        at, last = at >> 1, last >> 1
    return root if last == 0 else None


def is_consistent(first: int, second: int, roots: tuple[bytes, bytes], path: Sequence[bytes]) -> bool:
    """Whether a proof shows that a tree begins with the leaves of a smaller one (RFC 9162, 2.1.4.2)."""
    if first in (0, second):
        return not path and (first == 0 or roots[0] == roots[1])
    nodes = [roots[0], *path] if first & (first - 1) == 0 else list(path)
    if not 0 < first < second or not nodes:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, node)
        at, last = at >> 1, last >> 1
    return last == 0 and (old, new) == roots
