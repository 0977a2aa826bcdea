"""Content that is arriving and being kept, and the clients that read it meanwhile.

A recording is an entry's `content` until that is complete. Readers join at any time and start at byte 0; each goes at
its client's pace, none holds another up. While the content is kept, the origin is not held back for any of them. It is
held in memory; or it is spooled: what has reached a slow store is dropped here, and read back from there for readers
that come late or are slow. Then the origin waits for that store, if it must.

When it grows beyond what can be kept, it is kept no longer: new readers cannot join, and what all have read is dropped.
The origin then waits for the fastest reader. The others may be as far behind it as there is room in memory for what
they have not read. When the first falls behind further, the origin waits for a moment, once, in which all may catch up,
so that a pause of one turn or a larger buffer of the kernel does not count as slow. From then on readers that fall
behind are broken off.

What is neither kept nor read ends. If it is kept but not read, its call is unattended. When large content
is complete, readers that are still behind go on where the store counts it.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from springhouse.http.content import ContentReader, ContentSink, MemoryContent
from springhouse.http.ranges import view_of
from springhouse.stores.tier import Arriving
from springhouse.transport.content import Pausable

WINDOW = 256 * 1024
"""Of what is not kept: bytes that the origin may be ahead of the fastest reader, and that any reader may be behind."""
CATCH_UP_S = 1.0
READ_BACK = 256 * 1024


class Feed(Pausable, Protocol):
    """Where a recording comes from: what may be held back, and left to itself."""

    def unattended(self) -> None:
        """Record that no client reads what comes."""

    def attended(self) -> None:
        """Record that a client reads it again."""

    def cancel(self) -> None:
        """Send no more."""


class Reader:
    """Pumps a recording into a sink: the bytes from `start` up to `stop` (None: all there will be)."""

    __slots__ = ("at", "is_over", "is_reading_back", "left", "offset", "recording", "sink", "skip", "successor")

    def __init__(self, recording: "Recording", sink: ContentSink, start: int, stop: int | None) -> None:
        self.recording = recording
        self.sink = sink
        self.at = 0
        """Number of the chunk to send next."""
        self.offset = 0
        """Where that chunk begins; or where to go on, if it is gone."""
        self.skip = start
        self.left = None if stop is None else stop - start
        self.is_reading_back = False
        self.is_over = False
        """It has ended, broken off or left. The sink may still ask for more, and others may still pump it."""
        self.successor: ContentReader | None = None
        """What has taken over, once the content is complete."""

    def pump(self) -> None:
        """Send what has arrived, as far as the sink takes it."""
        recording, sink = self.recording, self.sink
        while (
            self.at < recording.dropped + len(recording.chunks)
            and not sink.paused
            and self.left != 0
            and not self.is_over
        ):
            if self.at < recording.dropped:
                if self._has_caught_up():
                    continue
                return
            data = recording.chunks[self.at - recording.dropped]
            self.at += 1
            self.offset += len(data)
            self._send(data)
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

    def _has_caught_up(self) -> bool:
        """Return whether what comes next is in memory, and see to it that it can be if it is not: read what is gone."""
        recording = self.recording
        wanted = self.offset + self.skip
        if wanted >= recording.held_from:
            self.at, self.offset, self.skip = recording.dropped, recording.held_from, wanted - recording.held_from
            return True
        if not self.is_reading_back and recording.arriving is not None:
            size = min(READ_BACK, recording.held_from - wanted)
            self.is_reading_back = True
            recording.arriving.read(wanted, size if self.left is None else min(size, self.left), self._read_back)
        return False

    def _read_back(self, data: bytes | None) -> None:
        self.is_reading_back = False
        if self.is_over:
            return
        if not data:
            self.leave()
            self.sink.abort()
            return
        self.offset, self.skip = self.offset + self.skip + len(data), 0
        if self.left is not None:
            self.left -= len(data)
        self.sink.write(data)
        self.resume()

    def pause(self) -> None:
        """Nothing to do: `pump` looks at the sink."""

    def leave(self) -> None:
        """Want no more of it."""
        if self.successor is not None:
            self.successor.leave()
            return
        self.recording.leave(self)
        self.recording.settle()

    def read_on_in(self, content: MemoryContent) -> None:
        """Let the rest be read from content that is complete, where the store counts it."""
        self.is_over = True
        start = self.offset + self.skip
        stop = None if self.left is None else start + self.left
        self.successor = content.send(self.sink, view_of(content.data, start, stop))

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

    resume = unattended = attended = cancel = pause


_NOBODY = _Nobody()


def _no_more(_held: int) -> bool:
    return False


def _later(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class Recording:
    """Chunks of content with their readers. `origin` is held back when it is not kept and no reader keeps up."""

    __slots__ = (
        "arriving", "chunks", "dropped", "held_from", "is_broken", "is_complete", "is_held_back", "is_kept",
        "is_unread", "later", "may_catch_up", "may_hold", "origin", "read_on_in", "readers", "size",
    )  # fmt: skip

    def __init__(self, origin: Feed) -> None:
        self.origin: Feed = origin
        self.later = _later
        self.may_catch_up: bool | None = None
        """Whether the origin waits for readers that have fallen behind; None: none has yet."""
        self.may_hold: Callable[[int], bool] = _no_more
        """Counts this many bytes in memory, and returns whether there may be as many."""
        self.chunks: list[bytes] = []
        self.dropped = 0
        """Number of chunks that are gone."""
        self.held_from = 0
        """Where the first chunk begins that is not."""
        self.size = 0
        """Bytes that have arrived."""
        self.is_kept = True
        self.is_complete = False
        self.is_broken = False
        self.is_held_back = False
        self.is_unread = False
        """There are no readers, and its call is unattended."""
        self.readers: dict[Reader, None] = {}
        self.arriving: Arriving | None = None
        """Where what is gone can be read."""
        self.read_on_in: MemoryContent | None = None
        """The same content, complete and large: readers that are behind at the end go on there."""

    @property
    def data(self) -> None:
        """It is not complete."""
        return None

    def __len__(self) -> int:
        return self.size

    def send_to(self, sink: ContentSink, start: int = 0, stop: int | None = None) -> "Reader":
        """Send the bytes from `start` up to `stop` as they arrive; those that are here already at once."""
        reader = self.join(sink, start, stop)
        sink.flush()
        return reader

    def join(self, sink: ContentSink, start: int = 0, stop: int | None = None) -> Reader:
        """Send the bytes from `start` up to `stop` to the sink, as they arrive.

        Whoever found the entry in time, but joins when its beginning is gone or it broke off, is broken off as well.
        """
        reader = Reader(self, sink, start, stop)
        if self.is_broken or (self.dropped and self.arriving is None):
            reader.is_over = True
            sink.abort()
            return reader
        self.readers[reader] = None
        if self.is_unread:
            self.is_unread = False
            self.origin.attended()
        sink.produced_by(reader)
        reader.pump()
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        reader.is_over = True
        self.readers.pop(reader, None)
        if not self.readers:
            self._go_unread()

    def _go_unread(self) -> None:
        if not self.is_kept:
            self.origin.cancel()
            self._close()
        elif not self.is_unread:
            self.is_unread = True
            self.origin.unattended()

    def feed(self, data: bytes) -> None:
        """Take a chunk from the origin."""
        self.chunks.append(data)
        self.size += len(data)
        arriving = self.arriving
        if arriving is not None and self.is_kept:
            arriving.write(data)
        for reader in tuple(self.readers):
            reader.pump()
        if arriving is not None or not self.is_kept:
            self.settle()

    def spool(self, arriving: Arriving) -> None:
        """Let all of it go to a slow store as well."""
        self.arriving = arriving
        for chunk in self.chunks:
            arriving.write(chunk)

    def flush(self) -> None:
        """Let readers' clients have what has arrived, or go on unattended when there are none."""
        if not self.readers:
            self._go_unread()
        for reader in tuple(self.readers):
            reader.sink.flush()

    def finish(self) -> None:
        """Record that the content is whole."""
        self.is_complete = True
        self.origin = _NOBODY  # it refers back to here
        for reader in tuple(self.readers):
            reader.pump()
        if self.read_on_in is not None:
            readers, self.readers = self.readers, {}
            for reader in readers:
                reader.read_on_in(self.read_on_in)
            self.read_on_in = None  # or clients would keep what the store no longer counts
            self._close()
            return
        self.settle()
        if not self.readers:
            self._go_unread()

    def fail(self) -> None:
        """Break off for all readers: the content will never be whole."""
        self.is_broken = True
        self._abandon()
        self._close()
        readers, self.readers = self.readers, {}
        for reader in readers:
            self._break_off(reader)

    def _close(self) -> None:
        """Hold nothing, and count nothing, any more."""
        self._drop(len(self.chunks))
        self.count_no_longer()
        self.origin = _NOBODY

    def count_no_longer(self) -> None:
        """Leave it to the store to count what is in memory."""
        self.may_hold(0)
        self.may_hold = _no_more  # it refers back to here

    def _break_off(self, reader: Reader) -> None:
        if not reader.is_over:
            reader.is_over = True
            self.readers.pop(reader, None)
            reader.sink.abort()

    def keep_no_longer(self) -> None:
        """Pass on from here, without keeping."""
        self.is_kept = False
        self.settle()

    def settle(self) -> None:
        """Drop what need not be held, and hold the origin back or let it go on."""
        arriving = self.arriving
        if not self.is_kept:
            must_wait = self._let_go()
        elif arriving is not None:
            self._drop_what_reached(arriving.reached)
            must_wait = arriving.is_full
        else:
            return
        if must_wait != self.is_held_back:
            self.is_held_back = must_wait
            if must_wait:
                self.origin.pause()
            else:
                self.origin.resume()

    def _let_go(self) -> bool:
        """Drop what need not be held of what is not kept, and return whether even the fastest reader is behind.

        Where there is no room for what the slowest have not read, they go, so that they do not hold up the others.
        """
        fastest = max([reader.offset for reader in self.readers], default=self.size)
        self._drop_what_all_have()
        while self.size - self.held_from > WINDOW and not self.may_hold(self.size - self.held_from):
            slowest = min([reader.offset for reader in self.readers], default=self.size)
            if fastest - slowest <= WINDOW:
                break
            if self._waits_for_slow():
                return True
            for reader in [reader for reader in self.readers if reader.offset == slowest]:
                self._break_off(reader)
            self._drop_what_all_have()
        return self.size - fastest > WINDOW

    def _waits_for_slow(self) -> bool:
        if self.may_catch_up is None:
            self.may_catch_up = True
            self.later(CATCH_UP_S, self._wait_no_more)
        return self.may_catch_up

    def _wait_no_more(self) -> None:
        self.may_catch_up = False
        self.settle()

    def _drop_what_all_have(self) -> None:
        ends = self.dropped + len(self.chunks)
        slowest = min((reader.at for reader in self.readers), default=ends)
        if slowest >= self.dropped:
            self._abandon()
            self._drop(slowest - self.dropped)

    def _drop_what_reached(self, offset: int) -> None:
        count, end = 0, self.held_from
        for chunk in self.chunks:
            end += len(chunk)
            if end > offset:
                break
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        if count:
            self.held_from += sum(map(len, self.chunks[:count]))
            del self.chunks[:count]
            self.dropped += count
            self.may_hold(self.size - self.held_from)

    def _abandon(self) -> None:
        arriving, self.arriving = self.arriving, None
        if arriving is not None:
            arriving.abandon()
