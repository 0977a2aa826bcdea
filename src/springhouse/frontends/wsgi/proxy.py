"""The engine as a WSGI application: the engine runs on an event loop in a thread of its own.

Each request keeps its server's thread, which first hands the content over and then takes the reply, in both
directions only as fast as the other side goes. The target is what the server calls RAW_URI or REQUEST_URI: PATH_INFO
is decoded, and `/a%2Fb` could not be told from `/a/b`.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from springhouse.engine.driver import refuse
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import Reply
from springhouse.frontends.front import CONTROL_S, Control, Front
from springhouse.frontends.intake import BrokenOff, admit_parsed, without_prefix
from springhouse.frontends.logged import Logged
from springhouse.hangups import End, end_of
from springhouse.http.fields import Field
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import REASON_PHRASES, Request, Response, may_have_content
from springhouse.observe.accesslog import AccessLog
from springhouse.rules.reasons import STREAM
from springhouse.service import new_event_loop
from springhouse.transport.content import Pausable, RequestContent
from springhouse.wire.admission import Head, Refusal, host_apart

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
T = TypeVar("T")
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

PENDING_MAX = 256 * 1024
JOINED_MAX = 1024
bound("gathered", PENDING_MAX + 2 * READ_BYTES, "content that the server takes later", per="request of a WSGI server")
READ_SIZE = 16 * 1024
_PORT_DIGITS = 5
WAIT_S = 0.25
"""How often a thread that waits looks whether its client is still there."""
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
"""Where servers leave the client's connection, which WSGI knows nothing of."""
FIELDS_KEY = "springhouse.fields"
"""Where a server that knows us leaves the fields as they were received; a WSGI environ merges some of them."""


class EngineThread:
    """An engine on an event loop in a thread of its own, started when first needed, once per process."""

    def __init__(self, make: Callable[[], Engine], front: Front) -> None:
        self._make = make
        self._front = front
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._beside: list[Control] = []
        self.log: AccessLog | None = None

    def running(self) -> tuple[asyncio.AbstractEventLoop, Engine]:
        """Return the loop and its engine, which must be used on the loop's thread only."""
        if self._loop is None or self._engine is None or self._pid != os.getpid():
            with self._lock:
                if self._loop is None or self._pid != os.getpid():
                    self._start()
        assert self._loop is not None
        assert self._engine is not None
        return self._loop, self._engine

    def call(self, function: Callable[[Engine], T]) -> T:
        """Call a function with the engine, on its thread, and return what it returns."""
        loop, engine = self.running()
        return _in_loop(loop, lambda: function(engine))

    def serve_beside(self, serve: Callable[[Engine], Coroutine[Any, Any, Control]]) -> None:
        """Let the engine take orders of another kind on its thread, until it is closed."""
        loop, engine = self.running()
        self._beside.append(asyncio.run_coroutine_threadsafe(serve(engine), loop).result())

    def close(self) -> None:
        """Release store, log and the connections to the origin, and stop the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
            engine, self._engine = self._engine, None
            log, self.log = self.log, None
            beside, self._beside = self._beside, []
        if loop is None or engine is None or self._pid != os.getpid():
            return
        for each in beside:
            asyncio.run_coroutine_threadsafe(each.stop(CONTROL_S), loop).result()
        asyncio.run_coroutine_threadsafe(engine.aclose(), loop).result()
        if log is not None:
            _in_loop(loop, log.close)
        loop.call_soon_threadsafe(loop.stop)

    def _start(self) -> None:
        """A process that was forked has the memory of the other, but not its thread: it starts afresh."""
        engine, loop = self._make(), new_event_loop()
        threading.Thread(target=loop.run_forever, name="springhouse", daemon=True).start()
        try:
            _in_loop(loop, engine.open)
            self.log = self._front.open_log()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        self._pid = os.getpid()
        self._loop, self._engine = loop, engine


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Call a function on the thread of a loop and return what it returns."""

    async def run() -> T:
        return function()

    return asyncio.run_coroutine_threadsafe(run(), loop).result()


class SpringhouseWSGI:
    """The WSGI application of an engine."""

    def __init__(self, make: Callable[[], Engine], front: Front) -> None:
        self.front = front
        self.thread = EngineThread(make, front)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """Answer one request."""
        bridge = self.answer(environ)
        assert bridge.reply is not None
        return bridge.send(start_response, bridge.status, head_of(bridge.reply))

    def refuse(self, environ: Environ, start_response: StartResponse, refusal: Refusal) -> Iterator[bytes]:
        """Answer a request that is not taken."""
        bridge = self.answer(environ, refusal)
        assert bridge.reply is not None
        return bridge.send(start_response, bridge.status, head_of(bridge.reply))

    def close(self) -> None:
        """Stop the engine."""
        self.thread.close()

    def answer(self, environ: Environ, request: Request | Refusal | None = None) -> "ThreadBridge":
        """Start an exchange and return once its reply has begun. `request`: other than the environ's own."""
        if request is None:
            request = self.admit(environ, target_of(environ))
        loop, engine = self.thread.running()
        port = environ.get("SERVER_PORT", "")
        if port.isdecimal() and len(port) <= _PORT_DIGITS:
            engine.reached_at(int(port))
        bridge = ThreadBridge(loop, environ, self.front)
        log = self.thread.log
        known = None if isinstance(request, Refusal) else request
        bridge.begin(engine, request, bridge if log is None else Logged(bridge, log, engine.clock, known))
        bridge.await_head()
        return bridge

    def admit(self, environ: Environ, target: bytes) -> Request | Refusal:
        """Return the request of an environ, or why it is not taken."""
        fields, bits, host = host_apart(fields_of(environ))
        head = Head(
            method=environ["REQUEST_METHOD"].encode("latin-1"),
            target=target,
            version=environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
            fields=fields,
            bits=bits,
            host=host,
            peer=environ.get("REMOTE_ADDR", ""),
            scheme=environ.get("wsgi.url_scheme", "http").encode("latin-1"),
        )
        request = admit_parsed(head, self.front.limits, self.front.names_of_ours)
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        if isinstance(request, Request) and is_chunked and not environ.get("wsgi.input_terminated"):
            return Refusal(411, "This server takes no content of unknown length")
        return request


class ThreadBridge:
    """Between a server's thread and the engine's: the sink of an exchange, and the source of its request's content.

    Methods of the sink and `pause`, `resume` run on the engine's thread; the others on the server's.
    """

    piece = PENDING_MAX

    def __init__(self, loop: asyncio.AbstractEventLoop, environ: Environ, front: Front) -> None:
        self.paused = False
        self.reply: Reply | None = None
        self._loop = loop
        self._method = environ["REQUEST_METHOD"].encode("latin-1")
        self._input = environ.get("wsgi.input")
        self._content_max = front.limits.content
        self._half_close = front.half_close
        self._socket = next((environ[key] for key in SOCKET_KEYS if key in environ), None)
        self._ended_at: float | None = None
        """Since when the client is known to send no more, by time.monotonic."""
        self._sink: Sink = self
        self._news = threading.Condition()
        self._chunks: list[bytes | memoryview] = []
        self._pending = 0
        self._is_complete = False
        self._is_broken = False
        self._has_content = False
        self._producer: Pausable | None = None
        self._exchange: Answering | None = None
        self._content: RequestContent | None = None
        self._left: int | None = 0
        """Bytes of the request's content still to be read; None when only its end will tell."""
        self._read = 0
        self._may_feed = True

    # The server's thread: content out, reply in.

    def begin(self, engine: Engine, request: Request | Refusal, sink: Sink) -> None:
        """Hand a request to the engine, with the sink that leads here."""
        self._sink = sink
        if isinstance(request, Refusal):
            self._loop.call_soon_threadsafe(refuse, sink, request.status, request.detail)
            return
        if request.has_content:
            length = next((value for name, value in request.fields if name.lower() == b"content-length"), None)
            self._left = int(length) if length is not None else None
            self._content = RequestContent(self, self._left)
        self._loop.call_soon_threadsafe(self._handle, engine, request)

    def await_head(self) -> None:
        """Hand content over until the reply has begun."""
        while self.reply is None:
            self._work()

    @property
    def status(self) -> str:
        """The status line of the reply that has begun."""
        reply = self.reply
        assert reply is not None
        return f"{reply.status} {(reply.phrase or REASON_PHRASES.get(reply.status, b'')).decode('latin-1')}"

    def send(self, start_response: StartResponse, status: str, head: list[tuple[str, str]]) -> Iterator[bytes]:
        """Send the head, and return the content."""
        return self._sent(start_response(status, head))

    def _sent(self, write: Callable[[bytes], object]) -> Iterator[bytes]:
        is_head_out = False
        try:
            while True:
                with self._news:
                    data, self._chunks, self._pending = b"".join(self._chunks), [], 0
                    is_over, was_paused = self._is_complete and not data, self.paused
                    self.paused = False
                if was_paused and self._producer is not None:
                    self._loop.call_soon_threadsafe(self._producer.resume)
                if data:
                    is_head_out = True
                    yield data
                    continue
                if self._is_broken or not is_over:
                    if not is_head_out:
                        write(b"")  # the head need not wait for the content
                        is_head_out = True
                    if self._is_broken:
                        raise BrokenOff("The content broke off")
                    self._work()
                else:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the exchange: the client has everything, or has gone."""
        self._loop.call_soon_threadsafe(self._leave)

    def _work(self) -> None:
        """Read some content if the engine takes it, else wait for news."""
        with self._news:
            if self._may_read():
                self._may_feed = False
            else:
                if not (self._chunks or self._is_complete or self._news.wait(WAIT_S)) and self._has_left():
                    self._socket = None  # once is enough
                    self._loop.call_soon_threadsafe(self._give_up, self.reply)
                return
        data = self._read_some()
        self._loop.call_soon_threadsafe(self._feed, data)

    def _has_whole_answer_to_come(self) -> bool:
        reply = self.reply
        return reply is not None and reply.reason is not STREAM

    def _has_left(self) -> bool:
        """Return whether the client counts as gone: see `server.deadlines`."""
        end = None if self._socket is None else end_of(self._socket)
        if end is not End.HALF or not self._half_close or self._has_whole_answer_to_come():
            return end is End.WHOLE
        now = time.monotonic()
        if self._ended_at is None:
            self._ended_at = now
        return now - self._ended_at >= self._half_close

    def _may_read(self) -> bool:
        return self._content is not None and self._left != 0 and self._may_feed and not self._content.is_paused

    def _read_some(self) -> bytes | None:
        """Return some content, b"" at its end, None when it broke off."""
        assert self._input is not None
        size = READ_SIZE if self._left is None else min(READ_SIZE, self._left)
        try:
            data: bytes = self._input.read(size)
        except Exception:
            self._left = 0
            return None
        self._read += len(data)
        if self._left is None:
            if not data:
                self._left = 0
            return data
        self._left -= len(data)
        if not data:
            self._left = 0
            return None
        return data

    # The engine's thread: the source of the request's content.

    def pause(self) -> None:
        """Nothing to do: the other thread looks."""

    def resume(self) -> None:
        with self._news:
            self._news.notify()

    def _handle(self, engine: Engine, request: Request) -> None:
        self._exchange = engine.handle(request, self._content, self._sink)

    def _feed(self, data: bytes | None) -> None:
        content = self._content
        if content is None:
            return
        is_too_large = self._content_max is not None and self._read > self._content_max
        if data is None or is_too_large:
            self._left = 0
            if self._exchange is not None and not self._is_complete:
                self._exchange.cancel()
            if self.reply is None:
                status = (413, f"The content is larger than {self._content_max} bytes")
                refuse(self._sink, *(status if is_too_large else (400, "The content broke off")))
            elif not self._is_complete:
                self._sink.abort()
            return
        if data:
            content.feed(data)
        if self._left == 0:
            content.feed_end()
        with self._news:
            self._may_feed = True
            self._news.notify()

    def _give_up(self, reply: Reply | None) -> None:
        if self._is_complete or self.reply is not reply:
            return  # it has just come
        if self._exchange is not None:
            self._exchange.cancel()
        if reply is None:
            refuse(self._sink, 408, "The client closed its side of the connection before it was answered")
        else:
            self._sink.abort()

    def _leave(self) -> None:
        if self._content is not None:
            self._content.detach()
        if self._exchange is not None and not self._is_complete:
            self._is_complete = True
            self._exchange.cancel()

    # The engine's thread: the sink.

    def interim(self, response: Response) -> None:
        """Drop it: WSGI has no way to send it."""

    def start(self, reply: Reply) -> None:
        self._has_content = may_have_content(self._method, reply.status)
        with self._news:
            self.reply = reply
            self._news.notify()

    def produced_by(self, producer: Pausable) -> None:
        self._producer = producer

    def write(self, data: bytes | memoryview) -> None:
        if data and self._has_content and not self._is_complete:
            with self._news:
                if len(data) < JOINED_MAX and self._chunks and len(self._chunks[-1]) < JOINED_MAX:
                    self._chunks[-1] = b"".join((self._chunks[-1], data))  # many small ones would take far more
                else:
                    self._chunks.append(data)
                self._pending += len(data)
                self.paused = self._pending >= PENDING_MAX
                self._news.notify()

    def flush(self) -> None:
        pass

    def end(self) -> None:
        with self._news:
            self._is_complete = True
            self._news.notify()

    def abort(self) -> None:
        with self._news:
            self._is_complete = self._is_broken = True
            self._news.notify()


def head_of(reply: Reply) -> list[tuple[str, str]]:
    """Return a reply's fields as WSGI wants them, with Content-Length where the length is known."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.all_fields]
    if reply.length is not None and reply.status not in (204, 304):
        fields.append(("Content-Length", str(reply.length)))
    return fields


def fields_of(environ: Environ) -> list[Field]:
    """Return the fields of an environ, as received if the server tells."""
    exact: list[Field] | None = environ.get(FIELDS_KEY)
    if exact is not None:
        return exact
    named = [(key[5:], value) for key, value in environ.items() if key.startswith("HTTP_")]
    named += [(key, environ[key]) for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)]
    return [(name.replace("_", "-").title().encode("latin-1"), value.encode("latin-1")) for name, value in named]


def target_of(environ: Environ, *, keeps_prefix: bool = False) -> bytes:
    """Return the target of a request as the client sent it, without the prefix the application is mounted under.

    Where the server does not tell, it is made of the decoded path, and some targets become one.
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    prefix = environ.get("SCRIPT_NAME", "").encode("latin-1")
    if not raw:
        path = (prefix if keeps_prefix else b"") + environ.get("PATH_INFO", "").encode("latin-1")
        query = environ.get("QUERY_STRING", "")
        return quote(path or b"/", safe="/:@!$&'()*+,;=-._~").encode() + (
            f"?{query}".encode("latin-1") if query else b""
        )
    target: bytes = raw.encode("latin-1")
    if keeps_prefix or not prefix:
        return target
    path, mark, query = target.partition(b"?")
    return without_prefix(path, prefix) + mark + query
