"""Writes replies to a client's transport: head, framing (RFC 9112 §6, §7), content, and what an ending means.

One writer serves a connection for all its replies; it is the sink of the exchange that is being answered.
"""

import asyncio
import os
import socket
import struct
from typing import Protocol

from springhouse.exchange.reply import VIA_FIELD, Reply
from springhouse.http.content import CONTENT_PIECE
from springhouse.http.headers import end_to_end
from springhouse.http.messages import Response, may_have_content
from springhouse.transport.content import Pausable
from springhouse.transport.outbox import Outbox
from springhouse.wire import encode

_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
GATHER_MAX = 16 * 1024
"""Up to here joining is cheaper than handing several buffers on."""
_REFERRED_TO = 4 * 2**20
"""As many bytes as the system may take of a connection: each further write costs."""
_LINGER_NOT = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


class Owner(Protocol):
    """What a writer reports to: how replies end."""

    def replied(self, *, may_go_on: bool) -> None:
        """Take the end of a reply. `may_go_on`: another may follow on this connection."""

    def switched(self) -> None:
        """Let bytes through: the connection now carries another protocol."""

    def resume_writing(self) -> None:
        """Write more: there is room again."""


class _NoOwner:
    def replied(self, *, may_go_on: bool) -> None:
        pass

    def switched(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


_NO_OWNER = _NoOwner()


class ReplyWriter:
    """The sink of one exchange after another."""

    __slots__ = (
        "_has_content", "_is_chunked", "_is_full", "_is_http_1_0", "_is_until_close", "_method", "_out", "_outbox",
        "_owner", "_transport", "is_started", "keeps_alive", "paused", "producer", "reply", "sent",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, outbox: Outbox, owner: Owner) -> None:
        self._transport = transport
        self._outbox = outbox
        self._owner = owner
        self._out = b""
        """What was gathered, to be handed on in one piece."""
        self._has_content = False
        self._is_until_close = False
        self._is_full = False
        self.paused = False
        self.producer: Pausable | None = None
        self.reply: Reply | None = None
        self.sent = 0
        """Bytes of content sent of this reply."""
        self.expect(b"GET", minor_version=1, keeps_alive=True)

    def expect(self, method: bytes, *, minor_version: int, keeps_alive: bool) -> None:
        """Prepare for the reply to a request."""
        self._method = method
        self._is_http_1_0 = minor_version == 0
        self.keeps_alive = keeps_alive
        self.is_started = False
        self._is_chunked = False
        self.producer = None
        self.sent = 0

    # Sink.

    def interim(self, response: Response) -> None:
        """Pass a 1xx on; HTTP/1.0 has none (RFC 9110 §15.2)."""
        if not self._is_http_1_0 and not self.is_started:
            fields = [*end_to_end(response.fields, response.bits), VIA_FIELD]
            head = encode.response_head(response.status, response.reason, fields, b"\r\n")
            self._outbox.write(self._transport, head)

    def start(self, reply: Reply) -> None:
        """Write the head, and settle how the content is framed."""
        self.reply = reply
        self.is_started = True
        status, length = reply.status, reply.length
        more = reply.proxy_lines
        self._is_until_close = False
        self._has_content = may_have_content(self._method, status)
        if length is not None:
            if self._has_content or self._method == b"HEAD":
                more = b"Content-Length: %d\r\n%b" % (length, more)
        elif self._has_content:
            if self._is_http_1_0:
                self._is_until_close = True
            else:
                self._is_chunked = True
                more = _CHUNKED + more
        if status == 101:
            self._switch(reply)
            return
        if reply.must_close or self._is_until_close:
            self.keeps_alive = False
        if not self.keeps_alive:
            more += _CLOSE
        elif self._is_http_1_0:
            more += _KEEP_ALIVE
        self._out = encode.response_head(status, reply.phrase, reply.head, more + b"\r\n")

    @property
    def piece(self) -> int:
        """Bytes that the transport takes at once: uvloop's keeps a reference to them, those of asyncio may copy."""
        return _REFERRED_TO if type(self._transport).__module__.startswith("uvloop") else CONTENT_PIECE

    def start_ready(self, head: bytes) -> None:
        """Begin the reply to a plain GET with a head that is ready to be sent, framing included."""
        self.expect(b"GET", minor_version=1, keeps_alive=True)
        self.reply = None
        self.is_started = self._has_content = True
        self._is_until_close = False
        self._out = head

    def _switch(self, reply: Reply) -> None:
        """Write a 101; what follows is no HTTP."""
        self._has_content = True
        self.keeps_alive = False
        self._out = encode.response_head(reply.status, reply.phrase, reply.head, reply.proxy_lines + b"\r\n")
        self.flush()
        self._owner.switched()

    def produced_by(self, producer: Pausable) -> None:
        """Name what is resumed when the client has taken what was written."""
        self.producer = producer
        if self._outbox.is_spent:
            self._await_turn()

    def write(self, data: bytes | memoryview) -> None:
        """Write content; ignored where the message has none."""
        if self._has_content and data:
            self.sent += len(data)
            if self._is_chunked:
                data = encode.chunk(data)
            if len(self._out) + len(data) <= GATHER_MAX:
                self._out += data
            else:
                out, self._out = self._out, b""
                if self._outbox.write_now(self._transport, [out, data] if out else [data]):
                    self._await_turn()

    def flush(self) -> None:
        """Hand what was gathered to the transport: a head and its first content in one write."""
        out, self._out = self._out, b""
        if out:
            self._outbox.write(self._transport, out)

    def end(self) -> None:
        """Finish the reply."""
        if self._is_chunked:
            self._out += encode.LAST_CHUNK
        self.flush()
        self._release_content()
        self._owner.replied(may_go_on=self.keeps_alive)

    def abort(self) -> None:
        """Break the reply off so that the client can tell: a reset where closing would look like the end."""
        self.keeps_alive = False
        self.flush()
        self._outbox.flush()
        if self._is_until_close or self._is_full:  # a client that takes nothing must not keep what waits for it
            reset(self._transport)
        else:
            self._transport.close()
        self._release_content()
        self._owner.replied(may_go_on=False)

    def leave(self) -> None:
        """Report nothing any more: the connection has gone."""
        self._owner = _NO_OWNER
        self.producer = self.reply = None

    def _release_content(self) -> None:
        """Hold no content any longer: connections may be idle, or linger, for long after a reply."""
        self.producer = None
        if self.reply is not None:
            self.reply.content = b""

    # The transport's side.

    def pause(self) -> None:
        """Hold the producer back: the client takes no more for now."""
        self._is_full = self.paused = True

    def resume(self) -> None:
        """Let the producer go on: the client takes more."""
        self._is_full = self.paused = False
        if self.producer is not None:
            self.producer.resume()

    def _await_turn(self) -> None:
        if not self.paused:
            self.paused = True
            self._outbox.await_turn(self._go_on)

    def _go_on(self) -> None:
        """Write more in this turn of the event loop, if the client takes it."""
        if not self._is_full and not self._transport.is_closing():
            self._owner.resume_writing()


def reset(transport: asyncio.Transport) -> None:
    """Break a connection off so that it cannot look like its orderly end: `abort` alone would send a FIN."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing() and connection.family != getattr(socket, "AF_UNIX", None):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()
