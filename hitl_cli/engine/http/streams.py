"""Messages over server-sent events: which stream gets which message, and when it has arrived.

The file is the queue. A stream is sent only what its connection takes now, so that a slow or dead reader
delays nobody and loses nothing. An offer is remembered until the reader acts on it, so that it is not sent
twice; when the connection breaks, it is offered to others at once. Notice of a settled promise is deleted
when the reader's machine has confirmed it and the connection stayed open for a moment.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import socket
import sys
import termios
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.engine import machine
from hitl_cli.engine.addresses import SHARE_PAUSE_S, any_of, one_of
from hitl_cli.engine.server import FAR, execute_message, unblock_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.engine.commit_loop import CommitLoop
    from hitl_cli.engine.doorbell import Bell
    from hitl_cli.engine.http.metrics import Metrics
    from hitl_cli.engine.server import Batch
    from hitl_cli.engine.store import Transaction

BUFFER_BYTES = 32 * 1024
"""Bytes that this process buffers for one connection."""

FRAME_BYTES = 160
"""The usual size of an offer."""

WINDOW = 128
"""Recent offers that a stream has not acquired: a worker is sent only what it can begin soon."""

WINDOW_S = 0.25
"""How long an offer is recent. A reader that acquires nothing is sent about 500 offers a second."""

PATIENCE_S = 30.0
PATIENCE_PER_OFFER_S = 0.1
"""How long a task is not offered again to a stream that did not acquire it. Added to this is the time to read
the offers sent before it, at ten a second."""

RENEW_MS = 10_000
"""How long a message that a stream was sent is withheld from others, and the longest delay of that message
when this process is killed."""

CONFIRM_S = 1.0
"""How long a connection must stay open after its machine confirmed a notice."""

LOOK_LIMIT = 500
"""Messages read in one batch, so that a backlog does not delay the requests."""

STARVED_S = 0.02
"""How often full streams are checked for room."""

SO_NWRITE = 0x1024
"""The socket option of macOS (<sys/socket.h>) for what TIOCOUTQ is on Linux."""

KEEPALIVE_S = 15.0
"""An idle stream is sent a comment this often, so that no proxy closes it."""

PEERS_FIRST_MS = 200
"""How long tasks that this server's streams did not acquire are left to listeners of other processes, which
check when a task is due again. If this server came first, it would only postpone the task, because all its
streams already have it. """

GIVEN_BACK_S = 2.0
"""If a stream releases a task within this time after acquiring it, the task is not offered to it again for
the same time. The npm SDK releases a task at once if it has no function for it, and would otherwise get it
hundreds of times a second."""


class _Offer(Struct, frozen=True):
    """A task that was sent to a stream and is not acquired yet."""

    version: int
    address: str
    sent: float
    until: float
    """When it may be sent to the same stream again."""


class _Taken(Struct, frozen=True):
    """An offer whose task was acquired."""

    stream: Stream
    offer: _Offer
    at: float


class _Word(Struct, frozen=True):
    """A notice of a settled promise that was sent: where in the stream it ends, and when it was sent."""

    position: int
    sent: float


class _Hand(Struct):
    """A stream, and how many offers it still takes in this batch."""

    stream: Stream
    room: int


class Stream:
    """One connection of `GET /poll/{group}/{id}`. Instants are the event loop's, in seconds."""

    def __init__(self, group: str, id: str, transport: asyncio.Transport) -> None:
        """`transport` is that of a response with chunked encoding, whose head was sent."""
        self.group = group
        self.id = id
        self.addresses = (any_of(group), one_of(group, id))
        self.offers: dict[str, _Offer] = {}
        self.words: dict[tuple[str, int], _Word] = {}
        self._recent: dict[str, float] = {}
        self._transport = transport
        self._socket: socket.socket | None = transport.get_extra_info("socket")
        self._written = 0
        self._spoke = True

    def space(self) -> int:
        """Return how many bytes can be sent now."""
        if self._transport.is_closing():
            return 0
        return BUFFER_BYTES - self._transport.get_write_buffer_size()

    def room(self, moment: float) -> int:
        """Return how many offers can be sent now."""
        recent = self._recent
        while recent and recent[first := next(iter(recent))] <= moment:
            del recent[first]
        return max(0, min(WINDOW - len(recent), self.space() // FRAME_BYTES))

    def has(self, id: str, version: int, moment: float) -> bool:
        """Whether a task was sent to the reader, which still has time to acquire it."""
        offer = self.offers.get(id)
        return offer is not None and offer.version == version and offer.until > moment

    def note_offer(self, id: str, version: int, address: str, moment: float) -> None:
        """Remember that a task is sent."""
        until = moment + PATIENCE_S + PATIENCE_PER_OFFER_S * len(self.offers)
        self.offers.pop(id, None)
        self.offers[id] = _Offer(version, address, moment, until)
        self._recent.pop(id, None)
        self._recent[id] = moment + WINDOW_S

    def forget_offer(self, id: str) -> None:
        """Forget an offer that the reader has acted on."""
        self.offers.pop(id, None)
        self._recent.pop(id, None)

    def write(self, frames: bytes) -> int:
        """Send frames, and return where in the stream they end."""
        chunk = b"%x\r\n%b\r\n" % (len(frames), frames)
        self._transport.write(chunk)
        self._written += len(chunk)
        self._spoke = True
        return self._written

    def end_if_closing(self) -> None:
        """Abort a connection whose reader has closed its side, with what is buffered for it."""
        if self._transport.is_closing():
            self._transport.abort()

    def keep_alive(self) -> None:
        """Send a comment, if nothing was sent since the last call."""
        self.end_if_closing()
        if (
            not self._spoke
            and not self._transport.is_closing()
            and not self._transport.get_write_buffer_size()
        ):
            self.write(b": still here\n\n")
        self._spoke = False

    def confirmed(self) -> int:
        """Return the position in the stream up to which the reader's machine has confirmed receipt."""
        return self._written - self._transport.get_write_buffer_size() - _unsent(self._socket)


class Streams:
    """All streams of a server, and the messages for each."""

    def __init__(self, commit_loop: Callable[[], CommitLoop], metrics: Metrics) -> None:
        """Deal out messages in the batches of the loop that `commit_loop` returns, once there is one."""
        self._commit_loop = commit_loop
        self._metrics = metrics
        self._at: dict[str, list[Stream]] = {}
        self._bells: dict[str, Bell] = {}
        self._holders: defaultdict[str, set[Stream]] = defaultdict(set)
        self._taken: dict[str, list[_Taken]] = {}
        self._all: set[Stream] = set()
        self._dirty: set[str] = set()
        self._starved: dict[str, float] = {}
        self._feeding = False
        self._due: dict[str, int] = {}
        self.due = FAR
        self._confirming = False
        # What the next batch is to write.
        self._again: list[tuple[str, _Offer]] = []
        self._drop: list[tuple[str, int]] = []
        self._resend: list[tuple[str, int]] = []
        # What the batch in hand has found.
        self._offers: list[tuple[Stream, str, int, str, bytes]] = []
        self._words: list[tuple[Stream, str, int, bytes]] = []
        self._looked: dict[str, tuple[int, bool, bool]] = {}

    def __len__(self) -> int:
        """Return how many streams there are."""
        return len(self._all)

    # Streams come and go

    def add(self, stream: Stream) -> None:
        """Begin to send a stream the messages for its addresses."""
        lately = asyncio.get_running_loop().time() - machine.OFFER_RETRY_MS / 1_000
        self._all.add(stream)
        for address in stream.addresses:
            self._at.setdefault(address, []).insert(
                0, stream
            )  # the latest connection is the most likely to be open
            self._dirty.add(address)
        for other in self._at[stream.addresses[0]]:
            if other is not stream:
                # The new stream is offered tasks that others were sent long ago and have not acquired.
                self._again += [(id, offer) for id, offer in other.offers.items() if offer.sent <= lately]
        own = stream.addresses[1]
        if own not in self._bells:
            self._bells[own] = self._commit_loop().hang(stream.group, stream.id)
        self._commit_loop().soon()

    def remove(self, stream: Stream) -> None:
        """Send a stream nothing more. Others get the messages that it has not acted on."""
        self._all.discard(stream)
        for address in stream.addresses:
            self._at[address].remove(stream)
            if not self._at[address]:
                del self._at[address]
                self._due.pop(address, None)
                self._starved.pop(address, None)
                if address in self._bells:
                    self._commit_loop().unhang(self._bells.pop(address))
        for id, offer in stream.offers.items():
            self._again.append((id, offer))
            self._let_go(id, stream)
        self._resend.extend(stream.words)
        self._commit_loop().soon()

    def _let_go(self, id: str, stream: Stream) -> None:
        self._holders[id].discard(stream)
        if not self._holders[id]:
            del self._holders[id]

    # Events between batches

    def acquired(self, id: str) -> None:
        """Drop the offers of a task that somebody asks to acquire."""
        moment = asyncio.get_running_loop().time()
        self._forget_taken(moment)
        for stream in self._holders.pop(id, ()):
            self._taken.setdefault(id, []).append(_Taken(stream, stream.offers[id], moment))
            stream.forget_offer(id)
            for address in stream.addresses:
                if self._starved.pop(address, None) is not None:
                    self._dirty.add(address)

    def released(self, id: str, version: int) -> None:
        """Do not offer a released task again for a while to the streams that have just acquired it."""
        moment = asyncio.get_running_loop().time()
        self._forget_taken(moment)
        for taken in self._taken.pop(id, ()):
            stream = taken.stream
            if stream in self._all:
                until = moment + GIVEN_BACK_S
                stream.offers[id] = _Offer(version, taken.offer.address, taken.offer.sent, until)
                self._holders[id].add(stream)

    def _forget_taken(self, moment: float) -> None:
        """Forget the tasks that were acquired longer ago than `GIVEN_BACK_S`."""
        while self._taken:
            id = next(iter(self._taken))
            if self._taken[id][-1].at + GIVEN_BACK_S > moment:
                return
            del self._taken[id]

    def rung(self, bell: Bell | None) -> None:
        """Read the file for a bell's addresses in the next batch; for all addresses without one."""
        if bell is None:
            self._dirty.update(self._at)
        else:
            self._dirty |= self._at.keys() & {any_of(bell.group), one_of(bell.group, bell.name)}

    def keep_alive(self) -> None:
        """Send idle streams a comment, and forget offers that were sent too long ago."""
        moment = asyncio.get_running_loop().time()
        for stream in self._all:
            stream.keep_alive()
            old = [id for id, offer in stream.offers.items() if offer.until <= moment]
            for id in old:
                stream.forget_offer(id)
                self._let_go(id, stream)

    def waiting(self, now: int) -> bool:
        """Whether the next batch must hand out messages even if its requests only read."""
        return bool(self._dirty) or self.writing() or self.due <= now

    def writing(self) -> bool:
        """Whether the next batch must write the state of messages."""
        return bool(self._again or self._drop or self._resend)

    # One batch

    def hand_out(self, tx: Transaction) -> None:
        """Read the messages that the streams have room for. They are sent by `commit`."""
        self._offers, self._words, self._looked = [], [], {}
        for id, offer in self._again[:LOOK_LIMIT]:
            tx.offer_at(id, offer.version, offer.address, tx.now)
        for address, promise in self._drop:
            tx.drop_unblock(address, promise)
        for address, promise in self._resend:
            tx.keep_unblock(address, promise, tx.now)
        addresses = self._dirty.union(tx.offered) & self._at.keys()
        if self.due <= tx.now:
            addresses.update(address for address, due in self._due.items() if due <= tx.now)
        moment = asyncio.get_running_loop().time()
        for address in addresses:
            self._look(tx, address, moment)

    def commit(self) -> None:
        """Send the messages of the batch, which is on disk."""
        del self._again[:LOOK_LIMIT]
        self._drop, self._resend = [], []
        self._dirty.clear()
        moment = asyncio.get_running_loop().time()
        self._send(moment)
        for address, (due, starved, more) in self._looked.items():
            self._due[address] = due
            if starved:
                self._starved[address] = moment
            if more:
                self._dirty.add(address)
        if self._looked:
            self.due = min(self._due.values(), default=FAR)
        if self._starved and not self._feeding:
            self._feeding = True
            asyncio.get_running_loop().call_later(STARVED_S, self._feed)
        if self._dirty or self._again:
            self._commit_loop().soon()
        self._metrics.executes(len(self._offers))
        self._metrics.unblocks(len(self._words))

    def put_off(self, batch: Batch) -> None:
        """Leave the messages of this batch to a later one, because it handed out nothing."""
        offered = batch.offered & self._at.keys()
        self._dirty.update(offered)
        if self.due <= batch.now:
            self._dirty.update(self._at)
            self.due = FAR
        if offered:
            self._commit_loop().soon()

    def _send(self, moment: float) -> None:
        frames: dict[Stream, list[bytes]] = {}
        for stream, id, version, address, frame in self._offers:
            stream.note_offer(id, version, address, moment)
            self._holders[id].add(stream)
            frames.setdefault(stream, []).append(frame)
        for stream, _, _, frame in self._words:
            frames.setdefault(stream, []).append(frame)
        ends = {stream: stream.write(b"".join(parts)) for stream, parts in frames.items()}
        for stream, address, promise, _ in self._words:
            stream.words[address, promise] = _Word(ends[stream], moment)
        if self._words and not self._confirming:
            self._confirming = True
            asyncio.get_running_loop().call_later(CONFIRM_S, self._confirm)

    def _look(self, tx: Transaction, address: str, moment: float) -> None:
        """Distribute the messages for an address among its streams that have room."""
        streams = self._at[address]
        group, peers = streams[0].group, 0
        if address == any_of(group):  # how many listen for it in other processes
            own = sum(bell.group == group for bell in self._bells.values())
            peers = max(self._commit_loop().ringer.count(group) - own, 0)
        more = self._deal_offers(tx, address, moment, peers)
        blocked = self._deal_words(tx, address)
        offer_at = tx.next_offer(address) or FAR
        due = min(offer_at + PEERS_FIRST_MS if peers else offer_at, tx.next_unblock(address) or FAR)
        starved = blocked or (more and peers > 0) or not any(stream.room(moment) for stream in streams)
        self._looked[address] = (due, starved, more and not starved)

    def _deal_offers(self, tx: Transaction, address: str, moment: float, peers: int) -> bool:
        """Offer tasks to the streams in turn. Return whether there may be more."""
        streams = self._at[address]
        if len(streams) > 1 and address == streams[0].addresses[0]:
            streams.append(streams.pop(0))
        share = len(streams) / (len(streams) + peers)
        hands = deque(
            _Hand(stream, math.ceil(room * share)) for stream in streams if (room := stream.room(moment)) > 0
        )
        dues: dict[int, int] = {}
        more = False
        for task, promise in tx.offers(address, ""):
            if not hands or len(dues) >= LOOK_LIMIT:
                more = True
                break
            if machine.is_due(promise, tx.now):
                continue
            stream = _deal(hands, promise.id, task.version, moment)
            if stream is None:
                dues[task.seq] = tx.now + self._patience_ms(promise.id, address, moment)
            else:
                dues[task.seq] = tx.now + machine.OFFER_RETRY_MS
                frame = _framed(execute_message(task, promise))
                self._offers.append((stream, promise.id, task.version, address, frame))
        for seq, due in dues.items():
            tx.put_off_task(seq, due)
        return more

    def _patience_ms(self, id: str, address: str, moment: float) -> int:
        """Return for how many ms to hold back a task that all streams of the address were already sent."""
        ends = [offer.until for stream in self._at[address] if (offer := stream.offers.get(id))]
        left = math.ceil((min(ends, default=moment) - moment) * 1_000)
        return max(1, min(left, RENEW_MS))

    def _deal_words(self, tx: Transaction, address: str) -> bool:
        """Send notices of settled promises to the first stream with space. Return whether space ran out."""
        space = {stream: stream.space() for stream in self._at[address]}
        found: list[int] = []
        blocked = False
        for promise in tx.unblocks(address):
            key = (address, promise.seq)
            without = [stream for stream in space if key not in stream.words]
            taker = next((stream for stream in without if space[stream] > 0), None)
            blocked = len(found) >= LOOK_LIMIT or (taker is None and bool(without))
            if blocked:
                break
            found.append(promise.seq)
            if taker is not None:
                frame = _framed(unblock_message(promise))
                space[taker] -= len(frame)
                self._words.append((taker, address, promise.seq, frame))
        for seq in found:
            tx.keep_unblock(address, seq, tx.now + RENEW_MS)
        return blocked

    # Between the batches

    def _feed(self) -> None:
        """Find the streams that were full and have room now."""
        moment = asyncio.get_running_loop().time()
        self._feeding = False
        for address, since in list(self._starved.items()):
            streams = self._at.get(address, ())
            for stream in streams:
                stream.end_if_closing()
            if moment - since >= SHARE_PAUSE_S and any(stream.room(moment) for stream in streams):
                del self._starved[address]
                self._dirty.add(address)
        if self._dirty:
            self._commit_loop().soon()
        if self._starved:
            self._feeding = True
            asyncio.get_running_loop().call_later(STARVED_S, self._feed)

    def _confirm(self) -> None:
        """Delete the notices that have arrived."""
        moment = asyncio.get_running_loop().time()
        for stream in self._all:
            if not stream.words:
                continue
            confirmed = stream.confirmed()
            for key, word in list(stream.words.items()):
                if word.position > confirmed or word.sent + CONFIRM_S > moment:
                    break
                del stream.words[key]
                self._drop.append(key)
        if self._drop:
            self._commit_loop().soon()
        self._confirming = any(stream.words for stream in self._all)
        if self._confirming:
            asyncio.get_running_loop().call_later(CONFIRM_S, self._confirm)


def _deal(hands: deque[_Hand], id: str, version: int, moment: float) -> Stream | None:
    """Return the next stream with room that does not have the task yet, or None."""
    for _ in range(len(hands)):
        hand = hands[0]
        if hand.stream.has(id, version, moment):
            hands.rotate(-1)
            continue
        hand.room -= 1
        if hand.room:
            hands.rotate(-1)
        else:
            hands.popleft()
        return hand.stream
    return None


def _framed(message: bytes) -> bytes:
    """Return a message as an event in ASCII: the Python SDK drops a chunk that ends within a character."""
    if not message.isascii():
        message = json.dumps(json.loads(message), separators=(",", ":")).encode()
    return b"data: %b\n\n" % message


def _unsent(connection: socket.socket | None) -> int:
    """Return how many bytes the other end of a connection has not confirmed."""
    if connection is None:
        return 0
    try:
        if sys.platform == "darwin":
            return connection.getsockopt(socket.SOL_SOCKET, SO_NWRITE)
        pending = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return sys.maxsize  # it is closed
    return int.from_bytes(pending, sys.byteorder)
