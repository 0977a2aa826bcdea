"""One connection to an origin: HTTP/1.1, one request at a time, kept alive between them."""

import asyncio
import os
import ssl
from contextlib import suppress
from typing import Protocol, cast

from springhouse.http.messages import Response
from springhouse.transport.outbox import Outbox
from springhouse.upstream.call import OriginCall
from springhouse.wire.responses import Framing, ResponseReader

_GATHER_MAX = 16 * 1024
_HEAR_OUT_BYTES = 64 * 1024


class ConnectionOwner(Protocol):
    """What a connection needs of its pool."""

    outbox: Outbox
    tls: ssl.SSLContext | None

    def done(self, call: OriginCall, connection: "OriginConnection | None") -> None:
        """Take back what a finished call used; `connection` None when it cannot be used again."""

    def retry(self, call: OriginCall) -> None:
        """Send a call once more."""

    def broken(self, call: OriginCall, error: str, detail: str) -> None:
        """End a call whose connection failed it."""

    def lost(self, connection: "OriginConnection") -> None:
        """Take the place of a connection that has gone."""

    def abort_later(self, connection: "OriginConnection") -> None:
        """Give a connection that is being closed gently so long for it."""


class OriginConnection(ResponseReader, asyncio.Protocol):
    """Carries one call after another. `call` is None while it is idle.

    A finished connection goes back to the pool only after all bytes at hand have been looked at: what follows an
    answer unasked would otherwise be taken for the answer to the next request.
    """

    __slots__ = (
        "call", "has_ended", "has_place", "has_progressed", "idle_since", "is_closed", "is_done", "is_paused",
        "is_tunnel", "pool", "transport", "used",
    )  # fmt: skip

    def __init__(self, pool: ConnectionOwner, head_limit: int) -> None:
        super().__init__(head_limit)
        self.pool = pool
        self.call: OriginCall | None = None
        self.transport: asyncio.Transport | None = None
        self.used = 0
        """Requests it has carried."""
        self.has_place = False
        """It counts among those that may be open at once; until it is open, the attempt to open it does."""
        self.idle_since = 0.0
        self.is_done = False
        self.is_tunnel = False
        self.is_closed = False
        self.is_paused = False
        self.has_progressed = False
        """The answer's head is complete or some of its content came, in the bytes at hand; framing alone is none."""
        self.has_ended = False
        """The origin has said that it sends no more; with TLS an end without a word may be an attacker's cut."""

    def start(self, call: OriginCall) -> None:
        """Send a call's head; its content follows as it comes."""
        self.call = call
        self.is_done = False
        self.expect(call.request.method, fresh=self.method == b"HEAD")
        self.used += 1
        call.connection = self
        if self.transport is not None:
            self.pool.outbox.write(self.transport, call.head)

    def write(self, data: bytes) -> None:
        """Send bytes of a request's content; much at once goes out now, so that the client is held back in time."""
        if self.transport is not None:
            if len(data) <= _GATHER_MAX:
                self.pool.outbox.write(self.transport, data)
            else:
                self.pool.outbox.write_now(self.transport, [data])

    def pause(self) -> None:
        """Hold the origin back."""
        if self.transport is not None and not self.is_paused:
            self.is_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Let the origin go on."""
        if self.transport is not None and self.is_paused:
            self.is_paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close without waiting for anything."""
        if self.transport is not None and not self.is_closed:
            self.is_closed = True
            self.transport.abort()

    def close_gently(self) -> None:
        """Close once everything written has gone out; an origin that does not take it gets a moment only."""
        if self.transport is not None and not self.is_closed:
            self.is_closed = True
            self.pool.outbox.flush()
            self.transport.close()
            self.pool.abort_later(self)

    def abort(self) -> None:
        """Close without waiting for anything, even if it is being closed gently."""
        if self.transport is not None:
            self.is_closed = True
            self.transport.abort()

    def abandon(self) -> None:
        """Close, and tell the call nothing more."""
        self.call = None
        self.close()

    def is_without_content(self) -> bool:
        """Return whether the answer being received ends with its head."""
        return not self.in_head and self.framing is Framing.NONE and not self.is_tunnel

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            self.close()  # there was no request
            return
        if self.is_tunnel:
            call.receiver.content(data)
            call.receiver.settled()
            return
        self.has_progressed = False
        self.feed(data)
        if self.is_done:
            self._finish(call)
        elif self.failure is not None:
            self._break(f"The origin's answer is not valid HTTP/1.1: {self.failure}", "http_protocol_error")
        elif self.remainder:
            remainder, self.remainder = self.remainder, b""
            call.receiver.content(remainder)  # after a 101
            call.receiver.settled()
        elif not call.is_cancelled:
            if self.has_progressed and not self.is_paused:  # else it is the client that is slow
                call.heard_from()
            call.receiver.settled()

    def eof_received(self) -> bool:
        self.has_ended = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        transport, self.transport = self.transport, None
        self.pool.lost(self)
        if self.call is not None and not self.is_done:
            self._lost(self.call, transport, error)
        del self.parser  # it refers back to this object

    def _lost(self, call: OriginCall, transport: asyncio.Transport | None, error: Exception | None) -> None:
        """Settle what becomes of the call whose connection has gone."""
        if self.is_tunnel:
            self.call = None
            self.pool.done(call, None)
            call.receiver.content_end()
        elif self._ended_well(error) or (error is not None and call.content is not None and self._hear_out(transport)):
            self._finish(call)
        elif self.used > 1 and self.head_bytes == 0 and call.may_retry():
            self.call = None
            self.pool.retry(call)
        elif self.in_head:
            self._break("The origin closed the connection without an answer", "connection_terminated")
        else:
            self._break("The origin's answer broke off", "http_response_incomplete")

    def _ended_well(self, error: Exception | None) -> bool:
        """Return whether the end of the connection is the end of the answer."""
        return error is None and self.has_ended and not self.in_head and self.ended()

    def _hear_out(self, transport: asyncio.Transport | None) -> bool:
        """Read what the origin said before it hung up, and return whether that was its whole answer.

        Perhaps it is why it does not want the content: writing that failed before the answer was read. The system
        still has it, until this callback returns.
        """
        with suppress(OSError, AttributeError):
            if transport is not None and self.pool.tls is None:
                descriptor = transport.get_extra_info("socket").fileno()
                while not self.is_done and self.failure is None and (data := os.read(descriptor, _HEAR_OUT_BYTES)):
                    self.feed(data)
        return self.is_done

    def pause_writing(self) -> None:
        if self.call is not None and self.call.content is not None:
            self.call.content.pause()

    def resume_writing(self) -> None:
        if self.call is not None and self.call.content is not None:
            self.call.content.resume()

    # ResponseReader.

    def interim_received(self, response: Response) -> None:
        if self.call is not None:
            self.call.interim(response)

    def answer_received(self, response: Response) -> None:
        call = self.call
        if call is None:
            return
        if response.status == 101:
            if not call.is_upgrade:
                self.failure = "it switches protocols without being asked"
                return
            self.is_tunnel = True
        call.has_answer = self.has_progressed = True
        call.receiver.answered(response, self.length)

    def content_received(self, data: bytes) -> None:
        self.has_progressed = True
        if self.call is not None and not self.is_done and not self.call.is_cancelled:
            self.call.receiver.content(data)

    def answer_complete(self) -> None:
        if self.is_done:
            return
        self.is_done = True
        call = self.call
        if call is not None and not call.is_cancelled:
            call.receiver.content_end()

    # Ending.

    def on_message_begin(self) -> None:
        if self.is_done:
            self.failure = "more bytes follow the answer"  # without a request
            return
        self._begin()

    def _finish(self, call: OriginCall) -> None:
        self.call = None
        call.connection = None
        whole = call.content is None or call.content.ended
        if call.content is not None:
            call.content.detach()
        reusable = self.is_keep_alive and whole and self.failure is None and not self.is_closed
        if self.is_paused:
            self.resume()
        if not reusable:
            self.close()
        self.pool.done(call, self if reusable else None)

    def _break(self, detail: str, error: str) -> None:
        call, self.call = self.call, None
        self.close()
        if call is not None:
            call.connection = None
            self.pool.broken(call, error, detail)
