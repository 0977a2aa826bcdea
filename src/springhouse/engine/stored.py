"""Stored content on its way to a client: a piece at a time, as fast as the client takes it.

Content that lies in memory is not copied for a client: what is written are views of it. So clients that do not read
hold no more than a piece each, whatever they have asked for.
"""

from springhouse.engine.sinks import CONTENT_PIECE, Sink
from springhouse.stores.tier import StoredContent


class MemoryReader:
    """Pumps content that lies in memory, or a view of it, into a sink."""

    __slots__ = ("_rest", "_sink")

    def __init__(self, content: bytes | memoryview, sink: Sink) -> None:
        self._rest = memoryview(content)
        self._sink: Sink | None = sink

    def pause(self) -> None:
        """Nothing to do: `resume` looks at the sink."""

    def resume(self) -> None:
        """Write as much as the sink takes."""
        sink = self._sink
        while sink is not None and not sink.paused:
            size = sink.piece
            piece, self._rest = self._rest[:size], self._rest[size:]
            sink.write(piece)
            if not self._rest:
                self._sink = None
                sink.end()
                return
            sink = self._sink

    def leave(self) -> None:
        """Want no more of it."""
        self._sink = None
        self._rest = _NOTHING


_NOTHING = memoryview(b"")


class StoredReader:
    """Pumps the bytes from `start` up to `stop` of content in a slow store into a sink, a piece of it in memory."""

    __slots__ = ("_at", "_content", "_is_reading", "_sink", "_stop")

    def __init__(self, content: StoredContent, sink: Sink, start: int, stop: int) -> None:
        self._content = content
        self._sink: Sink | None = sink
        self._at = start
        self._stop = stop
        self._is_reading = False

    def pause(self) -> None:
        """Nothing to do: the next piece is asked for when the sink can take it."""

    def resume(self) -> None:
        """Ask for the next piece, or finish."""
        sink = self._sink
        if sink is None or self._is_reading:
            return
        if self._at >= self._stop:
            self._sink = None
            sink.end()
        elif not sink.paused:
            self._is_reading = True
            self._content.read(self._at, min(CONTENT_PIECE, self._stop - self._at), self._read)

    def leave(self) -> None:
        """Want no more of it."""
        self._sink = None

    def _read(self, data: bytes | None) -> None:
        self._is_reading = False
        sink = self._sink
        if sink is None:
            return
        if not data:
            self._sink = None
            sink.abort()
            return
        self._at += len(data)
        sink.write(data)
        sink.flush()
        self.resume()
