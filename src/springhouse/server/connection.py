"""One client's connection: requests in, replies out, in order.

Bytes are parsed as they come. The hit guard answers a plain hit at once; any other request becomes an exchange. While
one is being answered, further (pipelined) requests queue. Nothing here waits: every method is a callback of the loop,
of the parser or of the exchange. Time-outs are found by the server's sweep, which only compares.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, cast

from springhouse.exchange.hit import BuiltReply, PreparedReply
from springhouse.http.content import CONTENT_PIECE, MemoryContent
from springhouse.http.fields import HOST, UPGRADE
from springhouse.http.memo import KIB, READ_BYTES, Memo, bound
from springhouse.server.limits import ServerLimits
from springhouse.server.reading import FOR_QUEUE, FOR_UNREAD, ContentSource, Pauses
from springhouse.server.turns import PARSED_MAX, Answerer, Turns
from springhouse.server.upgrading import Upgrade
from springhouse.server.writer import ReplyWriter
from springhouse.stores.memory.records import MemoryRecord
from springhouse.transport.content import RequestContent
from springhouse.wire.admission import Refusal
from springhouse.wire.requests import RequestReader

_DRAIN_MAX: Final = 256 * KIB
_ONE_WRITE_MAX: Final = 16 * KIB
"""Up to here joining head and content is cheaper than handing two buffers on."""
bound("unread", READ_BYTES, "what has arrived behind a full queue", per="client connection")


class Serving(Answerer, Protocol):
    """What a connection needs of its server."""

    limits: ServerLimits
    records: dict[bytes, MemoryRecord]
    is_behind: Callable[[], bool] | None
    key_prefixes: Memo[bytes, bytes]
    names_of_ours: frozenset[bytes]
    hits: int

    def key_prefix(self, authority: bytes) -> bytes:
        """Return what the keys of requests with this authority begin with."""

    def opened(self, connection: "ClientConnection") -> None:
        """Count a connection."""

    def closed(self, connection: "ClientConnection") -> None:
        """Count a connection no more."""

    def linger(self, connection: "ClientConnection") -> None:
        """Close a connection after a moment in which its client can read the answer."""


class ClientConnection(RequestReader, asyncio.Protocol):
    """A client's connection."""

    __slots__ = (
        "_content", "_drained", "_pauses", "_unread", "_upgrade", "has_ended", "peer", "server", "transport", "turns",
        "was_active", "writer",
    )  # fmt: skip

    writer: ReplyWriter
    transport: asyncio.Transport
    turns: Turns
    _pauses: Pauses

    def __init__(self, server: Serving) -> None:
        super().__init__(server.limits.request)
        self.server = server
        self.peer = ""
        self.was_active = True
        """Bytes came, or an answer was completed, since the last sweep."""
        self._unread = b""
        """What has arrived and is not parsed yet, because so much is waiting in the queue."""
        self._content: RequestContent | None = None
        """Of the request that is being received."""
        self._upgrade: Upgrade | None = None
        self._drained = 0
        self.has_ended = False
        """The client has said that it sends no more."""

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._pauses = Pauses(self.transport)
        self.turns = Turns(self, self.server, self.transport, self._pauses)
        self.writer = self.turns.writer
        peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else ""
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        self.was_active = True
        if self._upgrade is not None:
            self._upgrade.take(data)
        elif len(data) > PARSED_MAX and self._content is None:
            self._unread = data
            self._read_on()
        elif not self.turns.is_ending:
            self.feed(data)
            while self.refusal is not None or self.upgrade_at is not None:
                data = self._stopped_parsing(data)
                if data and not self.turns.is_ending:
                    self.feed(data)

    def _read_on(self) -> None:
        """Take what has arrived, until so many requests wait that the rest has to."""
        while (data := self._unread) and not self._pauses.reasons & FOR_QUEUE:
            size = PARSED_MAX if self._content is None and self._upgrade is None else len(data)
            self._unread = data[size:]
            self.data_received(data[:size])

    def go_on(self) -> None:
        """Parse what waited because so many requests did, and read again when that is done."""
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
        turns = self.turns
        if self._content is not None and not turns.has_begun_last:
            self._stop_at(Refusal(400, "The request broke off"))
        turns.is_ending = True
        if not turns.is_busy and not turns.queue:
            self.server.outbox.flush()  # the transport closes now
            return False
        if not turns.queue:
            self.writer.keeps_alive = False
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.server.closed(self)
        self._unread = b""
        tunnel = self._tunnel()
        if tunnel is not None and not tunnel.ended:
            tunnel.feed_end()
        self.turns.leave()
        del self.parser  # refers back to this object, which would hold the last head until the collector comes
        for content in (self._content, tunnel):
            if content is not None:
                content.detach()
        self._content = self._upgrade = None

    def pause_writing(self) -> None:
        self.writer.pause()

    def resume_writing(self) -> None:
        self.writer.resume()
        self.turns.take()

    # RequestReader.

    def head_received(self) -> None:
        """Answer a plain hit at once; give anything else a turn."""
        server, turns = self.server, self.turns
        if turns.is_busy or turns.queue or self.writer.paused or self.is_large:
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
            self._answer_piecewise(hit)
        server.hits += 1
        if server.access_log is not None:
            turns.log_hit(hit.status, len(content))
        return None

    def _answer_piecewise(self, ready: PreparedReply | BuiltReply) -> None:
        """Answer a plain hit that is too large to be handed to the transport at once."""
        self.turns.is_busy = True
        writer = self.writer
        writer.start_ready(ready.head)
        content = ready.entry.content
        assert isinstance(content, MemoryContent)
        content.send(writer, ready.content)

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
                self.end_gently()

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
            self.turns.is_upgrade_asked = True
        turns = self.turns
        if not (turns.is_busy or turns.queue or turns.is_starting or self.writer.paused):
            turns.answer(request, self._content, keeps_alive)
        else:
            turns.add(request, self._content, keeps_alive)

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
        turns = self.turns
        turns.is_ending = True
        if self._content is None:
            turns.add_refusal(refusal)
        elif self._content.is_unwanted:
            self.end_gently()  # it has its answer
        elif turns.queue:
            self._content = None
            turns.refuse_last(refusal)
        else:
            self._content = None
            turns.break_off(refusal)
        turns.take()

    def not_upgraded(self) -> None:
        """Go on with HTTP: the origin has not switched protocols, and what was held are further requests."""
        upgrade, self._upgrade = self._upgrade, None
        held = None if upgrade is None else upgrade.decline()
        if held is not None:
            self.restart()
            self.data_received(held)
        self.turns.take()

    def switched(self) -> None:
        """Let bytes go through as they are from now on: the origin has switched protocols."""
        exchange = self.turns.exchange
        if exchange is not None and exchange.call is not None and self._upgrade is not None:
            self._upgrade.switch(exchange.call.carry)

    def _tunnel(self) -> RequestContent | None:
        return None if self._upgrade is None else self._upgrade.tunnel

    # Ending.

    def end_gently(self) -> None:
        """Take no more requests, and close once the client has what was written.

        Closing at once while the client is still sending would reset the connection, and the answer might be lost.
        """
        self.turns.is_ending = True
        self.turns.queue.clear()
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
        if not self.turns.is_ending:
            self._stop_at(Refusal(408, what))

    def give_up(self) -> None:
        """Take the client to have gone: it has closed its half, and has waited for its answer for long enough."""
        self.turns.is_ending = True
        self.turns.queue.clear()
        self._content = None
        self.turns.break_off(Refusal(408, "The client closed its side of the connection before it was answered"))

    def turn_away(self, why: str) -> None:
        """Answer 503 before any request, and close."""
        self.turns.is_ending = True
        self.turns.add_refusal(Refusal(503, why))
        self.turns.take()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being received or answered."""
        turns = self.turns
        return not (turns.is_busy or self.in_head or self._content or turns.queue or self._upgrade)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.turns.is_busy

    @property
    def is_held_back(self) -> bool:
        """Whether nothing is read of what the client sends, its end included."""
        return bool(self._pauses.reasons)

    @property
    def is_receiving_content(self) -> bool:
        """Whether content is awaited from the client."""
        return self._content is not None and not self._pauses.reasons
