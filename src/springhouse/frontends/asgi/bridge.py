"""Between an ASGI server's task and the engine: the sink of an exchange, and the source of its request's content."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from springhouse.engine.driver import refuse
from springhouse.engine.ports import Answering
from springhouse.exchange.reply import Reply
from springhouse.frontends.broken_off import BrokenOff
from springhouse.frontends.pending import JOINED_MAX, PENDING_MAX
from springhouse.http.fields import Field
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import Request, Response, may_have_content
from springhouse.transport.content import Pausable, RequestContent
from springhouse.transport.outbox import Outbox

ASGIScope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
ASGIReceive = Callable[[], Awaitable[ASGIMessage]]
ASGISend = Callable[[ASGIMessage], Awaitable[None]]
ASGIApp = Callable[[ASGIScope, ASGIReceive, ASGISend], Awaitable[None]]

_FULL = bytes(JOINED_MAX)
bound("pending", 2 * (PENDING_MAX + READ_BYTES), "content that the server takes later", per="request of an ASGI server")


class ASGIContentSource:
    """Feeds a request's content to the engine, and cancels the exchange when the client disconnects."""

    def __init__(self, request: Request, content_max: int | None) -> None:
        self.content: RequestContent | None = None
        self._max = content_max
        self._may_read = asyncio.Event()
        self._may_read.set()
        if request.has_content:
            length = next((value for name, value in request.fields if name.lower() == b"content-length"), b"")
            self.content = RequestContent(self, int(length) if length.isdigit() else None)

    def pause(self) -> None:
        """Read no more for now."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read on."""
        self._may_read.set()

    async def listen(self, receive: ASGIReceive, exchange: Answering, sink: "ASGISink") -> None:
        """Take what the client sends until it disconnects; the caller cancels this when the reply is complete."""
        size = 0
        while True:
            await self._may_read.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                if not sink.is_complete:
                    exchange.cancel()
                    sink.leave()
                return
            content, data = self.content, message.get("body", b"")
            if content is None or content.ended:
                continue
            size += len(data)
            if self._max is not None and size > self._max:
                exchange.cancel()
                sink.too_large(self._max)
                return
            if data:
                content.feed(bytes(data))
            if not message.get("more_body", False):
                content.feed_end()


class ASGISink:
    """Queues a reply for an ASGI `send`; see `engine.sinks.Sink`."""

    piece = PENDING_MAX

    def __init__(self, method: bytes, outbox: Outbox) -> None:
        self._outbox = outbox
        self.paused = False
        self.is_complete = False
        self._method = method
        self._messages: list[ASGIMessage] = []
        self._pending = 0
        self._is_started = False
        self._is_broken = False
        self._has_content = False
        self._producer: Pausable | None = None
        self._waker: asyncio.Future[None] | None = None

    def interim(self, response: Response) -> None:
        """Drop it: ASGI has no way to send it."""

    def start(self, reply: Reply) -> None:
        self._is_started = True
        self._has_content = may_have_content(self._method, reply.status)
        self._messages.append({"type": "http.response.start", "status": reply.status, "headers": asgi_fields(reply)})

    def produced_by(self, producer: Pausable) -> None:
        self._producer = producer

    def write(self, data: bytes | memoryview) -> None:
        if data and self._has_content and not self.is_complete:
            last = self._messages[-1] if self._messages and len(data) < JOINED_MAX else {}
            if len(last.get("body", _FULL)) < JOINED_MAX:
                last["body"] += data  # many small messages would take far more than their content
            else:
                self._messages.append({"type": "http.response.body", "body": bytes(data), "more_body": True})
            self._pending += len(data)
            self.paused = self._pending >= PENDING_MAX
            self._wake()

    def flush(self) -> None:
        self._wake()

    def end(self) -> None:
        if self.is_complete:
            return
        self.is_complete = True
        last = self._messages[-1] if self._messages else None
        if last is not None and last["type"] == "http.response.body":
            last["more_body"] = False
        else:
            self._messages.append({"type": "http.response.body", "body": b"", "more_body": False})
        self._wake()

    def abort(self) -> None:
        self._is_broken = self.is_complete = True
        self._wake()

    def leave(self) -> None:
        """Send nothing more: the client has gone."""
        self._messages.clear()
        self.is_complete = True
        self._wake()

    def too_large(self, limit: int) -> None:
        """Refuse content that grew beyond the limit; break off when the reply has begun."""
        if self._is_started:
            self.abort()
        else:
            refuse(self, 413, f"The content is larger than {limit} bytes")

    async def drain(self, send: ASGISend) -> None:
        """Send everything until the reply is complete. Raises BrokenOff when it never will be."""
        while True:
            messages, self._messages, self._pending = self._messages, [], 0
            for message in messages:
                await send(message)
                if self._outbox.is_enough(len(message.get("body", b""))):
                    await self._turn()
            if self.paused:
                self.paused = False
                if self._producer is not None:
                    self._producer.resume()
            if self._messages:
                continue
            if self._is_broken:
                raise BrokenOff("The content broke off")
            if self.is_complete:
                return
            self._waker = asyncio.get_running_loop().create_future()
            await self._waker

    async def _turn(self) -> None:
        """Let others go first: a server whose client has room would take all at once."""
        turn = asyncio.get_running_loop().create_future()
        self._outbox.await_turn(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _wake(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)


def asgi_fields(reply: Reply) -> list[Field]:
    """Return a reply's fields as ASGI wants them: lower-case, with Content-Length where the length is known."""
    fields = [(name.lower(), value) for name, value in reply.all_fields]
    if reply.length is not None and reply.status not in (204, 304):
        fields.append((b"content-length", b"%d" % reply.length))
    return fields
