"""What every slow store offers, behind the memory store: a disk, another machine.

Nothing here blocks, and nothing raises. What takes time ends in a callback, on the thread of the event loop and never
before the call has returned. A failed lookup is a miss, a failed put is dropped, and `errors` counts both. A store
is called from the loop's thread only, and keeps that order: a lookup sees all puts and purges asked for
before it.

Several processes may share one store. `has_foreign_purges` tells, at the cost of reading a number, whether another one
has purged since; `catch_up` then fetches what. An entry that is put in between may be dropped: it may be one of those.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge, Receipt
from springhouse.stores.content import StoredContent
from springhouse.stores.errors import StoreErrors
from springhouse.stores.leases import Leasing

LookedUp = Callable[[tuple[Entry, ...]], None]
"""Called with the variants under a key, the latest first."""
Purged = Callable[[Receipt], None]
CaughtUp = Callable[[Sequence[Purge]], None]
"""Called with the purges of other processes that this one had not applied, in order."""
OnProgress = Callable[[], None]
"""Called when more of what is arriving has reached the store, or none will."""
CLOCKS_APART_S = 10.0
"""By how much the clocks of processes that share a store may differ. What came later than that has come from a wrong
one."""
BACKLOG_MAX = 4 * 2**20
"""Bytes of one arriving content that may wait to reach its store, if there is room for as many."""


class CallLater(Protocol):
    """Calls a function on the loop's thread after some seconds: `loop.call_later`."""

    def __call__(self, delay: float, call: Callable[[], object], /) -> object: ...


class EventLoop(Protocol):
    """What a tier with threads needs of the loop, on whose thread alone it is asked and answers."""

    @property
    def call_soon_threadsafe(self) -> Callable[..., object]:
        """Call a function with arguments on the loop's thread; RuntimeError when the loop is closed."""

    @property
    def call_later(self) -> CallLater:
        """Call a function on the loop's thread after some seconds."""


def call_later(delay: float, call: Callable[[], object], /) -> object:
    """Call a function after some seconds by the loop that runs now."""
    return asyncio.get_running_loop().call_later(delay, call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Clocks and timers of a store. `wall`: seconds since 1970, the engine's; `written`: how many seconds the purge of
    another process may wait for what is being written here."""

    call_later: CallLater = call_later
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    written: float = 1.0


def is_never_hot(_key: bytes) -> bool:
    """Return that a key is not in use in memory, where that is not known."""
    return False


class Arriving(StoredContent, Protocol):
    """Content that goes to the store while it arrives. One of `commit` and `abandon` ends it.

    Once it is committed it is the content of its entry. What has reached the store can be read from the beginning, and
    after the end as long as the store has it; what was written before a commit can be read from then on.
    """

    __slots__ = ()

    length: int
    """Bytes written so far."""

    @property
    def reached(self) -> int:
        """Bytes, counted from the first, that have reached the store."""

    @property
    def is_full(self) -> bool:
        """Whether so much waits to reach the store that the writer should hold back until `on_progress` is called."""

    @property
    def has_failed(self) -> bool:
        """Whether it will not be stored. What is written then is dropped; what had reached the store has."""

    def write(self, data: bytes) -> None:
        """Take some content."""

    def commit(self, entry: Entry) -> None:
        """Store the entry; its content is what was written. Nothing happens when writing has failed."""

    def abandon(self) -> None:
        """Store nothing."""


class Tier(Protocol):
    """A slow store."""

    errors: StoreErrors

    @property
    def patience(self) -> float:
        """Seconds that a lookup may take before it is given up, and counts as a miss."""

    @property
    def leases(self) -> Leasing | None:
        """Settles which of the processes that share the store fetches a key; None where nothing does."""

    def lookup(self, key: bytes, done: LookedUp) -> None:
        """Find the variants under the key. Content is MemoryContent, or StoredContent where it is large."""

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete bytes, in place of those it supersedes."""

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; nothing happens when the old one has gone."""

    def arrive(self, key: bytes, on_progress: OnProgress, /) -> Arriving | None:
        """Begin to store content that is arriving, for an entry of this key; None while the store cannot.

        `on_progress` is called when more of it has reached the store, when it has failed, and a last time after
        `commit`, when it is stored or never will be; not after `abandon`.
        """

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        """Remove or mark what a purge selects, or only count it.

        `done` is called when no process can find it any more, and not even a power failure brings it back. `held`: what
        memories had of it; what of that the store does not have is counted, too.
        """

    def has_foreign_purges(self) -> bool:
        """Return whether other processes have purged since the last `catch_up`. Cheap: asked before every hit."""

    def catch_up(self, done: CaughtUp) -> None:
        """Fetch the purges of other processes that this one has not applied, in order."""

    def flush(self, done: Callable[[], None]) -> None:
        """Call back when all that was asked for before has been written."""

    def close(self) -> None:
        """Write what is waiting to be written, and let go of everything. Takes some seconds at most: it blocks, or goes
        on in the background."""

    async def aclose(self) -> None:
        """Do as `close`, and return when it is done."""
