"""Content (RFC 9110 §6.4) of stored responses, and how it reaches a client, from memory, a store or the origin.

An entry's content is one of three, and none of those that pass it on asks which: `MemoryContent` here, content in a
slow store (`stores.content`), or content that is still arriving (`engine.recordings`).
"""

from typing import Final, Protocol

from springhouse.http.ranges import view_of

CONTENT_PIECE: Final = 256 * 1024
"""Bytes of content that are read or written at once."""


class ContentReader(Protocol):
    """Sends content to one sink, as fast as that takes it."""

    def pause(self) -> None:
        """Stop for now."""

    def resume(self) -> None:
        """Go on."""

    def leave(self) -> None:
        """Send no more of it."""


class ContentSink(Protocol):
    """What content is sent to: the part of `engine.sinks.Sink` that is about content."""

    @property
    def paused(self) -> bool:
        """Whether nothing should be written for now."""

    @property
    def piece(self) -> int:
        """Bytes of content in memory that should be written at once: few if they are copied, else many."""

    def produced_by(self, producer: ContentReader) -> None:
        """Name what is resumed once the sink can take more."""

    def write(self, data: bytes | memoryview) -> None:
        """Send some content."""

    def flush(self) -> None:
        """Send what was written so far: nothing follows at once."""

    def end(self) -> None:
        """Finish the reply."""

    def abort(self) -> None:
        """Break the reply off."""


class ContentReaders(Protocol):
    """Keeps count of those that read content in memory at this moment."""

    def add(self, reader: "MemoryReader") -> None:
        """Somebody begins to read it."""

    def remove(self, reader: "MemoryReader") -> None:
        """Somebody has read it, or has left."""


class Content(Protocol):
    """The content of an entry."""

    @property
    def data(self) -> bytes | None:
        """All of it, if it lies in memory and is complete; else None."""

    def __len__(self) -> int:
        """Return how many bytes it has, or has so far."""

    def send_to(self, sink: ContentSink, start: int = 0, stop: int | None = None) -> ContentReader | None:
        """Send the bytes from `start` up to `stop` (None: all there are), and end the reply.

        Return what sends the rest, None when all has been sent.
        """


class MemoryContent:
    """Content that lies in memory.

    It is not copied for a client: what is written are views of it. So clients that do not read hold no more than a
    piece each, whatever they have asked for.
    """

    __slots__ = ("data", "readers")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.readers: ContentReaders | None = None
        """Set where it is large, by the memory that counts it."""

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<MemoryContent of {len(self.data)} bytes>"

    def send_to(self, sink: ContentSink, start: int = 0, stop: int | None = None) -> ContentReader | None:
        """Send a part of it: at once if it is small, else as the sink takes it."""
        data = self.data
        if len(data) > CONTENT_PIECE:
            return self.send(sink, view_of(data, start, stop))
        if data:
            sink.write(data if stop is None else data[start:stop])
        sink.end()
        return None

    def send(self, sink: ContentSink, part: bytes | memoryview) -> ContentReader:
        """Send this part of it piece by piece."""
        reader = MemoryReader(part, sink, self.readers)
        sink.produced_by(reader)
        reader.resume()
        return reader


class MemoryReader:
    """Sends content that lies in memory, or a view of it.

    What a sink has been given may wait in a transport's buffer, and a view keeps all of the content in memory. So the
    last bytes, more than a transport takes without saying that it is full, are a copy; and the reader has not left
    before the sink can take more after them: by then the buffer holds nothing else.
    """

    __slots__ = ("_readers", "_rest", "_sink")

    def __init__(self, part: bytes | memoryview, sink: ContentSink, readers: ContentReaders | None = None) -> None:
        self._rest = memoryview(part)
        self._sink: ContentSink | None = sink
        self._readers = readers
        if readers is not None:
            readers.add(self)

    def pause(self) -> None:
        """Do nothing: `resume` looks at the sink."""

    def resume(self) -> None:
        """Write as much as the sink takes."""
        sink = self._sink
        while sink is not None and not sink.paused:
            rest = self._rest
            if not rest:
                self.leave()
                sink.end()
                return
            if len(rest) > _COPIED:
                size = min(sink.piece, len(rest) - _COPIED)
                self._rest = rest[size:]
                sink.write(rest[:size])
            else:
                self._rest = _NOTHING
                sink.write(bytes(rest))
            sink = self._sink

    def leave(self) -> None:
        """Send no more of it, and refer to it no longer."""
        self._sink = None
        self._rest = _NOTHING
        readers, self._readers = self._readers, None
        if readers is not None:
            readers.remove(self)

    def break_off(self) -> None:
        """Send no more of it, and let the client know."""
        sink = self._sink
        self.leave()
        if sink is not None:
            sink.abort()


_COPIED: Final = 64 * 1024
"""What a transport holds before it says that it is full: asyncio's default, and uvloop's."""
_NOTHING: Final = memoryview(b"")
NO_CONTENT: Final = MemoryContent(b"")
