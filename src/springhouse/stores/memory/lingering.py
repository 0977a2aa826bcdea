"""Large content in memory that clients still read when no record holds it any more: it counts until the last has left.

A client may take long over what has been evicted, purged or replaced meanwhile; without this, clients that read slowly
could hold more than the budget. What lingers may take `limit` bytes, or be a single content. Beyond that the content
that lost its record first is let go: its readers, which have had the most time, are broken off. As long as
there is room, no client that reads at a decent pace is.
"""

from collections.abc import Callable, Iterable

from springhouse.http.content import CONTENT_PIECE, MemoryContent, MemoryReader
from springhouse.rules.entry import Entry


class Lingering:
    """What lingers. `count` is given the bytes that come to be counted, negative: that are no longer."""

    __slots__ = ("_contents", "_count", "_limit", "size")

    def __init__(self, limit: int, count: Callable[[int], None]) -> None:
        self._contents: dict[Readership, None] = {}
        """In the order in which they lost their records."""
        self._count = count
        self._limit = limit
        self.size = 0

    def watch(self, entries: Iterable[Entry]) -> list["Readership"]:
        """Let large content of entries count its readers from now on; return these."""
        watched: list[Readership] = []
        for entry in entries:
            content = entry.content
            if isinstance(content, MemoryContent) and len(content.data) > CONTENT_PIECE:
                if not isinstance(content.readers, Readership):
                    content.readers = Readership(self, len(content.data))
                watched.append(content.readers)
        return watched

    def exchange(self, before: Iterable[Entry], after: Iterable[Entry]) -> None:
        """Record that a key has other entries than before."""
        lost, held = self.watch(before), self.watch(after)
        for readers in lost:
            readers.is_stored = False
        for readers in held:
            readers.is_stored = True
        for readers in lost + held:
            readers.look()

    def add(self, readers: "Readership") -> None:
        """Count content that has no record; make others go if that is too much."""
        if readers in self._contents:
            return
        self._contents[readers] = None
        self.size += readers.size
        self._count(readers.size)
        while self.size > self._limit and len(self._contents) > 1:
            next(iter(self._contents)).break_off()

    def drop(self, readers: "Readership") -> None:
        """Count content no longer, if it was counted."""
        if readers in self._contents:
            del self._contents[readers]
            self.size -= readers.size
            self._count(-readers.size)


class Readership:
    """Those that read one content at this moment."""

    __slots__ = ("_lingering", "_readers", "is_stored", "size")

    def __init__(self, lingering: Lingering, size: int) -> None:
        self._lingering = lingering
        self._readers: dict[MemoryReader, None] = {}
        self.is_stored = False
        """Whether a record holds the content, and counts it."""
        self.size = size

    def add(self, reader: MemoryReader) -> None:
        """Somebody begins to read it."""
        self._readers[reader] = None
        if not self.is_stored:
            self._lingering.add(self)

    def remove(self, reader: MemoryReader) -> None:
        """Somebody has read it, or has left."""
        self._readers.pop(reader, None)
        self.look()

    def look(self) -> None:
        """See whether it lingers."""
        if self._readers and not self.is_stored:
            self._lingering.add(self)
        else:
            self._lingering.drop(self)

    def break_off(self) -> None:
        """End all reading of it."""
        readers, self._readers = self._readers, {}
        self._lingering.drop(self)
        for reader in readers:
            reader.break_off()
