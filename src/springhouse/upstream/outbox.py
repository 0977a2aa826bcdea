"""Gathers what is written during one turn of the event loop, and writes it at its end.

Each write wakes its receiver. Written one by one, between the handling of one request and the next, the receiver
falls asleep and is woken again every time, which costs more than the request itself; written together, it stays awake.
What is gathered must be flushed before its transport is closed.
"""

import asyncio
from contextlib import suppress

GATHERED_MAX = 64


class Outbox:
    """The writes of one turn, in order."""

    __slots__ = ("_gathered", "_loop")

    def __init__(self) -> None:
        self._gathered: list[tuple[asyncio.Transport, bytes]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write at the end of this turn."""
        if not self._gathered:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.flush)
        self._gathered.append((transport, data))
        if len(self._gathered) >= GATHERED_MAX:
            self.flush()  # so that a transport can say in time that it takes no more

    def write_now(self, transport: asyncio.Transport, buffers: list[bytes]) -> None:
        """Write what was gathered, then these: large buffers need no company."""
        self.flush()
        with suppress(RuntimeError):  # see `flush`
            transport.writelines(buffers)

    def leave_loop(self) -> None:
        """Forget the event loop and what was to be written in it."""
        self._gathered.clear()
        self._loop = None

    def flush(self) -> None:
        """Write everything now."""
        gathered, self._gathered = self._gathered, []
        for transport, data in gathered:
            try:
                transport.write(data)
            except RuntimeError:
                continue  # uvloop's, from a transport that broke in this turn; its connection_lost follows
