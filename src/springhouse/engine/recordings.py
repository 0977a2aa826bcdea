"""Content that is arriving and being kept, and those who read it meanwhile.

A recording is an entry's `content` until it is whole. Readers join at any time and start at byte 0; each goes at its
client's pace, none holds another up. While it is kept nothing is dropped and the origin is not held back: what may
arrive is bounded by the size an object may have. When it grows beyond that it is kept no longer: new readers cannot
join, what all have read is dropped, and the origin waits for the slowest.
"""

from springhouse.engine.sinks import Sink
from springhouse.upstream.content import Pausable

WINDOW = 256 * 1024


class Reader:
    """Pumps a recording into a sink: the bytes from `start` up to `stop` (None: all there will be)."""

    __slots__ = ("at", "is_over", "left", "recording", "sink", "skip")

    def __init__(self, recording: "Recording", sink: Sink, start: int, stop: int | None) -> None:
        self.recording = recording
        self.sink = sink
        self.at = 0
        """Number of the chunk to send next."""
        self.skip = start
        self.left = None if stop is None else stop - start
        self.is_over = False
        """It has ended, broken off or left. The sink may still ask for more, and others may still pump it."""

    def pump(self) -> None:
        """Send what has arrived, as far as the sink takes it."""
        recording, sink = self.recording, self.sink
        while (
            self.at < recording.dropped + len(recording.chunks)
            and not sink.paused
            and self.left != 0
            and not self.is_over
        ):
            self.at += 1
            self._send(recording.chunks[self.at - 1 - recording.dropped])
        if self.is_over:
            return
        if self.left == 0 or (recording.is_complete and self.at == recording.dropped + len(recording.chunks)):
            recording.leave(self)
            sink.end()

    def _send(self, data: bytes) -> None:
        if self.skip or self.left is not None:
            stop = len(data) if self.left is None else self.skip + self.left
            part = data[self.skip : stop]
            self.skip = max(0, self.skip - len(data))
            if self.left is not None:
                self.left -= len(part)
            data = part
        if data:
            self.sink.write(data)

    def pause(self) -> None:
        """Nothing to do: `pump` looks at the sink."""

    def leave(self) -> None:
        """Want no more of it."""
        self.recording.leave(self)
        self.recording.settle()

    def resume(self) -> None:
        """Go on after the sink was full."""
        if self.is_over:
            return
        self.pump()
        self.sink.flush()
        self.recording.settle()


class _Nobody:
    """Stands where the origin stood, once it has nothing more to send."""

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


_NOBODY = _Nobody()


class Recording:
    """Chunks of content with their readers. `origin` is held back when it is not kept and a reader lags."""

    __slots__ = (
        "chunks", "dropped", "is_broken", "is_complete", "is_held_back", "is_kept", "origin", "readers", "size",
    )  # fmt: skip

    def __init__(self, origin: Pausable) -> None:
        self.origin = origin
        self.chunks: list[bytes] = []
        self.dropped = 0
        """Number of chunks that are gone."""
        self.size = 0
        """Bytes that have arrived."""
        self.is_kept = True
        self.is_complete = False
        self.is_broken = False
        self.is_held_back = False
        self.readers: list[Reader] = []

    def join(self, sink: Sink, start: int = 0, stop: int | None = None) -> Reader:
        """Send the bytes from `start` up to `stop` to the sink, as they arrive.

        Whoever found the entry in time, but joins when its beginning is gone or it broke off, is broken off as well.
        """
        reader = Reader(self, sink, start, stop)
        if self.dropped or self.is_broken:
            reader.is_over = True
            sink.abort()
            return reader
        self.readers.append(reader)
        sink.produced_by(reader)
        reader.pump()
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        reader.is_over = True
        if reader in self.readers:
            self.readers.remove(reader)

    def feed(self, data: bytes) -> None:
        """Take a chunk from the origin."""
        self.chunks.append(data)
        self.size += len(data)
        for reader in tuple(self.readers):
            reader.pump()
        if not self.is_kept:
            self.settle()

    def flush(self) -> None:
        """Let readers' clients have what has arrived."""
        for reader in tuple(self.readers):
            reader.sink.flush()

    def finish(self) -> None:
        """Note that the content is whole."""
        self.is_complete = True
        self.origin = _NOBODY  # it refers back to here
        for reader in tuple(self.readers):
            reader.pump()

    def fail(self) -> None:
        """Break off for all readers: the content will never be whole."""
        self.origin = _NOBODY
        self.is_broken = True
        readers, self.readers = self.readers, []
        for reader in readers:
            if not reader.is_over:
                reader.is_over = True
                reader.sink.abort()

    def keep_no_longer(self) -> None:
        """Pass on from here, without keeping."""
        self.is_kept = False
        self.settle()

    def settle(self) -> None:
        """Drop what all readers have sent, and hold the origin back or let it go on."""
        if self.is_kept:
            return
        ends = self.dropped + len(self.chunks)
        slowest = min((reader.at for reader in self.readers), default=ends)
        del self.chunks[: slowest - self.dropped]
        self.dropped = slowest
        lagging = sum(map(len, self.chunks)) > WINDOW
        if lagging != self.is_held_back:
            self.is_held_back = lagging
            if lagging:
                self.origin.pause()
            else:
                self.origin.resume()
