"""Content on its way to a file of a disk store while it arrives, and what the writer does about it.

It is gathered into pieces, for each of which the writer is asked once. The file stays open until nothing refers to the
content any more: reading it goes on when its entry goes, or never comes.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import copy

from springhouse.http.content import NO_CONTENT
from springhouse.rules.entry import Entry
from springhouse.stores import digests
from springhouse.stores.content import Read, StoredContent
from springhouse.stores.disk.files import PartFile, Run
from springhouse.stores.disk.operations import Operation, Put, Then
from springhouse.stores.disk.parts import DiskParts
from springhouse.stores.tier import OnProgress

APPEND_BYTES = 256 * 1024


class Incoming(StoredContent):
    """See `tier.Arriving`. `submit`: has the writer do an operation; `run`: runs a function on a thread that may wait;
    `since`: the last purge that this process knows of; `backlog_max`: bytes that may wait to be written, by now."""

    __slots__ = (
        "_backlog_max",
        "_next",
        "_next_size",
        "_on_progress",
        "_parts",
        "_run",
        "_since",
        "_submit",
        "has_failed",
        "length",
        "part",
        "reached",
    )  # fmt: skip

    def __init__(
        self,
        parts: DiskParts,
        on_progress: OnProgress,
        *,
        submit: Callable[..., object],
        run: Run,
        since: Callable[[], int],
        backlog_max: Callable[[], int],
    ) -> None:
        self._parts = parts
        self._on_progress = on_progress
        self._submit = submit
        self._run = run
        self._since = since
        self._backlog_max = backlog_max
        self._next: list[bytes] = []
        self._next_size = 0
        self.length = 0
        self.reached = 0
        """Bytes in the file; the writer's thread counts."""
        self.part: PartFile | None = None
        self.has_failed = False

    @property
    def is_full(self) -> bool:
        """Return whether too much waits to be written."""
        return not self.has_failed and self.length - self.reached > self._backlog_max()

    @property
    def digests(self) -> bytes:
        """The digests of what was written; known once it is committed."""
        return b"" if self.part is None else self.part.digests()

    def write(self, data: bytes) -> None:
        """Take some content."""
        self.length += len(data)
        self._next.append(data)
        self._next_size += len(data)
        most = self._backlog_max()
        if self._next_size >= min(APPEND_BYTES, most):  # else a writer waiting for less would wait without end
            self._send(is_urgent=self.length - self.reached > most // 2)

    def _send(self, *, is_urgent: bool = False) -> None:
        if self._next:
            self._submit(Append(self, self._next, self._next_size, is_urgent=is_urgent))
            self._next, self._next_size = [], 0

    def commit(self, entry: Entry) -> None:
        """Store the entry, with what was written as its content."""
        self._send()
        stored = copy(entry)  # replies being sent still need the content it has
        stored.content, stored.length = NO_CONTENT, self.length
        self._submit(PutArrived(self, stored, self._since()), entry.key)

    def abandon(self) -> None:
        """Store nothing."""
        self.has_failed = True
        self._next, self._on_progress = [], _ignore
        self._submit(Abandon(self))

    def read(self, start: int, size: int, done: Read) -> None:
        """Read what is in the file, or will be when the writer has done what it was asked for until now."""

        def work() -> None:
            data = None
            with suppress(OSError):
                if self.part is not None:
                    data = self.part.read(start, min(size, digests.CHUNK)) or None
            self._parts.deliver(done, data)

        if start < self.reached:
            self._run(work)
        else:
            self._submit(Then(work))

    def report(self) -> None:
        """Report that more has reached the file, or that nothing will."""
        self._on_progress()

    def report_end(self) -> None:
        """Report that it is stored, or never will be; nothing is reported after that."""
        on_progress, self._on_progress = self._on_progress, _ignore  # it refers to this
        on_progress()


class Append(Operation):
    """Writes a piece of arriving content."""

    has_rows = False

    def __init__(self, incoming: Incoming, data: list[bytes], size: int, *, is_urgent: bool) -> None:
        self.incoming = incoming
        self.data = data
        self.size = size
        self.is_urgent = is_urgent

    def prepare(self, parts: DiskParts) -> None:
        incoming = self.incoming
        if incoming.has_failed:
            return
        try:
            if incoming.part is None:
                incoming.part = parts.bodies.create()
            for data in self.data:
                incoming.part.write(data)
            incoming.reached += self.size
        except OSError as error:
            incoming.has_failed = True
            parts.errors.report("write", f"a body cannot be written, it was not stored: {error}")
        parts.deliver(incoming.report)


class PutArrived(Put):
    """Stores an entry whose content has been written by Append."""

    def __init__(self, incoming: Incoming, entry: Entry, since: int) -> None:
        super().__init__(entry, since)
        self.incoming = incoming

    def _body(self, parts: DiskParts) -> bytes | None:
        self.part = self.incoming.part
        if self.part is None or self.incoming.has_failed:
            return b"" if self.incoming.length == 0 else None
        parts.bodies.finish(self.part)
        return self.part.digests()

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        super().settle(parts, done=done)
        parts.deliver(self.incoming.report_end)


class Abandon(Operation):
    """Removes what Append has written."""

    has_rows = False

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming

    def settle(self, parts: DiskParts, *, done: bool) -> None:
        if self.incoming.part is not None:
            parts.bodies.discard(self.incoming.part)


def _ignore() -> None:
    pass
