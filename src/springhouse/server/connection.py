"""One client's connection: requests in, replies out, in order.

Bytes are parsed as they come. The hit guard answers a plain hit at once; any other request becomes an exchange. While
one is being answered, further (pipelined) requests queue. Nothing here waits: every method is a callback of the loop,
of the parser or of the exchange. Time-outs are found by the server's sweep, which only compares.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, cast

from springhouse.engine.driver import refuse
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import HIT
from springhouse.http.content import CONTENT_PIECE, MemoryReader
from springhouse.http.fields import HOST, UPGRADE
from springhouse.http.memo import KIB, READ_BYTES, Memo, bound
from springhouse.http.messages import Request
from springhouse.observe.accesslog import AccessLog, Line
from springhouse.rules.reasons import FRESH, STREAM
from springhouse.server.limits import ServerLimits
from springhouse.server.reading import FOR_QUEUE, FOR_UNREAD, ContentSource, Pauses
from springhouse.server.upgrading import Upgrade
from springhouse.server.writer import ReplyWriter, reset
from springhouse.stores.memory.records import MemoryRecord
from springhouse.transport.content import RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.wire.admission import Refusal
from springhouse.wire.requests import FIELD_BYTES, HEAD, RequestReader

QUEUED_MAX: Final = 128 * KIB
"""Bytes of requests that wait; when there are more, nothing is parsed until they have had their turns."""
_PARSED_MAX: Final = 4 * KIB
"""More than this is parsed piece by piece, so that requests which have to wait can be stopped in time."""
_DRAIN_MAX: Final = 256 * KIB
REQUEST_BYTES: Final = 1024
"""What a request takes besides its fields."""
bound(
    "queue",
    QUEUED_MAX + HEAD.limit + _PARSED_MAX // 26 * REQUEST_BYTES,
    "requests that wait for the answers to those before them",
    per="client connection",
    grows_with=HEAD.grows_with,
)
bound("unread", READ_BYTES, "what has arrived behind a full queue", per="client connection")
_ONE_WRITE_MAX: Final = 16 * KIB
"""Up to here joining head and content is cheaper than handing two buffers on."""


Handle = Callable[[Request, RequestContent | None, Sink], Answering | None]
"""Answers a request to a sink; returns what is to be cancelled if the client leaves, None if that is nothing."""


class Serving(Protocol):
    """What a connection needs of its server."""

    limits: ServerLimits
    outbox: Outbox
    access_log: AccessLog | None
    clock: Callable[[], float]
    records: dict[bytes, MemoryRecord]
    is_behind: Callable[[], bool] | None
    key_prefixes: Memo[bytes, bytes]
    names_of_ours: frozenset[bytes]
    is_draining: bool
    hits: int
    handle: Handle

    def key_prefix(self, authority: bytes) -> bytes:
        """Return what the keys of requests with this authority begin with."""

    def opened(self, connection: "ClientConnection") -> None:
        """Count a connection."""

    def closed(self, connection: "ClientConnection") -> None:
        """Count a connection no more."""

    def linger(self, connection: "ClientConnection") -> None:
        """Close a connection after a moment in which its client can read the answer."""


Turn = tuple[Request | Refusal, RequestContent | None, bool]
"""A request, or why it is refused, waiting to be answered; its content; whether another request may follow."""


class ClientConnection(RequestReader, asyncio.Protocol):
    """A client's connection."""

    __slots__ = (
        "_content", "_content_of_answered", "_drained", "_is_ending", "_is_starting", "_pauses", "_queue", "_queued",
        "_unread", "_upgrade", "answering", "exchange", "has_ended", "is_busy", "peer", "server", "started_at",
        "transport", "was_active", "writer",
    )  # fmt: skip

    writer: ReplyWriter
    transport: asyncio.Transport
    _pauses: Pauses

    def __init__(self, server: Serving) -> None:
        super().__init__(server.limits.request)
        self.server = server
        self.peer = ""
        self.exchange: Answering | None = None
        self.answering: Request | Refusal | None = None
        self.started_at = 0.0
        self.is_busy = False
        """A request is being answered."""
        self.was_active = True
        """Bytes came, or an answer was completed, since the last sweep."""
        self._queue: deque[Turn] = deque()
        self._queued = 0
        """Bytes of what has come to the queue since it was empty."""
        self._unread = b""
        """What has arrived and is not parsed yet, because so much is waiting in the queue."""
        self._content: RequestContent | None = None
        """Of the request that is being received."""
        self._content_of_answered: RequestContent | None = None
        self._upgrade: Upgrade | None = None
        self._drained = 0
        self._is_ending = False
        """No further request is taken."""
        self.has_ended = False
        """The client has said that it sends no more."""
        self._is_starting = False

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.writer = ReplyWriter(self.transport, self.server.outbox, self)
        self._pauses = Pauses(self.transport)
        peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else ""
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        self.was_active = True
        if self._upgrade is not None:
            self._upgrade.take(data)
        elif len(data) > _PARSED_MAX and self._content is None:
            self._unread = data
            self._read_on()
        elif not self._is_ending:
            self.feed(data)
            while self.refusal is not None or self.upgrade_at is not None:
                data = self._stopped_parsing(data)
                if data and not self._is_ending:
                    self.feed(data)

    def _read_on(self) -> None:
        """Take what has arrived, until so many requests wait that the rest has to."""
        while (data := self._unread) and not self._pauses.reasons & FOR_QUEUE:
            size = _PARSED_MAX if self._content is None and self._upgrade is None else len(data)
            self._unread = data[size:]
            self.data_received(data[:size])

    def _go_on(self) -> None:
        """Take the rest, and read again when that is done."""
        pauses = self._pauses
        if pauses.reasons & FOR_QUEUE:
            pauses.reasons ^= FOR_QUEUE | FOR_UNREAD
            self._read_on()
            pauses.release(FOR_UNREAD)

    def eof_received(self) -> bool:
        """Answer what has arrived whole, then close; the sweep ends it if an answer is awaited for long."""
        if self._tunnel() is not None:
            return False
        self.has_ended = self.was_active = True
        if self._content is not None and not self._is_answered():
            self._stop_at(Refusal(400, "The request broke off"))
        self._is_ending = True
        if not self.is_busy and not self._queue:
            self.server.outbox.flush()  # the transport closes now
            return False
        if not self._queue:
            self.writer.keeps_alive = False
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.server.closed(self)
        self._queue.clear()
        self._unread = b""
        self._is_ending = True
        tunnel = self._tunnel()
        if tunnel is not None and not tunnel.ended:
            tunnel.feed_end()
        exchange, self.exchange = self.exchange, None
        if exchange is not None and self.is_busy:
            exchange.cancel()
        # These refer back to this object, which would hold the last head until the collector comes.
        del self.parser
        self.writer.leave()
        for content in (self._content, self._content_of_answered, tunnel):
            if content is not None:
                content.detach()
        self._content = self._content_of_answered = self._upgrade = None

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()
        self._take_turns()

    # RequestReader.

    def head_received(self) -> None:
        """Answer a plain hit at once; give anything else a turn."""
        server = self.server
        if self.is_busy or self._queue or self.writer.paused or self.is_large:
            return self._take_request()
        prefix = server.key_prefixes.get(self.host)
        if prefix is None:
            return self._take_request()
        record = server.records.get(prefix + self.target)
        if server.is_behind is not None and server.is_behind():
            return self._take_request()  # another process has purged: what is in memory here may be gone
        if record is None or record.prepared is None:
            return self._take_request()
        hit = record.prepared.answer(self.fields, self.bits, server.clock())
        if hit is None or not self._is_for_guard():
            return self._take_request()
        record.visited = True
        content = hit.content
        if len(content) <= _ONE_WRITE_MAX:
            server.outbox.write(self.transport, hit.head + content)
        elif len(content) <= CONTENT_PIECE:
            server.outbox.write_now(self.transport, [hit.head, content])
        else:
            self._answer_piecewise(hit.head, content)
        server.hits += 1
        if server.access_log is not None:
            self._log(b"GET", hit.status, len(content), HIT, FRESH.name, 0.0)
        return None

    def _answer_piecewise(self, head: bytes, content: bytes | memoryview) -> None:
        """Answer a plain hit that is too large to be handed to the transport at once."""
        self.is_busy = True
        writer = self.writer
        writer.start_ready(head)
        reader = MemoryReader(content, writer)
        writer.produced_by(reader)
        reader.resume()

    def _is_for_guard(self) -> bool:
        """Return whether method, version and size are what the hit guard takes for granted."""
        parser = self.parser
        return (
            parser.get_method() == b"GET"
            and parser.should_keep_alive()
            and self.is_http_1_1()
            and len(self.fields) <= self.limits.fields
        )

    def content_received(self, data: bytes) -> None:
        content = self._content
        if content is None:
            return
        content.feed(data)
        if content.is_unwanted:
            self._drained += len(data)
            if self._drained > _DRAIN_MAX:
                self._end_gently()

    def request_complete(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            content.feed_end()

    def is_ours(self, authority: bytes) -> bool:
        """Return whether an absolute-form target names this proxy: by a configured name or the address it came to."""
        if authority in self.server.names_of_ours:
            return True
        name = self.transport.get_extra_info("sockname")
        if not isinstance(name, tuple):
            return False
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return authority == f"{host}:{name[1]}".encode()

    # Turns.

    def _take_request(self) -> None:
        keeps_alive = self.parser.should_keep_alive()
        request = self.request(self.peer, b"http")
        if request is None:
            return  # why stands in `refusal`, and is seen to once all bytes are read
        prefixes = self.server.key_prefixes
        if self.host not in prefixes and request.bits & HOST:
            prefixes.learn(self.host, self.server.key_prefix(request.authority))
        if request.has_content:
            self._content = RequestContent(ContentSource(self._pauses), self.announced_length() or None)
            self._drained = 0
        if request.bits & UPGRADE:
            self._upgrade = Upgrade(self._pauses)
        if not (self.is_busy or self._queue or self._is_starting or self.writer.paused):
            self._answer(request, self._content, keeps_alive)
            return
        self._queue.append((request, self._content, keeps_alive))
        self._queued += REQUEST_BYTES + sum([FIELD_BYTES + len(name) + len(value) for name, value in request.fields])
        if self._queued > QUEUED_MAX:
            self._pauses.hold(FOR_QUEUE)
        self._take_turns()

    def _take_turns(self) -> None:
        """Start answering what is next, and go on while answers are complete at once."""
        if self._is_starting:
            return
        self._is_starting = True
        while self._queue and not self.is_busy and not self.writer.paused and not self.transport.is_closing():
            self._answer(*self._queue.popleft())
        self._is_starting = False
        if not self._queue:
            self._queued = 0
            if self._pauses.reasons & FOR_QUEUE:
                asyncio.get_running_loop().call_soon(self._go_on)  # this may be a callback of the parser

    def _answer(self, asked: Request | Refusal, content: RequestContent | None, keeps_alive: bool) -> None:
        self.is_busy = True
        self.answering = asked
        self._content_of_answered = content
        if self.server.access_log is not None:
            self.started_at = self.server.clock()
        if isinstance(asked, Refusal):
            self.writer.expect(b"GET", minor_version=1, keeps_alive=False)
            refuse(self.writer, asked.status, asked.detail)
            return
        if (self._is_ending or self.server.is_draining) and not self._queue:
            keeps_alive = False
        self.writer.expect(asked.method, minor_version=asked.minor_version, keeps_alive=keeps_alive)
        exchange = self.server.handle(asked, content, self.writer)
        if self.is_busy:
            self.exchange = exchange

    def replied(self, *, may_go_on: bool) -> None:
        """Take the end of an answer: take the next turn, or close."""
        asked, content = self.answering, self._content_of_answered
        self.exchange = None
        self.is_busy = False
        self.was_active = True
        server = self.server
        reply = self.writer.reply
        if server.access_log is not None and reply is not None:
            method = asked.method if isinstance(asked, Request) else b"-"
            reason = reply.reason.name if reply.reason is not None else ""
            seconds = server.clock() - self.started_at
            self._log(method, reply.status, self.writer.sent, reply.x_cache, reason, seconds)
        self.answering = self._content_of_answered = None
        if content is not None:
            content.detach()
        if not may_go_on:
            self._end_gently()
        elif self._queue:
            self._take_turns()
        elif self._upgrade is not None and self._upgrade.tunnel is None:
            self._not_upgraded(self._upgrade)

    def _log(self, method: bytes, status: int, size: int, x_cache: bytes, reason: str, seconds: float) -> None:
        asked = self.answering
        target = asked.target if isinstance(asked, Request) else self.target
        line = Line(
            at=self.server.clock(),
            peer=self.peer,
            method=method.decode(),
            target=target.decode("latin-1"),
            status=status,
            bytes=size,
            x_cache=x_cache.decode(),
            reason=reason,
            seconds=seconds,
        )
        assert self.server.access_log is not None
        self.server.access_log.write(line)

    # Bytes that are not parsed.

    def _stopped_parsing(self, data: bytes) -> bytes:
        """The parser has stopped: at a request that is refused, or behind one that asks to upgrade.

        Return the bytes that are requests all the same, to be parsed.
        """
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            self._stop_at(refusal)
            return b""
        rest, self.upgrade_at = data[self.upgrade_at :], None
        if self._upgrade is not None:
            self._upgrade.take(rest)
            return b""
        self.restart()  # it has been answered already, and not with 101
        return rest

    def _stop_at(self, refusal: Refusal) -> None:
        """Take no more requests: the one that is being received is refused, when its turn has come."""
        self._is_ending = True
        if self._content is None:
            self._queue.append((refusal, None, False))
        elif self._content.is_unwanted:
            self._end_gently()  # it has its answer
        elif self._queue:
            self._content = None
            self._queue[-1] = (refusal, None, False)
        else:
            self._break_off(refusal)
        self._take_turns()

    def _is_answered(self) -> bool:
        """Return whether the answer to the request whose content is being received has begun, or is complete."""
        return not self._queue and (self.writer.is_started or not self.is_busy)

    def _break_off(self, refusal: Refusal) -> None:
        """Refuse what is being answered; of content that may be on its way to the origin nothing may look whole."""
        self._content = None
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.cancel()
        if self.writer.is_started or not self.is_busy:
            reset(self.transport)
        else:
            self.writer.keeps_alive = False
            refuse(self.writer, refusal.status, refusal.detail)

    def _not_upgraded(self, upgrade: Upgrade) -> None:
        """Parse what was held as further requests: the origin did not switch."""
        self._upgrade = None
        held = upgrade.decline()
        if held is not None:
            self.restart()
            self.data_received(held)
        self._take_turns()

    def switched(self) -> None:
        """Let bytes go through as they are from now on: the origin has switched protocols."""
        exchange = self.exchange
        if exchange is not None and exchange.call is not None and self._upgrade is not None:
            self._upgrade.switch(exchange.call.carry)

    def _tunnel(self) -> RequestContent | None:
        return None if self._upgrade is None else self._upgrade.tunnel

    # Ending.

    def _end_gently(self) -> None:
        """Take no more requests, and close once the client has what was written.

        Closing at once while the client is still sending would reset the connection, and the answer might be lost.
        """
        self._is_ending = True
        self._queue.clear()
        self.server.outbox.flush()
        if self.has_ended or not (self._content is not None or self._holds_bytes() or self.in_head):
            # Not at once: this may be within a transport's call of `resume_writing`, where asyncio's would close twice.
            asyncio.get_running_loop().call_soon(self.transport.close)
        elif not self.transport.is_closing():
            with suppress(OSError):  # the client has just gone
                self.transport.write_eof()
            self.server.linger(self)

    def _holds_bytes(self) -> bool:
        return self._upgrade is not None and self._upgrade.held is not None

    def announce_close(self) -> None:
        """Let the reply that is coming say that the connection closes behind it, if its head is not out yet."""
        if not self.writer.is_started and not self._queue:
            self.writer.keeps_alive = False

    def release_last(self) -> None:
        """Hold nothing of the last request and its answer any longer; the next may be long in coming."""
        self.fields = []
        self.target = self.host = b""
        self.writer.reply = None

    def close_idle(self) -> None:
        """Close a connection on which nothing is being received or answered."""
        self.server.outbox.flush()
        self.transport.close()

    def too_slow(self, what: str) -> None:
        """Answer 408 when the request's turn has come, and close."""
        if not self._is_ending:
            self._stop_at(Refusal(408, what))

    def give_up(self) -> None:
        """Take the client to have gone: it has closed its half, and has waited for its answer for long enough."""
        self._is_ending = True
        self._queue.clear()
        self._break_off(Refusal(408, "The client closed its side of the connection before it was answered"))

    def turn_away(self, why: str) -> None:
        """Answer 503 before any request, and close."""
        self._is_ending = True
        self._queue.append((Refusal(503, why), None, False))
        self._take_turns()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being received or answered."""
        return not (self.is_busy or self.in_head or self._content or self._queue or self._upgrade)

    @property
    def is_held_back(self) -> bool:
        """Whether nothing is read of what the client sends, its end included."""
        return bool(self._pauses.reasons)

    @property
    def has_whole_answer_to_come(self) -> bool:
        """Whether an answer has begun that will be whole: a stream never is."""
        reply = self.writer.reply
        return self.writer.is_started and not (reply is not None and reply.reason is STREAM)

    @property
    def is_receiving_content(self) -> bool:
        """Whether content is awaited from the client."""
        return self._content is not None and not self._pauses.reasons
