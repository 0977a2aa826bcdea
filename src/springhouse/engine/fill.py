"""Keeps what arrives of one answer: finds room for it in memory, or a way to the slow store, and stores it when whole.

What could be held in memory later is held in memory now, and put into the store when it is whole. Larger content goes
to the slow store while it arrives, where there is one, and memory holds only what has not reached that yet: so an
object may be larger than memory.
"""

from springhouse.engine.recordings import Feed, Recording
from springhouse.http.content import CONTENT_PIECE, MemoryContent
from springhouse.rules.entry import Entry
from springhouse.stores.store import Store
from springhouse.stores.tier import Arriving


class Fill:
    """One entry on its way into the store. It counts what its recording holds in memory, as long as that holds any."""

    __slots__ = ("_arriving", "_held_up_to", "_limit", "_reserved", "_store", "entry", "recording")

    def __init__(self, store: Store, entry: Entry, limit: int | None, origin: Feed) -> None:
        self._store = store
        self._limit = float("inf") if limit is None else limit
        self.entry = entry
        self.recording = Recording(origin)
        entry.content = self.recording
        self.recording.may_hold = self.may_hold
        is_large = entry.length is not None and entry.length > store.whole_max
        self._held_up_to = 0 if is_large else store.whole_max
        """Bytes from which on the content goes to the slow store."""
        self._arriving: Arriving | None = None
        self._reserved = 0
        """Bytes of memory that are counted for it."""

    def has_room(self, size: int) -> bool:
        """Make room for content that has come, before it is recorded; False when it can be kept no longer."""
        recording, arriving = self.recording, self._arriving
        length = recording.size + size
        if length > self._limit or (arriving is not None and arriving.has_failed):
            return False
        if not self.may_hold(length - recording.held_from):
            return False
        if length > self._held_up_to and arriving is None:
            self._spool()
        return True

    def _spool(self) -> None:
        """Let it go to the slow store from now on. If that cannot take it, it stays in memory while there is room."""
        self._arriving = self._store.arrive(self.entry.key, self.recording.settle)
        if self._arriving is not None:
            self.recording.spool(self._arriving)

    def may_hold(self, held: int) -> bool:
        """Count as many bytes in memory, and return whether there may be as many; if not, the count stays."""
        more = held - self._reserved
        if more > 0:
            if held > self._limit or not self._store.reserve(more):
                return False
        else:
            self._store.release(-more)
        self._reserved = held
        return True

    def store(self, *, is_current: bool) -> None:
        """Store what has come, which is all of it, unless it is outdated by now."""
        recording, entry, arriving = self.recording, self.entry, self._arriving
        entry.length = recording.size
        if arriving is not None and not is_current:
            recording.is_kept = False  # its readers get the rest
            return
        if arriving is None:
            content = MemoryContent(b"".join(recording.chunks))
            entry.content = content
            if len(content.data) > CONTENT_PIECE:
                self._store.memory.lingering.watch((entry,))
                recording.read_on_in = content
        else:
            entry.content = arriving
        recording.count_no_longer()
        if is_current:
            self._store.put(entry)
