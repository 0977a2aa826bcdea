"""A scriptable origin on loopback: HTTP/1.1 with raw control over every byte it sends and when.

A target has handlers; the nth request for it gets the nth, and every further one the last. A handler is a coroutine
function that is given an Exchange. What it does not read of a request's content is not read at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from tests.support.loops import PATIENCE_S, LoopThread
from tests.support.messages import Seen, split_head

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

HEAD_MAX = 1 << 20


class Gate:
    """Something a handler waits for until the test opens it."""

    def __init__(self, thread: LoopThread) -> None:
        self._thread = thread
        self._event = asyncio.Event()

    def open(self) -> None:
        """Let everybody through, now and from now on."""
        self._thread.call(self._event.set)

    def open_here(self) -> None:
        """Open it from within a handler."""
        self._event.set()

    @property
    def is_open(self) -> bool:
        """Whether it is open."""
        return self._event.is_set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._event.wait()


class Exchange:
    """One request at the origin, and the means to answer it."""

    def __init__(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = seen
        self.sent = 0
        """Bytes the other side's machine has accepted."""
        self.body_is_read = not (seen.get("Content-Length", "0") != "0" or "Transfer-Encoding" in seen)
        self.is_closed = False
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, and wait until they have been accepted."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def body(self) -> bytes:
        """Read the rest of the request's content. EOFError when it breaks off; `request.body` has what came."""
        content = bytearray(self.request.body)
        try:
            async for part in self._parts(len(content)):
                content += part
        finally:
            self.request.body = bytes(content)
        self.body_is_read = True
        return self.request.body

    async def _parts(self, got: int) -> AsyncIterator[bytes]:
        if "Transfer-Encoding" in self.request:
            while (size := int(await self._line(), 16)) > 0:
                yield (await self._reader.readexactly(size + 2))[:-2]
            if await self._line() != b"\r\n":
                raise ValueError("trailers")
            return
        length = int(self.request.get("Content-Length") or 0)
        while got < length:
            part = await self._reader.read(min(1 << 16, length - got))
            if not part:
                raise EOFError
            got += len(part)
            yield part

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    async def read(self, size: int) -> bytes:
        """Read up to so many raw bytes, b"" at the end."""
        return await self._reader.read(size)

    async def read_until_end(self) -> bytes:
        """Read until the other side closes."""
        return await self._reader.read()

    def close(self) -> None:
        """Close the connection in an orderly way once the handler returns."""
        self.is_closed = True

    def cut(self) -> None:
        """End the connection now; over TLS without its closing alert, as somebody in between might."""
        self.is_closed = True
        self._writer.transport.abort()

    def reset(self) -> None:
        """Break the connection off with a reset, now."""
        self.is_closed = True
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


class Live:
    """A handler that sends what the test says, when it says so, until the other side closes."""

    def __init__(self, thread: LoopThread) -> None:
        self._thread = thread
        self._asked = threading.Event()
        self._exchange: Exchange

    async def __call__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._asked.set()
        await exchange.read_until_end()
        exchange.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are in answer to the latest request, once there is one."""
        assert self._asked.wait(PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            self._thread.run(self._exchange.send(data))


Handler = Callable[[Exchange], Awaitable[None]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _Protocol(asyncio.StreamReaderProtocol):
    """A stream whose transport is known from its first moment, so that it can be closed at any."""

    def __init__(
        self, reader: asyncio.StreamReader, serve: Serve, *, loop: asyncio.AbstractEventLoop,
        transports: set[asyncio.BaseTransport],
    ) -> None:  # fmt: skip
        super().__init__(reader, serve, loop=loop)
        self._known = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mine = transport
        self._known.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._known.discard(self._mine)
        super().connection_lost(error)


class Origin:
    """The origin. `requests` are all it has seen, in order; `connections` counts those it has accepted."""

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.most_at_once = 0
        """Requests that were being handled at the same time, at most."""
        self.failures: list[str] = []
        """What went wrong in handlers."""
        self.otherwise: Handler | None = None
        self._at_once = 0
        self._handlers: dict[str, list[Handler]] = {}
        self._news = threading.Condition()
        self._transports: set[asyncio.BaseTransport] = set()
        self._thread = LoopThread()
        self._server = self._thread.run(self._thread.loop.create_server(self._protocol, host, 0, ssl=tls, backlog=2048))
        self.port: int = self._server.sockets[0].getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{name}:{self.port}"
        self.authority = f"{name}:{self.port}"

    def __enter__(self) -> Origin:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def on(self, target: str, *handlers: Handler) -> None:
        """Answer requests for a target (with or without a query) by these handlers, the last one for ever."""
        self._handlers[target] = list(handlers)

    def live(self, target: str) -> Live:
        """Answer requests for a target by what the test says, when it says it."""
        made = Live(self._thread)
        self.on(target, made)
        return made

    def gate(self) -> Gate:
        """Return a gate that handlers can wait at."""
        return Gate(self._thread)

    def seen(self, target: str) -> list[Seen]:
        """Return the requests for a target."""
        return [request for request in self.requests if request.target == target]

    def count(self, target: str) -> int:
        """Return how many requests for a target there were."""
        return len(self.seen(target))

    @property
    def last(self) -> Seen:
        """The latest request."""
        return self.requests[-1]

    def await_requests(self, count: int, timeout: float = PATIENCE_S) -> None:
        """Wait until so many requests have come in all."""
        self.await_that(lambda: len(self.requests) >= count, timeout)

    def await_that(self, holds: Callable[[], bool], timeout: float = PATIENCE_S) -> None:
        """Wait until something holds that changes with requests, connections or what `Origin.noted` is called for."""
        with self._news:
            if not self._news.wait_for(holds, timeout):
                raise AssertionError(f"it never came to that; the origin saw {[r.target for r in self.requests]}")

    def noted(self) -> None:
        """Wake whoever waits in `await_that`."""
        with self._news:
            self._news.notify_all()

    def drop_connections(self) -> None:
        """Close all connections in an orderly way, idle ones above all."""

        def drop() -> None:
            for transport in list(self._transports):
                transport.close()

        self._thread.call(drop)
        self.await_that(lambda: self.open_connections == 0)

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        self._thread.run(self._stop_listening())

    def close(self) -> None:
        """End everything. What went wrong in a handler is raised here."""
        self.stop_listening()
        self._thread.run(self._abort())
        self._thread.close()
        failures = self.failures + self._thread.errors
        assert not failures, f"at the origin: {failures}"

    async def _stop_listening(self) -> None:
        for listening in self._server.sockets:
            self._thread.loop.remove_reader(listening.fileno())
        for _ in range(10):
            await asyncio.sleep(0)  # what is just being accepted would be lost, and its socket left open
        self._server.close()

    async def _abort(self) -> None:
        for transport in list(self._transports):
            transport.abort()  # type: ignore[attr-defined]

    def _protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader(limit=HEAD_MAX, loop=self._thread.loop)
        return _Protocol(reader, self._serve, loop=self._thread.loop, transports=self._transports)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        if writer.get_extra_info("sslcontext") is None:  # asyncio's TLS does not close after a pause at zero
            writer.transport.set_write_buffer_limits(high=0)
        self.noted()
        number = self.connections
        try:
            with contextlib.suppress(ConnectionError, EOFError):
                while await self._answer_one(reader, writer, number):
                    pass
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as error:
            self.failures.append(repr(error))
        finally:
            self.open_connections -= 1
            self.noted()
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        """Answer the next request of a connection; False when there is none or it is to be closed."""
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise ValueError(f"half a head: {error.partial!r}") from None
            return False
        start, fields = split_head(raw)
        method, target, version = start.decode("latin-1").split(" ")
        assert version == "HTTP/1.1"
        seen = Seen(method, target, fields, raw, number)
        exchange = Exchange(seen, reader, writer)
        handler = self._handler_of(target)
        self.requests.append(seen)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.noted()
        try:
            await handler(exchange)
        finally:
            self._at_once -= 1
        return exchange.body_is_read and not exchange.is_closed

    def _handler_of(self, target: str) -> Handler:
        handlers = self._handlers.get(target) or self._handlers.get(target.partition("?")[0])
        if not handlers:
            assert self.otherwise is not None, f"no handler for {target}"
            return self.otherwise
        return handlers.pop(0) if len(handlers) > 1 else handlers[0]
