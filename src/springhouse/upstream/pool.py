"""The pool of connections to an origin, and the calls that go through it.

A call is one request to the origin. It takes the connection that was used last, or opens one; when all that are
allowed are busy it queues. Deadlines are instants that one sweep compares, so that no request costs a timer. A call
on a connection that turns out to have been closed meanwhile is sent once more, on a fresh one, if its method is
idempotent and nothing of its content is gone.
"""

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from springhouse.exchange.steps import Failure
from springhouse.http.fields import CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE, Field
from springhouse.http.headers import first
from springhouse.http.messages import IDEMPOTENT_METHODS, Request, Response
from springhouse.transport.content import RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.upstream.connection import OriginConnection
from springhouse.upstream.failures import describe, status_of
from springhouse.upstream.routing import Forwarding, Origin
from springhouse.upstream.unattended import Unattended
from springhouse.wire import encode

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Turns a host and port into the addresses that may be connected to."""
IDLE_FOR_UNREPEATABLE_S = 2.0
"""A request that cannot be repeated only takes a connection this recently used: the origin may just be closing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Seconds to wait (connect, for the head, between content, in total, without a client; 0: for ever), and how much.

    `connections`: at most so many at once; `idle`: seconds an unused one is kept; `head`: bytes of an answer's head.
    `linger`: seconds an origin may take to read what was written before its connection closes.
    `sweep`: seconds between two comparisons of all deadlines.
    """

    connect: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 60.0
    total: float = 0.0
    unattended: float = 60.0
    connections: int = 1024
    idle: float = 30.0
    head: int = 128 * 1024
    linger: float = 5.0
    sweep: float = 0.25


class Receiver(Protocol):
    """Who a call reports to. Nothing is reported before `Pool.send` has returned."""

    def interim(self, response: Response) -> None:
        """Take a 1xx."""

    def answered(self, response: Response, length: int | None) -> None:
        """Take the answer's head, and its Content-Length."""

    def content(self, data: bytes) -> None:
        """Take some of its content."""

    def settled(self) -> None:
        """Note that nothing more is at hand for now."""

    def content_end(self) -> None:
        """Note that it is whole."""

    def failed(self, failure: Failure) -> None:
        """Note that no answer comes, or no more of it."""


class Call:
    """One request to the origin, on its way."""

    __slots__ = (
        "connection", "content", "deadline_at", "ends_at", "has_answer", "head", "is_cancelled", "is_chunked",
        "is_repeatable", "pool", "receiver", "request", "requested_at", "was_retried",
    )  # fmt: skip

    def __init__(
        self, pool: "Pool", request: Request, head: bytes, content: RequestContent | None, receiver: Receiver
    ) -> None:
        self.pool = pool
        self.request = request
        self.head = head
        self.content = content
        self.receiver = receiver
        self.connection: OriginConnection | None = None
        self.requested_at = 0.0
        self.is_chunked = content is not None and content.length is None
        self.is_repeatable = content is None and request.method in IDEMPOTENT_METHODS
        self.is_cancelled = False
        self.was_retried = False
        self.has_answer = False
        self.deadline_at = 0.0
        """On the loop's clock; 0: none."""
        self.ends_at = 0.0

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for another protocol."""
        return bool(self.request.bits & UPGRADE)

    def may_retry(self) -> bool:
        """Say whether it may be sent a second time."""
        return self.is_repeatable and not self.was_retried and not self.is_cancelled

    def awaits_client(self) -> bool:
        """Say whether it is the client's turn: the origin has taken all that came of the content, which is not all."""
        content = self.content
        return content is not None and not (content.ended or content.is_paused or self.has_answer)

    def heard_from(self) -> None:
        """Note that its answer has progressed: what comes next is awaited anew."""
        wait = 0.0 if self.is_upgrade and self.has_answer else self.pool.limits.between_bytes
        self.deadline_at = self.pool.loop_time() + wait if wait else 0.0

    def interim(self, response: Response) -> None:
        """Pass a 1xx on, if the client may have it: 100 only when it asked."""
        if not self.is_cancelled and (response.status != 100 or self.request.bits & EXPECT):
            self.receiver.interim(response)

    def carry(self, content: RequestContent) -> None:
        """Send bytes of another protocol, after a 101."""
        self.content = content
        self.deadline_at = self.ends_at = 0.0
        content.attach(_Upload(self))

    # The receiver's side.

    def pause(self) -> None:
        """Hold the origin back."""
        if self.connection is not None:
            self.connection.pause()
            self.deadline_at = 0.0

    def resume(self) -> None:
        """Let the origin go on."""
        if self.connection is not None:
            self.connection.resume()
            self.heard_from()

    def unattended(self) -> None:
        """Note that no client waits for it: it is broken off if that lasts, or if its connection is needed."""
        if not self.is_cancelled:
            self.pool.unattended.add(self)

    def attended(self) -> None:
        """Note that a client waits for it again."""
        self.pool.unattended.remove(self)

    def cancel(self) -> None:
        """Want no more: an answer without content is let end, anything else is broken off."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self.pool.cancel(self)


class _Upload:
    """Writes a request's content to the call's connection, framed as its head says."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call = call

    def content(self, data: bytes) -> None:
        connection = self.call.connection
        if connection is not None and data:
            is_framed = self.call.is_chunked and not connection.is_tunnel
            connection.write(encode.chunk(data) if is_framed else data)
            if not self.call.has_answer:
                self.call.pool.await_answer(self.call)

    def content_end(self) -> None:
        connection = self.call.connection
        if connection is None:
            return
        if connection.is_tunnel:
            connection.close_gently()
        elif self.call.is_chunked:
            connection.write(encode.LAST_CHUNK)


class Pool:
    """Connections to one origin."""

    def __init__(
        self,
        origin: Origin,
        forwarding: Forwarding,
        limits: PoolLimits,
        *,
        wall: Callable[[], float],
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        self.origin = origin
        self.forwarding = forwarding
        self.limits = limits
        self.wall = wall
        self.resolve = resolve
        self.tls = tls if origin.scheme == "https" else None
        self.idle: deque[OriginConnection] = deque()
        self.waiting: OrderedDict[Call, None] = OrderedDict()
        """Calls that have no connection yet and may not open one; ordered, and left at once from anywhere."""
        self.calls: set[Call] = set()
        self.unattended: Unattended[Call] = Unattended(limits.unattended, self._time_out, lambda: self.waiting)
        self.open = 0
        """Connections that are open or being opened."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._let_go: set[OriginConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.outbox = Outbox()
        self.loop_time: Callable[[], float] = lambda: 0.0

    def send(self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver) -> Call:
        """Send a request; the receiver hears what comes of it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.loop_time = self._loop.time
        framing = _framing(request, content) if content is not None or request.bits & CONTENT_LENGTH else None
        head = self.forwarding.head_for(request, fields, self.origin, framing)
        call = Call(self, request, head, content, receiver)
        self.calls.add(call)
        if self.limits.total:
            call.ends_at = self.loop_time() + self.limits.total
        idle = self.idle
        if idle and call.is_repeatable and not idle[-1].is_closed:
            self._begin(call, idle.pop())  # as `_dispatch` would, without asking
        else:
            self._dispatch(call)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self.limits.sweep, self._check_deadlines)
        return call

    def retry(self, call: Call) -> None:
        """Send a call once more, on a connection of its own."""
        call.was_retried = True
        self._dispatch(call)

    def done(self, call: Call, connection: OriginConnection | None) -> None:
        """Take back what a finished call used; `connection` None when it cannot be used again."""
        self._over(call)
        if connection is None:
            return
        if self.waiting:
            self._begin(self._next(), connection)
            return
        connection.idle_since = self.loop_time()
        self.idle.append(connection)

    def broken(self, call: Call, error: str, detail: str) -> None:
        """End a call whose connection failed it."""
        self._over(call)
        if not call.is_cancelled:
            call.is_cancelled = True
            call.receiver.failed(Failure(error, detail, status_of(error), self.wall()))

    def lost(self, connection: OriginConnection) -> None:
        """Note that a connection is gone."""
        self.open -= 1
        self._let_go.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting and self.open < self.limits.connections:
            self._connect(self._next())

    def lets_go(self, connection: OriginConnection) -> None:
        """Give a connection that is being closed gently a moment."""
        assert self._loop is not None
        self._let_go.add(connection)
        self._loop.call_later(self.limits.linger, connection.abort)

    def cancel(self, call: Call) -> None:
        """Drop a call."""
        self._over(call)
        self.waiting.pop(call, None)
        connection = call.connection
        if connection is not None and not connection.is_without_content():
            connection.close()

    def close(self) -> None:
        """Close idle connections and stop the sweep; calls under way are broken off, and not sent again."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in [*self.idle, *self._let_go]:
            connection.abort()
        waiting, self.waiting = self.waiting, OrderedDict()
        for call in waiting:
            self.broken(call, "connection_limit_reached", "All connections to the origin are being closed")
        for call in list(self.calls):
            call.was_retried = True
            if call.connection is not None:
                call.connection.close()
        for task in self._connecting:
            task.cancel()

    def leave_loop(self) -> None:
        """Forget the event loop, which has gone with all its connections; the next request brings another."""
        self.idle.clear()
        self._let_go.clear()
        self.waiting.clear()
        self.calls.clear()
        self.unattended.clear()
        self._connecting.clear()
        self.open = 0
        self._loop = self._sweep = None
        self.outbox.leave_loop()

    def await_answer(self, call: Call) -> None:
        """Start the wait for the first byte anew."""
        wait = self.limits.first_byte
        call.deadline_at = self.loop_time() + wait if wait else 0.0

    def _dispatch(self, call: Call) -> None:
        connection = None if call.was_retried else self._take_idle(call)
        if connection is not None:
            self._begin(call, connection)
        elif self.open < self.limits.connections:
            self._connect(call)
        else:
            self.waiting[call] = None
            call.deadline_at = self.loop_time() + self.limits.connect if self.limits.connect else 0.0
            self.unattended.give_way()

    def _next(self) -> Call:
        return self.waiting.popitem(last=False)[0]

    def _over(self, call: Call) -> None:
        self.calls.discard(call)
        if self.unattended.ends:
            self.unattended.remove(call)

    def _take_idle(self, call: Call) -> OriginConnection | None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_closed:
                continue
            if call.is_repeatable or connection.idle_since >= self.loop_time() - IDLE_FOR_UNREPEATABLE_S:
                return connection
            self.idle.append(connection)
            return None
        return None

    def _begin(self, call: Call, connection: OriginConnection) -> None:
        wait = self.limits.first_byte
        call.deadline_at = self.loop_time() + wait if wait else 0.0
        call.requested_at = self.wall()
        connection.start(call)
        if call.content is not None:
            call.content.attach(_Upload(call))

    def _connect(self, call: Call) -> None:
        self.open += 1
        assert self._loop is not None
        task = self._loop.create_task(self._open_for(call))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open_for(self, call: Call) -> None:
        """Open a connection and give it to the call, or to whoever waits if the call was cancelled meanwhile."""
        assert self._loop is not None
        try:
            async with asyncio.timeout(self.limits.connect or None):
                connection = await self._open()
        except asyncio.CancelledError:
            self.open -= 1
            raise
        except Exception as error:
            self.open -= 1
            self.broken(call, *describe(error))
            if self.waiting:
                self._connect(self._next())
            return
        if call.is_cancelled:
            self.done(call, connection)
        else:
            self._begin(call, connection)

    async def _open(self) -> OriginConnection:
        """Connect to the origin; where addresses are chosen for us, to the first of them that answers."""
        assert self._loop is not None
        origin = self.origin
        hosts = [origin.host] if self.resolve is None else await self.resolve(origin.host, origin.port)
        for left, host in zip(range(len(hosts) - 1, -1, -1), hosts, strict=True):
            try:
                _, connection = await self._loop.create_connection(
                    lambda: OriginConnection(self),
                    host,
                    origin.port,
                    ssl=self.tls,
                    server_hostname=origin.host if self.tls else None,
                )
            except OSError:
                if not left:
                    raise
            else:
                return connection
        raise OSError("It has no address")

    def _check_deadlines(self) -> None:
        assert self._loop is not None
        now = self.loop_time()
        self._sweep = self._loop.call_later(
            self.limits.sweep, self._check_deadlines
        )  # first: whatever happens, there is a next
        for call in list(self.calls):
            is_late = call.deadline_at and call.deadline_at <= now and not call.awaits_client()
            if is_late or (call.ends_at and call.ends_at <= now):
                self._time_out(call)
        while self.idle and self.idle[0].idle_since < now - self.limits.idle:
            self.idle.popleft().close()
        if not self.calls and not self.idle:
            self._sweep.cancel()
            self._sweep = None

    def _time_out(self, call: Call) -> None:
        connection, call.connection = call.connection, None
        if connection is not None:
            connection.call = None
            connection.close()
        if call in self.waiting:
            del self.waiting[call]
            self.broken(call, "connection_limit_reached", "All connections to the origin are busy")
        elif call.has_answer:
            self.broken(call, "http_response_timeout", "The origin stopped sending in the middle of its answer")
        elif connection is None:
            self.broken(call, *describe(TimeoutError()))
        else:
            self.broken(call, "http_response_timeout", "The origin did not answer in time")


def _framing(request: Request, content: RequestContent | None) -> Field | None:
    if content is None:
        has_length = request.bits & CONTENT_LENGTH and not request.bits & TRANSFER_ENCODING
        return (b"Content-Length", b"0") if has_length else None
    if content.length is None:
        return b"Transfer-Encoding", b"chunked"
    return b"Content-Length", first(request.fields, b"content-length") or b"%d" % content.length
