"""`GET /proxy`: an upstream's answer stored for exactly the TTL, and wrapped in JSON for the client.

Both ends are adapters, so that the flow in between stays the one flow. `ExactTtl` stands before the upstream: it takes
from its answers everything that would speak about caching, and makes of their content the JSON value that stands for it
in the envelope. That value is what is stored. `Envelope` stands behind the flow and writes what is around it; the value
itself goes through like any content, shared by all who ask for it, a piece at a time.
"""

import asyncio
from typing import Any, Final

from msgspec import json

from springhouse.control import json_value
from springhouse.control.replies import NO_STORE_FIELD, classic_head, classic_reply, failure_body, phrase_of, send_reply
from springhouse.engine.ports import Call, Upstream
from springhouse.engine.sinks import Sink, SinkBefore
from springhouse.exchange.reply import HIT, STALE, Reply, Source
from springhouse.exchange.steps import Failure
from springhouse.http.fields import Field
from springhouse.http.headers import fields_of, first, lines_of
from springhouse.http.memo import MIB, bound, register
from springhouse.http.messages import Request, Response
from springhouse.transport.content import RequestContent
from springhouse.upstream.call import Receiver
from springhouse.upstream.routing import Forwarding

_PASSED_ON = frozenset({b"content-type", b"content-encoding", b"content-length", b"etag", b"last-modified"})
_STORED = frozenset({200, 203, 204, 300, 304})
_KEPT = (b"X-Cache", b"Cache-Status")
_CODES = {403: "forbidden_target", 502: "bad_gateway", 503: "overloaded", 504: "gateway_timeout", 508: "loop"}
_TOO_LARGE: Final = "http_response_body_size"
_AT_ONCE_MAX = 64 * 1024
"""Bytes of content that are made a value without letting others go first."""


class Room:
    """How much content may be held that is not made a value yet, by all fetches together."""

    bound = bound(
        "answers for /proxy",
        128 * MIB,
        "content that `/proxy` fetches, until it is whole and wrapped: twice the largest that is",
        grows_with=("max_object", "memory"),
    )

    def __init__(self, item_max: int) -> None:
        self.item_max = item_max
        """Bytes that one answer may have."""
        self.size = 0
        register(self)

    def take(self, size: int) -> bool:
        """Count bytes that are held from now on; False if there is no room for them."""
        if self.size + size > 2 * self.item_max:
            return False
        self.size += size
        return True


class ExactTtl:
    """An upstream whose answers say nothing about caching: successful ones get our TTL, others are not stored.

    The content of a success is the JSON value that stands for it.
    """

    def __init__(self, upstream: Upstream, *, ttl: int, room: Room) -> None:
        self.upstream = upstream
        self.ttl = ttl
        self.room = room

    @property
    def forwarding(self) -> Forwarding:
        return self.upstream.forwarding

    def send(self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver) -> Call:
        wrapping = _Wrapping(receiver, self.room, is_storable=self.ttl > 0)
        wrapping.call = self.upstream.send(request, fields, content, wrapping)
        return wrapping

    def close(self) -> None:
        self.upstream.close()


class _Wrapping:
    """A call whose answer is passed on with other content: gathered, then made a value, a slice in each turn."""

    call: Call

    def __init__(self, receiver: Receiver, room: Room, *, is_storable: bool) -> None:
        self._receiver = receiver
        self._room = room
        self._is_storable = is_storable
        self._response: Response | None = None
        """A success, until its content is known."""
        self._content = bytearray()
        self._value: json_value.Value | None = None
        """What is being made of it."""
        self._is_begun = False
        self._is_paused = False
        self._is_awaited = False
        """The next slice will come."""
        self._is_over = False

    # The call.

    @property
    def requested_at(self) -> float:
        return self.call.requested_at

    def pause(self) -> None:
        self._is_paused = True
        if self._value is None:
            self.call.pause()

    def resume(self) -> None:
        self._is_paused = False
        if self._value is None:
            self.call.resume()
        else:
            self._go_on()

    def unattended(self) -> None:
        if self._value is None:
            self.call.unattended()

    def attended(self) -> None:
        if self._value is None:
            self.call.attended()

    def cancel(self) -> None:
        if self._value is None and not self._is_over:
            self.call.cancel()
        self._let_go()

    def carry(self, content: RequestContent) -> None:
        """Nothing to do: no other protocol is asked for."""

    # What the upstream reports.

    def interim(self, response: Response) -> None:
        """Drop it."""

    def answered(self, response: Response, length: int | None) -> None:
        fields = [field for field in response.fields if field[0].lower() in _PASSED_ON]
        if response.status not in _STORED or not self._is_storable:
            fields.append(NO_STORE_FIELD)
        muted = Response(response.status, fields, reason=response.reason)
        if 200 <= response.status < 300 and response.status not in (204, 205):
            self._response = muted
        else:
            self._receiver.answered(muted, length)

    def content(self, data: bytes) -> None:
        if self._response is None:
            self._receiver.content(data)
        elif len(self._content) + len(data) > self._room.item_max:
            self._refuse(_TOO_LARGE, f"The upstream's answer is larger than {self._room.item_max} bytes", 502)
        elif self._room.take(len(data)):
            self._content += data
        else:
            self._refuse("connection_limit_reached", "Too many large answers are being fetched; try again shortly", 503)

    def settled(self) -> None:
        if self._response is None:
            self._receiver.settled()

    def content_end(self) -> None:
        if self._response is None:
            self._is_over = True
            self._receiver.content_end()
            return
        self._value = self._wrapped(self._response)
        if len(self._content) > _AT_ONCE_MAX:
            self._go_on()
            return
        try:
            value = b"".join(self._value)
        except ValueError as error:
            self._fail(Failure("http_protocol_error", str(error), 502))
            return
        self._begin(len(value))
        self._receiver.content(value)
        self._end()

    def failed(self, failure: Failure) -> None:
        self._fail(failure)

    # What is made of it.

    def _wrapped(self, response: Response) -> json_value.Value:
        coding = (first(response.fields, b"content-encoding") or b"identity").lower()
        media = (first(response.fields, b"content-type") or b"").decode("latin-1")
        content = yield from json_value.inflated(self._content, coding, self._room.item_max)
        yield from json_value.value_of(content, media)

    def _go_on(self) -> None:
        if not (self._is_awaited or self._is_paused or self._is_over):
            self._is_awaited = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_awaited = False
        if self._is_over or self._is_paused or self._value is None:
            return
        try:
            piece = next(self._value)
        except StopIteration:
            self._end()
            return
        except ValueError as error:
            self._fail(Failure("http_protocol_error", str(error), 502))
            return
        if piece:
            self._begin(None)
            self._receiver.content(piece)
            self._receiver.settled()
        self._go_on()

    def _begin(self, length: int | None) -> None:
        response = self._response
        if not self._is_begun and response is not None:
            self._is_begun = True
            fields = [f for f in response.fields if f[0].lower() not in (b"content-encoding", b"content-length")]
            self._receiver.answered(Response(response.status, fields, reason=response.reason), length)

    def _end(self) -> None:
        if not self._is_over:
            self._let_go()
            self._receiver.content_end()

    def _refuse(self, error: str, detail: str, status: int) -> None:
        self.call.cancel()
        self._fail(Failure(error, detail, status))

    def _fail(self, failure: Failure) -> None:
        if not self._is_over:
            self._let_go()
            self._receiver.failed(failure)

    def _let_go(self) -> None:
        self._is_over = True
        self._room.size -= len(self._content)
        self._content, self._value = bytearray(), None


class Envelope(SinkBefore):
    """The sink of a `/proxy` fetch: puts the stored value into an envelope, and makes errors of what is no success."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._reply: Reply | None = None
        self._problem = b""
        self._is_success = False
        self._is_over = False

    def interim(self, response: Response) -> None:
        pass

    def start(self, reply: Reply) -> None:
        self._reply = reply
        self._is_success = 200 <= reply.status < 300
        if not self._is_success:
            return
        source = b"cache" if reply.x_cache in (HIT, STALE) else b"upstream"
        before, length = b'{"success":true,"source":"%b","data":' % source, reply.length
        if reply.content is Source.NOTHING or length == 0:
            before, length = before + b"null", 0
        whole = None if length is None else len(before) + length + 1
        self._sink.start(self._labelled(Reply(200, b"OK", classic_head(), b"", Source.ORIGIN, whole, b"", None)))
        self._sink.write(before)

    def write(self, data: bytes | memoryview) -> None:
        if self._is_success:
            self._sink.write(data)
        elif self._reply is not None and isinstance(self._reply.content, bytes):
            self._problem += data

    def flush(self) -> None:
        if self._is_success:
            self._sink.flush()

    def end(self) -> None:
        reply = self._reply
        if self._is_success:
            self._sink.write(b"}")
            self._sink.end()
        elif reply is not None and isinstance(reply.content, bytes):
            detail = json.decode(self._problem, type=dict[str, Any])["detail"]
            is_too_large = _TOO_LARGE.encode() in (first(reply.fields, b"proxy-status") or b"")
            code = "too_large" if is_too_large else _CODES.get(reply.status, "bad_gateway")
            self._answer(reply.status, failure_body(code, detail))
        elif reply is not None:
            self._answer(*_upstream_refused(reply.status))

    def abort(self) -> None:
        if self._is_success:
            self._sink.abort()
        else:
            self._answer(502, failure_body("bad_gateway", "The upstream's answer broke off"))

    def _answer(self, status: int, body: bytes) -> None:
        if not self._is_over:
            self._is_over = True
            send_reply(self._sink, self._labelled(classic_reply(status, body)))

    def _labelled(self, reply: Reply) -> Reply:
        inner = self._reply
        if inner is not None:
            reply.x_cache, reply.reason = inner.x_cache, inner.reason
            reply.proxy_lines = lines_of([field for field in fields_of(inner.proxy_lines) if field[0] in _KEPT])
        return reply


def _upstream_refused(status: int) -> tuple[int, bytes]:
    """Return what the client gets for an upstream's answer that is no success: its 4xx as they are, else 502."""
    said = f"The upstream answered {status} {phrase_of(status).decode()}".rstrip()
    if 300 <= status < 400:
        return 502, failure_body("redirect", f"{said}; redirects are not followed")
    return (status if 400 <= status < 500 else 502), failure_body("upstream_status", said)
