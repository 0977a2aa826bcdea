"""What every slow store offers, behind the memory store: a disk, another machine.

Nothing here blocks, and nothing raises. What takes time ends in a callback, on the thread of the event loop and never
before the call has returned. A failed lookup is a miss, a failed put is dropped, and `troubles` counts both. A store
is asked and told from the loop's thread only, and keeps that order: a lookup sees all puts and purges asked for
before it.

Several processes may share one store. `has_news` says, at the cost of reading a number, whether another one has
purged since; `catch_up` then fetches what. An entry that is put in between may be dropped: it may be one of those.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from springhouse.rules.entry import Entry
from springhouse.stores.purging import Held, Purge, Receipt
from springhouse.stores.troubles import Troubles

Found = Callable[[tuple[Entry, ...]], None]
"""Is given the variants under a key, the latest first."""
Purged = Callable[[Receipt], None]
Read = Callable[["bytes | None"], None]
"""Is given some content, None when it cannot be read."""
News = Callable[[Sequence[Purge]], None]


class StoredContent(Protocol):
    """Content too large to be held in memory: the `content` of an entry that a tier found."""

    length: int

    def read(self, start: int, size: int, done: Read) -> None:
        """Read from `start` at least one byte and at most `size`, as many as are at hand; proved by their digests.

        `start` is less than `length`. None means that the content cannot be had; its entry is then forgotten.
        """


class Arriving(Protocol):
    """Content that goes to the store while it arrives. One of `commit` and `abandon` ends it."""

    size: int
    """Bytes written so far."""

    @property
    def backlog(self) -> int:
        """Bytes written that have not reached the store; who writes should hold back when it grows."""

    def write(self, data: bytes) -> None:
        """Take some content."""

    def commit(self, entry: Entry) -> None:
        """Store the entry; its content is what was written. Nothing happens when writing has failed."""

    def abandon(self) -> None:
        """Store nothing."""

    def read(self, start: int, size: int, done: Read) -> None:
        """Read what was written: up to `size` bytes from `start`, which is less than `size - backlog`."""


class Tier(Protocol):
    """A slow store."""

    troubles: Troubles

    def lookup(self, key: bytes, done: Found) -> None:
        """Find the variants under the key. Content is bytes, or StoredContent where it is large."""

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete bytes, in place of those it supersedes."""

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; nothing happens when the old one has gone."""

    def arrive(self) -> Arriving | None:
        """Begin to store content that is arriving; None where the store cannot, or has no room."""

    def purge(
        self, purge: Purge, done: Purged | None = None, *, held: Sequence[Held] = (), dry_run: bool = False
    ) -> None:
        """Remove or mark what a purge selects, or only count it.

        `done` is called when no process can find it any more, and not even a power failure brings it back. `held`: what
        memories had of it; what of that the store does not have is counted, too.
        """

    def has_news(self) -> bool:
        """Say whether other processes have purged since the last `catch_up`. Cheap: asked before every hit."""

    def catch_up(self, done: News) -> None:
        """Fetch the purges of other processes that this one has not been told of, in order."""

    def flush(self, done: Callable[[], None]) -> None:
        """Call back when all that was asked for before has been written."""

    def close(self) -> None:
        """Write what is waiting to be written, and let go of everything. Takes some seconds at most: it blocks, or goes
        on in the background."""

    async def aclose(self) -> None:
        """Do as `close`, and return when it is done."""
