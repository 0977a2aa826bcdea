"""A store whose slow part is opened when there is an event loop to run it on, and closed with it.

Applications are often made before their loop runs, and outlive it. Until it is opened, and after it is closed, this is
the memory store in front alone.
"""

from collections.abc import Callable, Sequence

from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge
from springhouse.stores.layered import LayeredStore
from springhouse.stores.leases import Leasing
from springhouse.stores.memory.records import MemoryStore, Record
from springhouse.stores.tier import Arriving, LookedUp, OnProgress, Purged


class OpenableStore:
    """Memory, and a LayeredStore over it while open. `make` is called on the loop's thread."""

    def __init__(self, memory: MemoryStore, make: Callable[[], LayeredStore]) -> None:
        self.memory = memory
        self._make = make
        self._layered: LayeredStore | None = None
        self._on_foreign_purge = memory.on_foreign_purge

    def open(self) -> None:
        """Open the slow part; raises what `make` raises. Nothing happens when it is open already."""
        if self._layered is None:
            self._layered = self._make()
            self._layered.on_foreign_purge = self._on_foreign_purge

    def close(self) -> None:
        """Write what waits to be written, and let go of the slow part. Memory, which may miss its news, is emptied."""
        layered, self._layered = self._layered, None
        if layered is not None:
            layered.close()
            self.memory.clear()

    async def aclose(self) -> None:
        """Do as `close`, and return when all is written."""
        layered, self._layered = self._layered, None
        if layered is not None:
            await layered.aclose()
            self.memory.clear()

    @property
    def on_foreign_purge(self) -> Callable[[Purge], None]:
        """Is told what other processes have purged."""
        return self._on_foreign_purge

    @on_foreign_purge.setter
    def on_foreign_purge(self, told: Callable[[Purge], None]) -> None:
        self._on_foreign_purge = told
        if self._layered is not None:
            self._layered.on_foreign_purge = told

    @property
    def records(self) -> dict[bytes, Record]:
        """What is in memory."""
        return self.memory.records

    @property
    def is_shared(self) -> bool:
        """Other processes see what is in the slow part."""
        return True

    def is_behind(self) -> bool:
        """Say whether memory may hold what another process has purged."""
        return self._layered is not None and self._layered.is_behind()

    @property
    def leases(self) -> Leasing | None:
        """Who of several processes fetches a key."""
        return self._store.leases

    def reread(self, key: bytes) -> None:
        """Let the next lookup find what another process has stored."""
        self._store.reread(key)

    @property
    def _store(self) -> MemoryStore | LayeredStore:
        return self._layered or self.memory

    def lacks(self, key: bytes) -> bool:
        """Say whether nothing is stored under the key, as far as that is known at once."""
        return self._store.lacks(key)

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        """Return what memory has under the key."""
        return self._store.lookup(key)

    def find(self, key: bytes, done: LookedUp) -> tuple[Entry, ...] | None:
        """Return the variants under the key at once, or None and call `done` with them later."""
        return self._store.find(key, done)

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete. What was arriving in a slow part that has been closed is lost."""
        if self._layered is not None or isinstance(entry.content, bytes):
            self._store.put(entry)

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place."""
        self._store.replace(old, new)

    @property
    def whole_max(self) -> int:
        """How large content may be that is put whole."""
        return self._store.whole_max

    def arrive(self, key: bytes, told: OnProgress) -> Arriving | None:
        """Begin to store content in the slow part while it arrives; None while that cannot be."""
        return self._store.arrive(key, told)

    def reserve(self, size: int) -> bool:
        """Make room in memory for content that is arriving."""
        return self.memory.reserve(size)

    def release(self, size: int) -> None:
        """Give back what `reserve` took."""
        self.memory.release(size)

    def purge_here(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge what memory has."""
        self._store.purge_here(purge, done, held=held, dry_run=dry_run)

    def purge_everywhere(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge in memory and behind it."""
        self._store.purge_everywhere(purge, done, held=held, dry_run=dry_run)
