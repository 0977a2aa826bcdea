"""Between a WSGI server's thread and the engine's: the sink of an exchange, and the source of its request's content."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from springhouse.engine.driver import refuse
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import Reply
from springhouse.frontends.broken_off import BrokenOff
from springhouse.frontends.options import FrontendOptions
from springhouse.frontends.pending import JOINED_MAX, PENDING_MAX
from springhouse.hangups import End, end_of
from springhouse.http.memo import READ_BYTES, bound
from springhouse.http.messages import REASON_PHRASES, Request, Response, may_have_content
from springhouse.rules.reasons import STREAM
from springhouse.transport.content import Pausable, RequestContent
from springhouse.wire.admission import Refusal

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]

bound("gathered", PENDING_MAX + 2 * READ_BYTES, "content that the server takes later", per="request of a WSGI server")
READ_SIZE = 16 * 1024
WAIT_S = 0.25
"""How often a waiting thread looks whether its client is still there."""
SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
"""Where servers leave the client's connection, which WSGI knows nothing of."""


class ThreadBridge:
    """Between a server's thread and the engine's: the sink of an exchange, and the source of its request's content.

    Methods of the sink and `pause`, `resume` run on the engine's thread; the others on the server's.
    """

    piece = PENDING_MAX

    def __init__(self, loop: asyncio.AbstractEventLoop, environ: Environ, options: FrontendOptions) -> None:
        self.paused = False
        self.reply: Reply | None = None
        self._loop = loop
        self._method = environ["REQUEST_METHOD"].encode("latin-1")
        self._input = environ.get("wsgi.input")
        self._content_max = options.limits.content
        self._half_close = options.half_close
        self._socket = next((environ[key] for key in SOCKET_KEYS if key in environ), None)
        self._ended_at: float | None = None
        """Since when the client is known to send no more, by time.monotonic."""
        self._sink: Sink = self
        self._changed = threading.Condition()
        self._chunks: list[bytes] = []
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

    def send_reply(self, start_response: StartResponse) -> Iterator[bytes]:
        """Send the head of the reply that has begun, and return its content."""
        assert self.reply is not None
        return self.send(start_response, self.status, wsgi_fields(self.reply))

    def send(self, start_response: StartResponse, status: str, head: list[tuple[str, str]]) -> Iterator[bytes]:
        """Send a head, and return the content."""
        return self._content_sent(start_response(status, head))

    def _content_sent(self, write: Callable[[bytes], object]) -> Iterator[bytes]:
        is_head_out = False
        try:
            while True:
                data, is_over = self._take_pending()
                if data:
                    yield data
                elif is_over and not self._is_broken:
                    return
                elif not is_head_out:
                    write(b"")  # the head need not wait for the content
                elif self._is_broken:
                    raise BrokenOff("The content broke off")
                else:
                    self._work()
                is_head_out = True
        finally:
            self.close()

    def _take_pending(self) -> tuple[bytes, bool]:
        """Return what waits to be sent, and whether nothing will follow it; let its sender go on."""
        with self._changed:
            data, self._chunks, self._pending = b"".join(self._chunks), [], 0
            is_over, was_paused = self._is_complete and not data, self.paused
            self.paused = False
        if was_paused and self._producer is not None:
            self._loop.call_soon_threadsafe(self._producer.resume)
        return data, is_over

    def close(self) -> None:
        """Let go of the exchange: the client has everything, or has gone."""
        self._loop.call_soon_threadsafe(self._leave)

    def _work(self) -> None:
        """Read some content if the engine takes it, else wait until something changes."""
        with self._changed:
            if self._may_read():
                self._may_feed = False
            else:
                if not (self._chunks or self._is_complete or self._changed.wait(WAIT_S)) and self._has_left():
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
        with self._changed:
            self._changed.notify()

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
        with self._changed:
            self._may_feed = True
            self._changed.notify()

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
        with self._changed:
            self.reply = reply
            self._changed.notify()

    def produced_by(self, producer: Pausable) -> None:
        self._producer = producer

    def write(self, data: bytes | memoryview) -> None:
        if data and self._has_content and not self._is_complete:
            with self._changed:
                if len(data) < JOINED_MAX and self._chunks and len(self._chunks[-1]) < JOINED_MAX:
                    self._chunks[-1] = b"".join((self._chunks[-1], data))  # many small ones would take far more
                else:
                    self._chunks.append(bytes(data))  # a view would keep all of the content, however little is left
                self._pending += len(data)
                self.paused = self._pending >= PENDING_MAX
                self._changed.notify()

    def flush(self) -> None:
        pass

    def end(self) -> None:
        with self._changed:
            self._is_complete = True
            self._changed.notify()

    def abort(self) -> None:
        with self._changed:
            self._is_complete = self._is_broken = True
            self._changed.notify()


def wsgi_fields(reply: Reply) -> list[tuple[str, str]]:
    """Return a reply's fields as WSGI wants them, with Content-Length where the length is known."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.all_fields]
    if reply.length is not None and reply.status not in (204, 304):
        fields.append(("Content-Length", str(reply.length)))
    return fields
