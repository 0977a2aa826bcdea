"""The pool of connections to an origin: it carries out what `upstream.assigning` decides.

Deadlines are instants that one sweep compares, so that no request costs a timer. A call on a connection that turns out
to have been closed meanwhile is sent once more, if its method is idempotent and nothing of its content is gone.
"""

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

from springhouse.exchange.steps import Failure
from springhouse.http.fields import CONTENT_LENGTH, Field
from springhouse.http.messages import Request
from springhouse.transport.content import RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.upstream.assigning import assign
from springhouse.upstream.call import OriginCall, Receiver, Upload, framing_of
from springhouse.upstream.connection import OriginConnection
from springhouse.upstream.failures import describe, status_of
from springhouse.upstream.limits import PoolLimits
from springhouse.upstream.routing import Forwarding, Origin
from springhouse.upstream.unattended import Unattended

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Turns a host and port into the addresses that may be connected to."""


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
        self.waiting: OrderedDict[OriginCall, None] = OrderedDict()
        """Calls without a connection and without room for one; in order, and left at once from anywhere."""
        self.calls: set[OriginCall] = set()
        self.unattended: Unattended[OriginCall] = Unattended(limits.unattended, self._time_out, lambda: self.waiting)
        self.open = 0
        """Connections that are open or being opened."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing: set[OriginConnection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.outbox = Outbox()
        self.loop_time: Callable[[], float] = lambda: 0.0

    def send(
        self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver
    ) -> OriginCall:
        """Send a request; the receiver hears what comes of it."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.loop_time = self._loop.time
        framing = framing_of(request, content) if content is not None or request.bits & CONTENT_LENGTH else None
        head = self.forwarding.head_for(request, fields, self.origin, framing)
        call = OriginCall(self, request, head, content, receiver)
        self.calls.add(call)
        if self.limits.total:
            call.ends_at = self.loop_time() + self.limits.total
        idle = self.idle
        if idle and call.is_repeatable and not idle[-1].is_closed:
            self._start(call, idle.pop())  # as `assign` would, in most cases
        else:
            self._queue(call)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self.limits.sweep, self._check_deadlines)
        return call

    def retry(self, call: OriginCall) -> None:
        """Send a call once more."""
        call.was_retried = True
        self._queue(call)

    def done(self, call: OriginCall, connection: OriginConnection | None) -> None:
        """Take back what a finished call used; `connection` None when it cannot be used again."""
        self._over(call)
        if connection is None:
            return
        connection.idle_since = self.loop_time()
        self.idle.append(connection)
        if self.waiting:
            self._assign()

    def broken(self, call: OriginCall, error: str, detail: str) -> None:
        """End a call whose connection failed it."""
        self._over(call)
        if not call.is_cancelled:
            call.is_cancelled = True
            call.receiver.failed(Failure(error, detail, status_of(error), self.wall()))

    def lost(self, connection: OriginConnection) -> None:
        """Take the place of a connection that has gone, if it still had one."""
        self._vacate(connection)
        self._closing.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting:
            self._assign()

    def abort_later(self, connection: OriginConnection) -> None:
        """Give a connection that is being closed gently so long for it."""
        assert self._loop is not None
        self._closing.add(connection)
        self._loop.call_later(self.limits.linger, connection.abort)

    def cancel(self, call: OriginCall) -> None:
        """Drop a call."""
        self._over(call)
        self.waiting.pop(call, None)
        connection = call.connection
        if connection is not None and not connection.is_without_content():
            connection.close()

    def close(self) -> None:
        """Close idle connections and stop the sweep; calls are broken off, and not sent again."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in [*self.idle, *self._closing]:
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
        self._closing.clear()
        self.waiting.clear()
        self.calls.clear()
        self.unattended.clear()
        self._connecting.clear()
        self.open = 0
        self._loop = self._sweep = None
        self.outbox.leave_loop()

    def await_answer(self, call: OriginCall) -> None:
        """Start the wait for the first byte anew."""
        wait = self.limits.first_byte
        call.deadline_at = self.loop_time() + wait if wait else 0.0

    def _queue(self, call: OriginCall) -> None:
        """Have a call assigned; if it must wait, a call that no client waits for gives way to it."""
        call.queued_at = self.loop_time()
        self.waiting[call] = None
        self._assign()
        if call in self.waiting:
            wait = self.limits.connect
            call.deadline_at = call.queued_at + wait if wait else 0.0
            self.unattended.give_way()

    def _assign(self) -> None:
        """Carry out what can be done with the calls that wait and the connections that are idle."""
        limits = self.limits
        room = limits.connections - self.open
        todo = assign(self.waiting, self.idle, room, self.loop_time(), limits.idle)
        for connection in todo.close:
            self._vacate(connection)
            connection.close()
        for call in todo.open:
            self._connect(call)
        for call, connection in todo.start:
            self._start(call, connection)

    def _vacate(self, connection: OriginConnection) -> None:
        """Let another connection be opened in the place of one that goes."""
        if connection.has_place:
            connection.has_place = False
            self.open -= 1

    def _over(self, call: OriginCall) -> None:
        self.calls.discard(call)
        if self.unattended.ends:
            self.unattended.remove(call)

    def _start(self, call: OriginCall, connection: OriginConnection) -> None:
        wait = self.limits.first_byte
        call.deadline_at = self.loop_time() + wait if wait else 0.0
        call.requested_at = self.wall()
        connection.start(call)
        if call.content is not None:
            call.content.attach(Upload(call))

    def _connect(self, call: OriginCall) -> None:
        self.open += 1
        assert self._loop is not None
        task = self._loop.create_task(self._open_for(call))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open_for(self, call: OriginCall) -> None:
        """Open a connection and give it to the call; to another that waits if this one was cancelled meanwhile."""
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
                self._assign()
            return
        connection.has_place = True  # from here on it is `lost` that gives it back
        if connection.is_closed:
            self._vacate(connection)
            self.broken(call, "connection_terminated", "The origin closed the connection at once")
            if self.waiting:
                self._assign()
        elif call.is_cancelled:
            self.done(call, connection)
        else:
            self._start(call, connection)

    async def _open(self) -> OriginConnection:
        """Connect to the origin; where addresses are chosen for us, to the first of them that answers."""
        assert self._loop is not None
        origin = self.origin
        hosts = [origin.host] if self.resolve is None else await self.resolve(origin.host, origin.port)
        for left, host in zip(range(len(hosts) - 1, -1, -1), hosts, strict=True):
            try:
                _, connection = await self._loop.create_connection(
                    lambda: OriginConnection(self, self.limits.head),
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
        if self.idle:
            self._assign()
        if not self.calls and not self.idle:
            self._sweep.cancel()
            self._sweep = None

    def _time_out(self, call: OriginCall) -> None:
        connection, call.connection = call.connection, None
        if connection is not None:
            connection.abandon()
        if call in self.waiting:
            del self.waiting[call]
            self.broken(call, "connection_limit_reached", "All connections to the origin are busy")
        elif call.has_answer:
            self.broken(call, "http_response_timeout", "The origin stopped sending in the middle of its answer")
        elif connection is None:
            self.broken(call, *describe(TimeoutError()))
        else:
            self.broken(call, "http_response_timeout", "The origin did not answer in time")
