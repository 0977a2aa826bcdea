"""What the engine needs of others: an upstream (a pool, a wrapped application), peers, local endpoints."""

from collections.abc import Callable
from typing import Protocol

from springhouse.engine.sinks import Sink
from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.rules.purging import Purge, Receipt
from springhouse.transport.content import RequestContent
from springhouse.upstream.call import Receiver
from springhouse.upstream.routing import Forwarding


class Call(Protocol):
    """One request on its way. It may be paused and resumed like any producer, and cancelled."""

    @property
    def requested_at(self) -> float:
        """When it was sent, in seconds since 1970."""

    def pause(self) -> None:
        """Hold the answer back."""

    def resume(self) -> None:
        """Let it go on."""

    def unattended(self) -> None:
        """Record that no client waits for it: it goes on for the store, but not without limit."""

    def attended(self) -> None:
        """Record that a client waits for it again."""

    def cancel(self) -> None:
        """Want no more of it; nothing is reported afterwards."""

    def carry(self, content: RequestContent) -> None:
        """Send bytes of another protocol, after a 101."""


class Upstream(Protocol):
    """Where requests go. Nothing is reported to the receiver before `send` has returned."""

    @property
    def forwarding(self) -> Forwarding:
        """How requests are marked on their way, so that loops are noticed."""

    def send(self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver) -> Call:
        """Send a request with these fields; the receiver hears what comes of it."""

    def close(self) -> None:
        """Break off all calls and release everything."""


class Peers(Protocol):
    """The other processes that share the port."""

    def purge(self, purge: Purge, done: Callable[[Receipt, int], None], *, dry_run: bool = False) -> None:
        """Have all of them apply a purge; `done` is called later with the sum and with how many they are."""


class Answering(Protocol):
    """The answer to one request, in progress or complete."""

    @property
    def call(self) -> Call | None:
        """The call to the upstream whose answer is passed on; None where there is none."""

    def cancel(self) -> None:
        """Record that the client has gone."""


class LocalEndpoint(Protocol):
    """Answers requests for this proxy itself, which are not for the origin (`springhouse.control`)."""

    @property
    def targets(self) -> tuple[bytes, ...]:
        """What the targets of these requests begin with; a PURGE request is offered whatever its target."""

    def takes(self, request: Request) -> bool:
        """Return whether the request is one of these."""

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> Answering:
        """Answer it."""

    def close(self) -> None:
        """Release everything."""
