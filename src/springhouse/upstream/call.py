"""A call: one request on its way to an origin, and what hears of its answer.

It is carried by a connection while it has one. Its deadlines are instants, which the pool's sweep compares.
"""

from collections.abc import Callable
from typing import Protocol

from springhouse.exchange.steps import Failure
from springhouse.http.fields import CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE, Field
from springhouse.http.headers import first
from springhouse.http.messages import IDEMPOTENT_METHODS, Request, Response
from springhouse.transport.content import RequestContent
from springhouse.upstream.limits import PoolLimits
from springhouse.wire import encode


class Receiver(Protocol):
    """Hears what comes of a call. Nothing is reported before the pool's `send` has returned."""

    def interim(self, response: Response) -> None:
        """Take a 1xx."""

    def answered(self, response: Response, length: int | None) -> None:
        """Take the answer's head, and its Content-Length."""

    def content(self, data: bytes) -> None:
        """Take some of its content."""

    def settled(self) -> None:
        """Nothing more is at hand for now: what was gathered can go on."""

    def content_end(self) -> None:
        """The content is whole."""

    def failed(self, failure: Failure) -> None:
        """No answer comes, or no more of it."""


class Carrier(Protocol):
    """What a call needs of the connection that carries it."""

    is_tunnel: bool

    def write(self, data: bytes) -> None:
        """Send bytes of the request's content."""

    def pause(self) -> None:
        """Hold the origin back."""

    def resume(self) -> None:
        """Let the origin go on."""

    def is_without_content(self) -> bool:
        """Return whether the answer being received ends with its head."""

    def close(self) -> None:
        """Close without waiting for anything."""

    def close_gently(self) -> None:
        """Close once everything written has gone out."""

    def abandon(self) -> None:
        """Close, and tell the call nothing more."""


class Attendance(Protocol):
    """The calls that no client waits for; see `upstream.unattended`."""

    def add(self, call: "OriginCall") -> None:
        """No client waits for the call."""

    def remove(self, call: "OriginCall") -> None:
        """A client waits for the call again."""


class CallOwner(Protocol):
    """What a call needs of its pool."""

    limits: PoolLimits
    loop_time: Callable[[], float]

    @property
    def unattended(self) -> Attendance:
        """The calls that no client waits for."""

    def await_answer(self, call: "OriginCall") -> None:
        """Start the wait for the first byte anew."""

    def cancel(self, call: "OriginCall") -> None:
        """Drop a call."""


class OriginCall:
    """One request to the origin, on its way."""

    __slots__ = (
        "connection", "content", "deadline_at", "ends_at", "has_answer", "head", "is_cancelled", "is_chunked",
        "is_repeatable", "pool", "queued_at", "receiver", "request", "requested_at", "was_retried",
    )  # fmt: skip

    def __init__(
        self, pool: CallOwner, request: Request, head: bytes, content: RequestContent | None, receiver: Receiver
    ) -> None:
        self.pool = pool
        self.request = request
        self.head = head
        self.content = content
        self.receiver = receiver
        self.connection: Carrier | None = None
        self.requested_at = 0.0
        self.is_chunked = content is not None and content.length is None
        self.is_repeatable = content is None and request.method in IDEMPOTENT_METHODS
        self.is_cancelled = False
        self.was_retried = False
        self.has_answer = False
        self.queued_at = 0.0
        """Since when it waits for a connection. This and what follows is on the loop's clock."""
        self.deadline_at = 0.0
        """0: none."""
        self.ends_at = 0.0

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for another protocol."""
        return bool(self.request.bits & UPGRADE)

    def may_retry(self) -> bool:
        """Return whether it may be sent a second time."""
        return self.is_repeatable and not self.was_retried and not self.is_cancelled

    def awaits_client(self) -> bool:
        """Return whether more content is awaited from the client: the origin has taken all that came so far."""
        content = self.content
        return content is not None and not (content.ended or content.is_paused or self.has_answer)

    def heard_from(self) -> None:
        """Await anew what comes next: the answer has progressed."""
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
        content.attach(Upload(self))

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
        """No client waits for it: it is broken off if that lasts, or if its connection is needed."""
        if not self.is_cancelled:
            self.pool.unattended.add(self)

    def attended(self) -> None:
        """A client waits for it again."""
        self.pool.unattended.remove(self)

    def cancel(self) -> None:
        """Want no more: an answer without content may end, anything else is broken off."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self.pool.cancel(self)


class Upload:
    """Writes a request's content to the call's connection, framed as its head says."""

    __slots__ = ("call",)

    def __init__(self, call: OriginCall) -> None:
        self.call = call

    def content(self, data: bytes) -> None:
        """Send some of it; the origin's time to answer begins anew."""
        connection = self.call.connection
        if connection is not None and data:
            is_framed = self.call.is_chunked and not connection.is_tunnel
            connection.write(encode.chunk(data) if is_framed else data)
            if not self.call.has_answer:
                self.call.pool.await_answer(self.call)

    def content_end(self) -> None:
        """Send what ends it."""
        connection = self.call.connection
        if connection is None:
            return
        if connection.is_tunnel:
            connection.close_gently()
        elif self.call.is_chunked:
            connection.write(encode.LAST_CHUNK)


def framing_of(request: Request, content: RequestContent | None) -> Field | None:
    """Return the field that frames the content of a request to an origin (RFC 9112 §6), None without content."""
    if content is None:
        has_length = request.bits & CONTENT_LENGTH and not request.bits & TRANSFER_ENCODING
        return (b"Content-Length", b"0") if has_length else None
    if content.length is None:
        return b"Transfer-Encoding", b"chunked"
    return b"Content-Length", first(request.fields, b"content-length") or b"%d" % content.length
