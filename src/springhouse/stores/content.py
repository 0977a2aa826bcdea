"""Content in a slow store, on its way to a client: a piece at a time, as fast as the client takes it."""

from collections.abc import Callable
from typing import Protocol

from springhouse.http.content import CONTENT_PIECE, ContentReader, ContentSink

Read = Callable[["bytes | None"], None]
"""Is given some content, None when it cannot be read."""


class StoredContent(Protocol):
    """Content too large to be held in memory: the `content` of an entry that a tier found."""

    __slots__ = ()

    length: int

    def read(self, start: int, size: int, done: Read) -> None:
        """Read from `start` at least one byte and at most `size`, as many as are at hand; proved by their digests.

        `start` is less than `length`. None means that the content cannot be had; its entry is then forgotten.
        """

    def __len__(self) -> int:
        return self.length

    @property
    def data(self) -> None:
        """It does not lie in memory."""
        return None

    def send_to(self, sink: ContentSink, start: int = 0, stop: int | None = None) -> ContentReader | None:
        """Send the bytes from `start` up to `stop`, None for all, one piece of it in memory."""
        reader = StoredReader(self, sink, start, self.length if stop is None else stop)
        sink.produced_by(reader)
        reader.resume()
        return reader


class StoredReader:
    """Sends the bytes from `start` up to `stop` of stored content."""

    __slots__ = ("_at", "_content", "_is_reading", "_sink", "_stop")

    def __init__(self, content: StoredContent, sink: ContentSink, start: int, stop: int) -> None:
        self._at = start
        self._content = content
        self._is_reading = False
        self._sink: ContentSink | None = sink
        self._stop = stop

    def pause(self) -> None:
        """Do nothing: the next piece is asked for when the sink can take it."""

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
        """Send no more of it."""
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
