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

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

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
        reader = MemoryReader(part, sink)
        sink.produced_by(reader)
        reader.resume()
        return reader


class MemoryReader:
    """Sends content that lies in memory, or a view of it."""

    __slots__ = ("_rest", "_sink")

    def __init__(self, part: bytes | memoryview, sink: ContentSink) -> None:
        self._rest = memoryview(part)
        self._sink: ContentSink | None = sink

    def pause(self) -> None:
        """Do nothing: `resume` looks at the sink."""

    def resume(self) -> None:
        """Write as much as the sink takes."""
        sink = self._sink
        while sink is not None and not sink.paused:
            size = sink.piece
            piece, self._rest = self._rest[:size], self._rest[size:]
            sink.write(piece)
            if not self._rest:
                self.leave()
                sink.end()
                return
            sink = self._sink

    def leave(self) -> None:
        """Send no more of it, and refer to it no longer."""
        self._sink = None
        self._rest = _NOTHING


_NOTHING: Final = memoryview(b"")
NO_CONTENT: Final = MemoryContent(b"")
