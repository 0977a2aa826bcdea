"""What all connections write during one turn of the event loop: gathered if it is small, shared out if it is large.

Each write wakes the process that reads it. If they go out one by one, between one request and the next, that process
falls asleep and is woken again each time, which costs more than the request itself; if they go out together, it stays
awake. What is gathered must be flushed before its transport is closed.

The system copies large content, some megabytes at once for each connection that has room for them. In one turn all
connections together write only so much of it. One with more waits for the next turn; others are served in between.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

_GATHERED_MAX = 64
_ASYNCIO: type = asyncio.Transport
"""The base of asyncio's own transports; uvloop's have another."""
TURN_MAX = 2 * 2**20
"""Bytes of large content that are enough for one turn."""
_UNCOUNTED_MAX = TURN_MAX // 8
"""Up to here it does not matter in which turn they were written."""


class Outbox:
    """The writes of one turn, in order."""

    __slots__ = ("_gathered", "_is_renewed", "_loop", "_waiting", "_written", "is_spent")

    def __init__(self) -> None:
        self._gathered: list[tuple[asyncio.Transport, bytes]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._written = 0
        """Bytes of large content, in this turn."""
        self.is_spent = False
        """Enough large content was written in this turn."""
        self._is_renewed = False
        """The next turn will begin to count anew."""
        self._waiting: deque[Callable[[], None]] = deque()

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write at the end of this turn."""
        if not self._gathered:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.flush)
        self._gathered.append((transport, data))
        if len(self._gathered) >= _GATHERED_MAX:
            self.flush()  # so that a transport can say in time that it takes no more

    def write_now(self, transport: asyncio.Transport, buffers: Sequence[bytes | memoryview]) -> bool:
        """Write what was gathered, then these: large buffers need no company.

        Return whether more should `await_turn`.
        """
        self.flush()
        try:
            if isinstance(transport, _ASYNCIO):
                # Not by asyncio's `writelines`: that pauses no protocol (CVE-2024-12254), watches descriptors that are
                # closed, and fails on a transport that is closing, in one release or another since Python 3.12.
                for each in buffers:
                    transport.write(each)
            else:  # uvloop's
                transport.writelines(buffers)
        except RuntimeError:
            pass  # see `flush`
        return self.is_enough(sum(map(len, buffers)))

    def is_enough(self, size: int) -> bool:
        """Count large content that was written; return whether that was enough for this turn."""
        self._written += size
        if self._written <= _UNCOUNTED_MAX:
            return False
        if not self._is_renewed:
            self._is_renewed = True
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._renew)
        self.is_spent = self._written >= TURN_MAX
        return self.is_spent

    def await_turn(self, go_on: Callable[[], None]) -> None:
        """Call back in a turn in which there is something left to be written."""
        self._waiting.append(go_on)

    def _renew(self) -> None:
        self._begin()
        while self._waiting and self._written < TURN_MAX:
            self._waiting.popleft()()

    def leave_loop(self) -> None:
        """Forget the event loop and what was to be written in it."""
        self._gathered.clear()
        self._waiting.clear()
        self._begin()
        self._loop = None

    def _begin(self) -> None:
        self._written = 0
        self._is_renewed = self.is_spent = False

    def flush(self) -> None:
        """Write everything now."""
        gathered, self._gathered = self._gathered, []
        for transport, data in gathered:
            try:
                transport.write(data)
            except RuntimeError:
                continue  # uvloop's, from a transport that broke in this turn; its connection_lost follows
