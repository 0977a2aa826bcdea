"""Content that lies in a slow store, on its way to a client: a piece at a time, as fast as the client takes it."""

from springhouse.engine.sinks import Sink
from springhouse.stores.tier import StoredContent

PIECE = 256 * 1024


class StoredReader:
    """Pumps the bytes from `start` up to `stop` of stored content into a sink. At most one piece is in memory."""

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
            self._content.read(self._at, min(PIECE, self._stop - self._at), self._read)

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
