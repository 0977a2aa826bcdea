"""uvicorn's HTTP/1.1 protocol with what it lacks: the exact target, refusals, a limit of connections, and deadlines.

What llhttp cannot read is refused in the words of the native server, and behind the answers to the requests before it.
uvicorn has no deadline for a request that never comes to its end, no limit of a head's size, and counts requests where
connections matter. What is still missing, a least rate and a deadline for taking an answer, is why it listens on
public addresses only with `--allow-public`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from springhouse.frontends.asgi.bridge import ASGIReceive, ASGIScope, ASGISend
from springhouse.frontends.asgi.proxy import TARGET_EXTENSION
from springhouse.hangups import end_of
from springhouse.settings import Settings
from springhouse.wire.admission import BAD_SYNTAX, Refusal, unknown_method
from springhouse.wire.targets import unknown_method_in

_CLOSE = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\n" + _CLOSE
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSE
_HEAD_SLACK = 64 * 1024
"""How much larger than allowed a head may grow before it is broken off; up to there it is answered with 414 or 431."""
_TICK_S = 0.05
_LOOK_S = 1.0

_Refuse = Callable[[str, Refusal, ASGISend], Awaitable[None]]


class UvicornProtocol(HttpToolsProtocol):
    """A client's connection. `refuse` answers a request of some method that is not taken."""

    def __init__(self, *, settings: Settings, refuse: _Refuse, **how: Any) -> None:
        super().__init__(**how)
        self.parser.set_dangerous_leniencies(lenient_version=True)  # `on_headers_complete` looks at it
        self._settings = settings
        self._head_max = settings.max_header + settings.max_target + _HEAD_SLACK
        self._head_size = 0
        self._is_in_head = False
        self._ends_at = inf
        self._timer: asyncio.TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        self._refuse = refuse
        self._is_refused = False
        self._unread = b""
        """What may contain the method of a request that is being read for the first time."""

    # The connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or turn it away when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self.connections.discard(self)  # while it counts, uvicorn answers 503 to all
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._allow(self._settings.idle_timeout)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and end the request that is being answered, whatever came behind it."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Read on, unless something that cannot be read has come."""
        if self._is_refused:
            return
        self._unread = b"" if self._is_in_head else data
        super().data_received(data)
        self._unread = b""

    def send_400_response(self, msg: str) -> None:
        """Refuse what uvicorn could not read; in the middle of a request's content, as uvicorn does."""
        cycle = self.cycle
        if not self._is_idle and cycle.more_body:
            super().send_400_response(msg)
            return
        self._is_refused = True
        self._ends_at = inf
        refusal = _refusal_of(sys.exc_info()[1], self._unread)

        async def answer(_scope: ASGIScope, _receive: ASGIReceive, send: ASGISend) -> None:
            await self._refuse("GET", refusal, send)

        self._answer_last(answer)

    def _answer_last(self, app: Any) -> None:
        """Let an application give the last answer of this connection, behind those that are still to be given."""
        is_idle = self._is_idle
        self.cycle = RequestResponseCycle(
            scope={"method": "GET"},  # type: ignore[typeddict-item]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        if is_idle:
            self._start_asgi_task(self.cycle, app)
        else:
            self.pipeline.appendleft((self.cycle, app))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        super().on_message_begin()
        self._head_size, self._is_in_head = 0, True
        self._allow(self._settings.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Count it."""
        super().on_url(url)
        self._count(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it."""
        super().on_header(name, value)
        self._count(name, value)

    def on_headers_complete(self) -> None:
        """Leave the target as it stood in the request line where `frontends.asgi` looks for it; wait for content.

        What is raised makes uvicorn answer 400.
        """
        if not self.parser.get_http_version().startswith("1."):
            raise ValueError("Only HTTP/1 is spoken here")
        self._is_in_head = False
        self._allow(self._settings.body_timeout)
        self.scope["extensions"] = {TARGET_EXTENSION: self.url}  # type: ignore[dict-item]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Wait for more."""
        self._allow(self._settings.body_timeout)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing: the answer is ours to give."""
        self._ends_at = inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for another request, unless one is still arriving or being answered."""
        super().on_response_complete()
        if self._ends_at == inf and self._is_idle:
            self._allow(self._settings.idle_timeout)

    # Limits.

    def _count(self, *parts: bytes) -> None:
        self._head_size += sum(map(len, parts))
        if self._head_size > self._head_max:
            self.transport.abort()

    def _allow(self, seconds: float) -> None:
        """Give the client so many seconds from now; 0 for no limit."""
        self._ends_at = self.loop.time() + seconds if seconds else inf

    def _look(self) -> None:
        """Break the connection off if its time is over; look again when that may be."""
        now = self.loop.time()
        if self.flow.read_paused:
            self._allow(self._settings.body_timeout)  # it is not the client that is slow
            if end_of(self.transport.get_extra_info("socket")) is not None:
                self.transport.abort()  # as if its end had been read
                return
        if now >= self._ends_at:
            self._end()
            return
        self._timer = self.loop.call_later(min(max(self._ends_at - now, _TICK_S), _LOOK_S), self._look)

    def _end(self) -> None:
        if not self._is_idle:  # an answer is on its way, or the application waits for content
            self.transport.abort()
            return
        if self._is_in_head:
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete


def _refusal_of(error: BaseException | None, data: bytes) -> Refusal:
    """Return why what stands in the data is not taken, in the native server's words."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return unknown_method(unknown_method_in(data))
    if isinstance(error, httptools.HttpParserCallbackError):
        return Refusal(400, BAD_SYNTAX)
    return Refusal(400, f"{BAD_SYNTAX}: {error}")
