"""Keeps what arrives of one answer: finds room for it in memory, or a way to the slow store, and stores it when whole.

What could be held in memory later is held in memory now, and put into the store when it is whole. Larger content goes
to the slow store while it arrives, where there is one, and memory holds only what has not reached that yet: so an
object may be larger than memory.
"""

from springhouse.engine.ports import Store
from springhouse.engine.recordings import Recording
from springhouse.rules.entry import Entry
from springhouse.stores.tier import Arriving
from springhouse.upstream.content import Pausable


class Keeping:
    """One entry on its way into the store. It ends with `store` or `give_up`."""

    __slots__ = ("_arriving", "_given_back", "_held_up_to", "_is_over", "_limit", "_store", "entry", "recording")

    def __init__(self, store: Store, entry: Entry, limit: int | None, origin: Pausable) -> None:
        self._store = store
        self._limit = float("inf") if limit is None else limit
        self.entry = entry
        self.recording = entry.content = Recording(origin)
        is_large = entry.length is not None and entry.length > store.whole_max
        self._held_up_to = 0 if is_large else store.whole_max
        """Bytes from which on the content goes to the slow store."""
        self._arriving: Arriving | None = None
        self._given_back = 0
        """Bytes of the recording, counted from the first, that take no room in memory any more."""
        self._is_over = False

    def has_room(self, size: int) -> bool:
        """Make room for content that has come, before it is recorded; False when it can be kept no longer."""
        length, arriving = self.recording.size + size, self._arriving
        self._give_back(self.recording.held_from)
        if length > self._limit or (arriving is not None and arriving.has_failed) or not self._store.reserve(size):
            return False
        if length > self._held_up_to and arriving is None:
            self._spool()
        return True

    def _spool(self) -> None:
        """Let it go to the slow store from now on. If that cannot take it, it stays in memory while there is room."""
        self._arriving = self._store.arrive(self.entry.key, self._told)
        if self._arriving is not None:
            self.recording.spool(self._arriving)

    def _told(self) -> None:
        self.recording.settle()
        if not self._is_over:
            self._give_back(self.recording.held_from)

    def _give_back(self, up_to: int) -> None:
        self._store.release(up_to - self._given_back)
        self._given_back = up_to

    def give_up(self) -> None:
        """Keep it no longer."""
        self._give_back(self.recording.size)
        self._is_over = True

    def store(self, *, is_current: bool) -> None:
        """Store what has come, which is all of it, unless it is outdated by now."""
        self.give_up()
        recording, entry, arriving = self.recording, self.entry, self._arriving
        entry.length = recording.size
        if arriving is None:
            entry.content = b"".join(recording.chunks)
        elif is_current:
            entry.content = arriving
        else:
            recording.is_kept = False  # who reads it gets the rest
            return
        if is_current:
            self._store.put(entry)
