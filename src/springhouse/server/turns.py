"""The requests of one connection, answered one at a time and in the order in which they came (RFC 9112 §9.3.2)."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from springhouse.engine.driver import refuse
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import HIT, Reply
from springhouse.http.memo import KIB, bound
from springhouse.http.messages import Request
from springhouse.observe.accesslog import AccessLog, Line
from springhouse.rules.reasons import FRESH, STREAM
from springhouse.server.reading import FOR_QUEUE, Pauses
from springhouse.server.writer import ReplyWriter, reset
from springhouse.transport.content import RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.wire.admission import Refusal
from springhouse.wire.requests import FIELD_BYTES, HEAD

QUEUED_MAX: Final = 128 * KIB
"""Bytes of requests that wait; when there are more, nothing is parsed until they have had their turns."""
PARSED_MAX: Final = 4 * KIB
"""More than this is parsed piece by piece, so that requests which have to wait can be stopped in time."""
REQUEST_BYTES: Final = 1024
"""What a request takes besides its fields."""
bound(
    "queue",
    QUEUED_MAX + HEAD.limit + PARSED_MAX // 26 * REQUEST_BYTES,
    "requests that wait for the answers to those before them",
    per="client connection",
    grows_with=HEAD.grows_with,
)

Turn = tuple[Request | Refusal, RequestContent | None, bool]
"""A request, or why it is refused, waiting to be answered; its content; whether another request may follow."""
Handle = Callable[[Request, RequestContent | None, Sink], Answering | None]
"""Answers a request to a sink; returns what is to be cancelled if the client leaves, None if that is nothing."""


class Answerer(Protocol):
    """What turns need of the server."""

    outbox: Outbox
    access_log: AccessLog | None
    clock: Callable[[], float]
    is_draining: bool
    handle: Handle


class Asking(Protocol):
    """What turns need of their connection."""

    peer: str
    target: bytes
    was_active: bool

    def go_on(self) -> None:
        """Parse what waited because so many requests did."""

    def switched(self) -> None:
        """Let bytes go through as they are: the origin has switched protocols."""

    def not_upgraded(self) -> None:
        """Go on with HTTP: the origin has not switched protocols."""

    def end_gently(self) -> None:
        """Take no more requests, and close once the client has what was written."""


class Turns:
    """What waits for its turn, and what has it. `is_ending`: no further request is taken."""

    __slots__ = (
        "_asked",
        "_connection",
        "_content",
        "_pauses",
        "_queued",
        "_server",
        "_started_at",
        "_transport",
        "exchange",
        "is_busy",
        "is_ending",
        "is_starting",
        "is_upgrade_asked",
        "queue",
        "writer",
    )  # fmt: skip

    def __init__(self, connection: Asking, server: Answerer, transport: asyncio.Transport, pauses: Pauses) -> None:
        self._connection = connection
        self._server = server
        self._transport = transport
        self._pauses = pauses
        self.writer = ReplyWriter(transport, server.outbox, self)
        self.queue: deque[Turn] = deque()
        self._queued = 0
        """Bytes of what has come to the queue since it was empty."""
        self._asked: Request | Refusal | None = None
        self._content: RequestContent | None = None
        """Of the request that is being answered."""
        self._started_at = 0.0
        self.exchange: Answering | None = None
        self.is_busy = False
        """A request is being answered."""
        self.is_ending = False
        self.is_upgrade_asked = False
        """The last request asks to change protocols, which the origin has not answered."""
        self.is_starting = False
        """An answer is being started, which may be complete at once."""

    def add(self, request: Request, content: RequestContent | None, keeps_alive: bool) -> None:
        """Let a request wait for its turn."""
        self.queue.append((request, content, keeps_alive))
        self._queued += REQUEST_BYTES + sum([FIELD_BYTES + len(name) + len(value) for name, value in request.fields])
        if self._queued > QUEUED_MAX:
            self._pauses.hold(FOR_QUEUE)
        self.take()

    def take(self) -> None:
        """Start answering what is next, and go on while answers are complete at once."""
        if self.is_starting:
            return
        self.is_starting = True
        while self.queue and not self.is_busy and not self.writer.paused and not self._transport.is_closing():
            self.answer(*self.queue.popleft())
        self.is_starting = False
        if not self.queue:
            self._queued = 0
            if self._pauses.reasons & FOR_QUEUE:
                asyncio.get_running_loop().call_soon(self._connection.go_on)  # this may be a callback of the parser

    def answer(self, asked: Request | Refusal, content: RequestContent | None, keeps_alive: bool) -> None:
        """Have a request answered that has its turn."""
        self.is_busy = True
        self._asked = asked
        self._content = content
        server = self._server
        if server.access_log is not None:
            self._started_at = server.clock()
        if isinstance(asked, Refusal):
            self.writer.expect(b"GET", minor_version=1, keeps_alive=False)
            refuse(self.writer, asked.status, asked.detail)
            return
        if (self.is_ending or server.is_draining) and not self.queue:
            keeps_alive = False
        self.writer.expect(asked.method, minor_version=asked.minor_version, keeps_alive=keeps_alive)
        exchange = server.handle(asked, content, self.writer)
        if self.is_busy:
            self.exchange = exchange

    # Ending.

    def refuse_last(self, refusal: Refusal) -> None:
        """Refuse the last request that waits, whose content is still being received."""
        self.queue[-1] = (refusal, None, False)

    def add_refusal(self, refusal: Refusal) -> None:
        """Let a refusal wait for its turn; it is the last."""
        self.queue.append((refusal, None, False))

    def break_off(self, refusal: Refusal) -> None:
        """Refuse what is being answered; of content that may be on its way to the origin nothing may look whole."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.cancel()
        if self.writer.is_started or not self.is_busy:
            reset(self._transport)
        else:
            self.writer.keeps_alive = False
            refuse(self.writer, refusal.status, refusal.detail)

    def announce_close(self) -> None:
        """Let the reply that is coming say that the connection closes behind it, if its head is not out yet."""
        if not self.writer.is_started and not self.queue:
            self.writer.keeps_alive = False

    def leave(self) -> None:
        """Answer nothing any more: the connection has gone."""
        self.queue.clear()
        self.is_ending = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None and self.is_busy:
            exchange.cancel()
        self.writer.leave()
        if self._content is not None:
            self._content.detach()
            self._content = None
        del self._connection  # refers back to this object, and to the last head

    @property
    def has_begun_last(self) -> bool:
        """Whether the answer to the last request has begun, or is complete."""
        return not self.queue and (self.writer.is_started or not self.is_busy)

    @property
    def has_whole_answer_to_come(self) -> bool:
        """Whether an answer has begun that will be whole: a stream never is."""
        reply = self.writer.reply
        return self.writer.is_started and not (reply is not None and reply.reason is STREAM)

    # The writer's owner.

    def replied(self, *, may_go_on: bool) -> None:
        """Take the end of an answer: take the next turn, or close."""
        content, connection = self._content, self._connection
        self.exchange = None
        self.is_busy = False
        connection.was_active = True
        reply = self.writer.reply
        if self._server.access_log is not None and reply is not None:
            self._log_reply(reply)
        self._asked = self._content = None
        if content is not None:
            content.detach()
        if not may_go_on:
            connection.end_gently()
        elif self.queue:
            self.take()
        elif self.is_upgrade_asked:
            self.is_upgrade_asked = False
            connection.not_upgraded()

    def switched(self) -> None:
        """Let bytes go through as they are: the origin has switched protocols."""
        self.is_upgrade_asked = False
        self._connection.switched()

    def resume_writing(self) -> None:
        """Write more of the answer, then take the next turn."""
        self.writer.resume()
        self.take()

    # The access log.

    def log_hit(self, status: int, size: int) -> None:
        """Log an answer of the hit guard."""
        self._log(b"GET", self._connection.target, status, size, HIT, FRESH.name, 0.0)

    def _log_reply(self, reply: Reply) -> None:
        asked = self._asked
        method, target = b"-", self._connection.target
        if isinstance(asked, Request):
            method, target = asked.method, asked.target
        reason = reply.reason.name if reply.reason is not None else ""
        seconds = self._server.clock() - self._started_at
        self._log(method, target, reply.status, self.writer.sent, reply.x_cache, reason, seconds)

    def _log(
        self, method: bytes, target: bytes, status: int, size: int, x_cache: bytes, reason: str, seconds: float
    ) -> None:
        log = self._server.access_log
        assert log is not None
        line = Line(
            at=self._server.clock(),
            peer=self._connection.peer,
            method=method.decode(),
            target=target.decode("latin-1"),
            status=status,
            bytes=size,
            x_cache=x_cache.decode(),
            reason=reason,
            seconds=seconds,
        )
        log.write(line)
