"""The engine as an ASGI application: it streams both ways, and holds back the faster side.

The target is the bytes the client sent (`raw_path`), never a decoded path; under a mount, the mount's prefix is taken
off. ASGI has no interim responses and no other protocols: 1xx are dropped, upgrades not offered. Content that breaks
off raises after the head was sent, which is how an ASGI server learns that it must not look whole.
"""

import asyncio
import contextlib
from typing import Any

from springhouse.engine.driver import refuse
from springhouse.engine.engine import Engine
from springhouse.engine.sinks import Sink
from springhouse.frontends.admission import admit_parsed
from springhouse.frontends.asgi.bridge import ASGIContentSource, ASGIReceive, ASGIScope, ASGISend, ASGISink
from springhouse.frontends.logging_sink import LoggingSink
from springhouse.frontends.options import FrontendOptions, frontend_options
from springhouse.frontends.targets import encoded_path, without_prefix
from springhouse.http.messages import Request
from springhouse.observe.accesslog import AccessLog
from springhouse.service import engine_of
from springhouse.settings import Settings, load_settings
from springhouse.upstream.pool import Pool
from springhouse.wire.admission import Head, Refusal, host_apart

TARGET_EXTENSION = "springhouse.target"
"""Where our protocol for uvicorn leaves the request target as it stood in the request line."""


class SpringhouseASGI:
    """The ASGI application of an engine. Close it, or let a lifespan do so, when it is no longer needed."""

    def __init__(self, engine: Engine, options: FrontendOptions) -> None:
        self.engine = engine
        self.options = options
        self._log: AccessLog | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            await self.serve(scope, asgi_target(scope), receive, send)
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

    async def serve(self, scope: ASGIScope, target: bytes, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer one request."""
        self.enter_loop()
        request = self.admit(scope, target)
        if isinstance(request, Refusal):
            await self.refuse(scope["method"], request, send)
        else:
            await self.answer(request, receive, send)

    async def answer(self, request: Request, receive: ASGIReceive, send: ASGISend) -> None:
        """Let the engine answer a request through the two ends of an ASGI connection."""
        sink = ASGISink(request.method, self.engine.outbox)
        source = ASGIContentSource(request, self.options.limits.content)
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

    def _logged(self, sink: "ASGISink", request: Request | None) -> Sink:
        return sink if self._log is None else LoggingSink(sink, self._log, self.engine.clock, request)

    async def refuse(self, method: str, refusal: Refusal, send: ASGISend) -> None:
        """Answer a request that is not taken."""
        sink = ASGISink(method.encode("latin-1"), self.engine.outbox)
        refuse(self._logged(sink, None), refusal.status, refusal.detail)
        await sink.drain(send)

    def admit(self, scope: ASGIScope, target: bytes) -> Request | Refusal:
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
        return admit_parsed(head, self.options.limits, self.options.names_of_ours)

    async def _live(self, receive: ASGIReceive, send: ASGISend) -> None:
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
        """Begin anew on a new event loop: test clients run one per request, and connections do not outlive theirs."""
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
        self._log = self._log or self.options.open_log()


def create_asgi_app(settings: Settings | None = None, **options: Any) -> SpringhouseASGI:
    """Return an ASGI application that serves an origin through the cache; `options` are settings by name.

    Under a mount, the prefix is not part of the target. Where no lifespan events come, as in mounted applications, call
    `close` when the outer one ends. Raises BadSettings.
    """
    settings = settings if settings is not None else load_settings(options)
    return SpringhouseASGI(engine_of(settings), frontend_options(settings))


def asgi_target(scope: ASGIScope, *, keeps_prefix: bool = False) -> bytes:
    """Return the target of a request as the client sent it, without the prefix this application is mounted under."""
    exact = (scope.get("extensions") or {}).get(TARGET_EXTENSION)
    root = "" if keeps_prefix else scope.get("root_path", "")
    if isinstance(exact, bytes) and not root:
        return exact
    raw = scope.get("raw_path")
    if not raw:
        raw = encoded_path(scope["path"])
    raw = bytes(raw).partition(b"?")[0]  # some servers leave the query here, too
    path = without_prefix(raw, root.encode("utf-8"))
    query = exact.partition(b"?")[1:] if isinstance(exact, bytes) else (b"?", scope.get("query_string", b""))
    return path + b"".join(query) if query[1] or isinstance(exact, bytes) else path
