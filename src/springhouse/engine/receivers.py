"""What becomes of the content of an answer: an exchange has one receiver at a time, to which its upstream reports.

| receiver      | content          | settled       | content_end              | failed          |
|---------------|------------------|---------------|--------------------------|-----------------|
| AWAITING_HEAD | –                | –             | –                        | the flow goes on |
| Deferred      | kept             | –             | kept                     | kept            |
| Gathering     | kept, or Filling | Filling       | stored, sent; or Filling | Filling         |
| Filling       | recorded         | readers flush | stored; readers end      | readers abort   |
| PASSING_ON    | written          | flushed       | the reply ends           | it is aborted   |
| ENDED         | –                | –             | –                        | –               |

    AWAITING_HEAD → Gathering → Filling → ENDED   the answer may be stored: small content is gathered first
    AWAITING_HEAD → Filling → ENDED               and large content is not
    AWAITING_HEAD → PASSING_ON → ENDED            it may not
    any → Deferred → the same, or the one that a further step of the flow chooses
    any → AWAITING_HEAD                           the flow asks once more

"Filling" in the table: it takes over, and what was reported is reported to it. Deferred stands in while the flow waits
for a step in the middle of an answer; what it has kept is then reported once more.

No receiver refers to its exchange, which is passed to it instead: requests leave no reference cycles.
"""

from typing import Final, Protocol

from springhouse.engine.context import ExchangeContext
from springhouse.engine.fill import Fill
from springhouse.engine.flights import FlightResult
from springhouse.engine.ports import Call
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import Reply
from springhouse.exchange.steps import Failure
from springhouse.http.content import MemoryContent
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.leases import LockStatus

GATHERED_MAX: Final = 16 * 1024
"""Bytes of content that are likely to come with the head."""


class Receiving(Protocol):
    """What receivers use of their exchange."""

    call: Call | None
    """None once the answer is complete, or not wanted any more."""
    engine: ExchangeContext
    epoch: int
    receiver: "ContentReceiver"
    sink: Sink

    def send(self, reply: Reply) -> None:
        """Start the reply, and send what there is of its content."""

    def fill(self, entry: Entry) -> None:
        """Become Filling."""

    def settled(self) -> None:
        """Report to the current receiver."""

    def land(self, result: FlightResult, status: LockStatus = LockStatus.DONE) -> None:
        """Lead no longer."""

    def remember_uncacheable(self) -> None:
        """Let no request like this one wait for the key."""


class ContentReceiver(Protocol):
    """Takes the content of one answer."""

    @property
    def may_store(self) -> bool:
        """Whether what arrives may become an entry, so that it is wanted even if no client reads it."""

    def content(self, exchange: Receiving, data: bytes) -> None:
        """Take some content."""

    def settled(self, exchange: Receiving) -> None:
        """All that has arrived was reported: readers get it now."""

    def content_end(self, exchange: Receiving) -> None:
        """The content is complete."""

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        """The content broke off."""


class Idle:
    """There is no content to take: not yet, or not any more."""

    __slots__ = ()
    may_store = False

    def content(self, exchange: Receiving, data: bytes) -> None:
        pass

    def settled(self, exchange: Receiving) -> None:
        pass

    def content_end(self, exchange: Receiving) -> None:
        pass

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        pass


AWAITING_HEAD: Final = Idle()
ENDED: Final = Idle()


class PassingOn:
    """The content is for the one client that asked."""

    __slots__ = ()
    may_store = False

    def content(self, exchange: Receiving, data: bytes) -> None:
        sink = exchange.sink
        sink.write(data)
        if sink.paused and exchange.call is not None:
            exchange.call.pause()

    def settled(self, exchange: Receiving) -> None:
        exchange.sink.flush()

    def content_end(self, exchange: Receiving) -> None:
        exchange.call = None
        exchange.receiver = ENDED
        exchange.sink.end()

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        exchange.call = None
        exchange.receiver = ENDED
        exchange.sink.abort()


PASSING_ON: Final = PassingOn()


class Gathering:
    """A small answer that may be stored: nothing of it goes out before it is known whether its content is at hand.

    Mostly it is: then there is nothing to record, and no reader has to join.
    """

    __slots__ = ("_data", "_entry", "reply")
    may_store = True

    def __init__(self, entry: Entry) -> None:
        self._data = b""
        self._entry = entry
        self.reply: Reply | None = None

    def content(self, exchange: Receiving, data: bytes) -> None:
        if len(data) == self._entry.length and not self._data:
            self._data = data
        else:
            self._fill(exchange)
            exchange.receiver.content(exchange, data)

    def settled(self, exchange: Receiving) -> None:
        self._fill(exchange)
        exchange.receiver.settled(exchange)

    def content_end(self, exchange: Receiving) -> None:
        entry, data = self._entry, self._data
        if len(data) != entry.length:
            self._fill(exchange)
            exchange.receiver.content_end(exchange)
            return
        exchange.call = None
        exchange.receiver = ENDED
        entry.content = MemoryContent(data)
        engine = exchange.engine
        if engine.fence.lets_through(entry, exchange.epoch):
            engine.store.put(entry)
            exchange.land(entry)
        else:
            exchange.land(None)
        if self.reply is not None:
            exchange.send(self.reply)

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        self._fill(exchange)
        exchange.receiver.failed(exchange, failure)

    def _fill(self, exchange: Receiving) -> None:
        """Let out what was gathered: the rest comes later."""
        exchange.fill(self._entry)
        if self.reply is not None:
            exchange.send(self.reply)
        if self._data:
            exchange.receiver.content(exchange, self._data)


class Filling:
    """A recording takes the content, from which the client and others read; it is kept for the store if that can be."""

    __slots__ = ("_fill", "recording")
    may_store = True

    def __init__(self, fill: Fill) -> None:
        self._fill: Fill | None = fill
        """None once it cannot be kept."""
        self.recording = fill.recording

    def content(self, exchange: Receiving, data: bytes) -> None:
        fill = self._fill
        if fill is not None and not fill.has_room(len(data)):
            self._keep_no_longer(exchange, fill)
        self.recording.feed(data)

    def _keep_no_longer(self, exchange: Receiving, fill: Fill) -> None:
        self._fill = None
        fill.recording.keep_no_longer()
        exchange.remember_uncacheable()
        exchange.land(None, LockStatus.GIVE_UP)
        entry, engine = fill.entry, exchange.engine
        if any((old.vary, old.selector) == (entry.vary, entry.selector) for old in engine.store.lookup(entry.key)):
            # It is outdated, and its successor will not take its place.
            engine.cache.purge(Purge(Keys((entry.key,))))

    def settled(self, exchange: Receiving) -> None:
        self.recording.flush()

    def content_end(self, exchange: Receiving) -> None:
        exchange.call = None
        exchange.receiver = ENDED
        fill = self._fill
        if fill is not None:
            fill.store(is_current=exchange.engine.fence.lets_through(fill.entry, exchange.epoch))
        exchange.land(None)
        self.recording.finish()

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        exchange.call = None
        exchange.receiver = ENDED
        exchange.land(None, LockStatus.TRANSIENT_ERROR)
        self.recording.fail()


class Deferred:
    """The flow waits for a step in the middle of an answer: what comes meanwhile is kept, and the origin held back."""

    __slots__ = ("events", "following")

    def __init__(self, following: ContentReceiver) -> None:
        self.events: list[bytes | Failure | None] = []
        """What was reported; None stands for the end of the content."""
        self.following = following
        """What received until now; the flow may choose another."""

    @property
    def may_store(self) -> bool:
        return self.following.may_store

    def content(self, exchange: Receiving, data: bytes) -> None:
        self.events.append(data)

    def settled(self, exchange: Receiving) -> None:
        pass

    def content_end(self, exchange: Receiving) -> None:
        self.events.append(None)

    def failed(self, exchange: Receiving, failure: Failure) -> None:
        self.events.append(failure)

    def deliver(self, exchange: Receiving) -> None:
        """Report what was kept to the exchange's receiver, unless nothing of it is wanted any more."""
        if exchange.call is None:
            return
        exchange.call.resume()
        for event in self.events:
            if event is None:
                exchange.receiver.content_end(exchange)
            elif isinstance(event, Failure):
                exchange.receiver.failed(exchange, event)
            else:
                exchange.receiver.content(exchange, event)
        exchange.settled()
