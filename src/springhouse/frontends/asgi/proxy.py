"""The engine as an ASGI application: it streams both ways, and holds back whoever is faster.

The target is the bytes the client sent (`raw_path`), never a decoded path; under a mount, the mount's prefix is taken
off. ASGI has no interim responses and no other protocols: 1xx are dropped, upgrades not offered. Content that breaks
off raises after the head was sent, which is how an ASGI server learns that it must not look whole.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from springhouse.engine.driver import refuse
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import Reply
from springhouse.frontends.front import Front
from springhouse.frontends.intake import BrokenOff, admit_parsed, without_prefix
from springhouse.frontends.logged import Logged
from springhouse.http.fields import Field
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import Request, Response, may_have_content
from springhouse.observe.accesslog import AccessLog
from springhouse.transport.content import Pausable, RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.upstream.pool import Pool
from springhouse.wire.admission import Head, Refusal, host_apart

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

TARGET_EXTENSION = "springhouse.target"
"""Where a server that knows us leaves the request target as it stood in the request line."""
PENDING_MAX = 256 * 1024
JOINED_MAX = 1024
_FULL = bytes(JOINED_MAX)
bound("pending", 2 * (PENDING_MAX + READ_BYTES), "content that the server takes later", per="request of an ASGI server")


class SpringhouseASGI:
    """The ASGI application of an engine. Close it, or let a lifespan do so, when it is no longer needed."""

    def __init__(self, engine: Engine, front: Front) -> None:
        self.engine = engine
        self.front = front
        self._log: AccessLog | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            await self.serve(scope, target_of(scope), receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    def close(self) -> None:
        """Release store, log and the connections to the origin. A request that still comes opens them again."""
        self._leave()
        self.engine.close()

    async def aclose(self) -> None:
        """Do as `close`, and return when the store has written what it had to write."""
        self._leave()
        await self.engine.aclose()

    def _leave(self) -> None:
        self._loop = None
        log, self._log = self._log, None
        if log is not None:
            log.close()

    async def serve(self, scope: Scope, target: bytes, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.enter_loop()
        request = self.admit(scope, target)
        if isinstance(request, Refusal):
            await self.refuse(scope["method"], request, send)
        else:
            await self.answer(request, receive, send)

    async def answer(self, request: Request, receive: Receive, send: Send) -> None:
        """Let the engine answer a request through the two ends of an ASGI connection."""
        sink = AsgiSink(request.method, self.engine.outbox)
        source = ContentSource(request, self.front.limits.content)
        exchange = self.engine.handle(request, source.content, self._logged(sink, request))
        if sink.is_complete and source.content is None:
            await sink.drain(send)
            return
        listening = asyncio.ensure_future(source.listen(receive, exchange, sink))
        try:
            await sink.drain(send)
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            if source.content is not None:
                source.content.detach()
            if not sink.is_complete:
                exchange.cancel()

    def _logged(self, sink: "AsgiSink", request: Request | None) -> Sink:
        return sink if self._log is None else Logged(sink, self._log, self.engine.clock, request)

    async def refuse(self, method: str, refusal: Refusal, send: Send) -> None:
        """Answer a request that is not taken."""
        sink = AsgiSink(method.encode("latin-1"), self.engine.outbox)
        refuse(self._logged(sink, None), refusal.status, refusal.detail)
        await sink.drain(send)

    def admit(self, scope: Scope, target: bytes) -> Request | Refusal:
        """Return the request of a scope, or why it is not taken."""
        client, server = scope.get("client"), scope.get("server")
        if server and isinstance(server[1], int):
            self.engine.reached_at(server[1])
        fields, bits, host = host_apart(scope["headers"])
        head = Head(
            method=scope["method"].encode("latin-1"),
            target=target,
            version=scope.get("http_version", "1.1"),
            fields=fields,
            bits=bits,
            host=host,
            peer=client[0] if client else "",
            scheme=scope.get("scheme", "http").encode("latin-1"),
        )
        return admit_parsed(head, self.front.limits, self.front.names_of_ours)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.enter_loop()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    def enter_loop(self) -> None:
        """Notice a new event loop: test clients run one per request, and connections do not outlive theirs."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            self.engine.store.close()
        if isinstance(self.engine.upstream, Pool):
            self.engine.upstream.leave_loop()
        self.engine.outbox.leave_loop()
        self._loop = loop
        self.engine.open()
        self._log = self._log or self.front.open_log()


class ContentSource:
    """Feeds a request's content to the engine, and notices that the client has gone."""

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

    async def listen(self, receive: Receive, exchange: Answering, sink: "AsgiSink") -> None:
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


class AsgiSink:
    """Queues a reply for an ASGI `send`; see `engine.sinks.Sink`."""

    piece = PENDING_MAX

    def __init__(self, method: bytes, outbox: Outbox) -> None:
        self._outbox = outbox
        self.paused = False
        self.is_complete = False
        self._method = method
        self._messages: list[Message] = []
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
        self._messages.append({"type": "http.response.start", "status": reply.status, "headers": head_fields(reply)})

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
        """Note that the client has gone: nothing more is sent."""
        self._messages.clear()
        self.is_complete = True
        self._wake()

    def too_large(self, limit: int) -> None:
        """Refuse content that grew beyond the limit; break off when the reply has begun."""
        if self._is_started:
            self.abort()
        else:
            refuse(self, 413, f"The content is larger than {limit} bytes")

    async def drain(self, send: Send) -> None:
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


def head_fields(reply: Reply) -> list[Field]:
    """Return a reply's fields as ASGI wants them: lower-case, with Content-Length where the length is known."""
    fields = [(name.lower(), value) for name, value in reply.all_fields]
    if reply.length is not None and reply.status not in (204, 304):
        fields.append((b"content-length", b"%d" % reply.length))
    return fields


def target_of(scope: Scope, *, keeps_prefix: bool = False) -> bytes:
    """Return the target of a request as the client sent it, without the prefix this application is mounted under."""
    exact = (scope.get("extensions") or {}).get(TARGET_EXTENSION)
    root = "" if keeps_prefix else scope.get("root_path", "")
    if isinstance(exact, bytes) and not root:
        return exact
    raw = scope.get("raw_path")
    if not raw:
        raw = quote(scope["path"], safe="/:@!$&'()*+,;=-._~").encode("ascii")
    raw = bytes(raw).partition(b"?")[0]  # some servers leave the query here, too
    path = without_prefix(raw, root.encode("utf-8"))
    query = exact.partition(b"?")[1:] if isinstance(exact, bytes) else (b"?", scope.get("query_string", b""))
    return path + b"".join(query) if query[1] or isinstance(exact, bytes) else path
