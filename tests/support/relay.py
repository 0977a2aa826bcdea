"""A relay before a server on this machine, on which a test may cut, hold, delay and swallow what goes through."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

PIECE = 2**16


class Relay:
    """Relays TCP connections to a port, in the running loop. To be entered before what uses it."""

    def __init__(self, port: int) -> None:
        self.port = 0
        """Where it listens itself, on the loopback address."""
        self.delays: dict[bytes, float] = {}
        """Requests with these bytes in them are passed on so many seconds later."""
        self.swallowed: set[bytes] = set()
        """After a request with any of these in it, nothing that is answered on its connection is passed on."""
        self._to = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._relaying: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    @property
    def url(self) -> str:
        """The URL of a Redis behind it."""
        return f"redis://127.0.0.1:{self.port}"

    async def cut(self) -> None:
        """Break off all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        relaying = tuple(self._relaying)
        for task in relaying:
            task.cancel()
        await asyncio.gather(*relaying, return_exceptions=True)

    async def mend(self) -> None:
        """Take connections, at first or again."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def hold(self) -> None:
        """Keep all connections, and pass nothing on."""
        self._flows.clear()

    def release(self) -> None:
        """Pass on again, what was held first."""
        self._flows.set()

    def _accepted(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._relaying.add(task)
        task.add_done_callback(self._relaying.discard)

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
            is_mute = asyncio.Event()
            ways = [
                asyncio.create_task(self._requests(reader, there_writer, is_mute)),
                asyncio.create_task(self._answers(there_reader, writer, is_mute)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                there_writer.close()
                writer.close()

    async def _requests(self, reader: StreamReader, writer: StreamWriter, is_mute: asyncio.Event) -> None:
        while data := await reader.read(PIECE):
            await self._flows.wait()
            for part, seconds in self.delays.items():
                if part in data:
                    await asyncio.sleep(seconds)
            if any(part in data for part in self.swallowed):
                is_mute.set()
            writer.write(data)

    async def _answers(self, reader: StreamReader, writer: StreamWriter, is_mute: asyncio.Event) -> None:
        while data := await reader.read(PIECE):
            await self._flows.wait()
            if not is_mute.is_set():
                writer.write(data)
