"""What the engine needs of others: of whoever brings answers (an origin's pool, a wrapped application), of a desk."""

from typing import TYPE_CHECKING, Protocol

from springhouse.engine.sinks import Sink
from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.upstream.content import RequestContent
from springhouse.upstream.pool import Receiver
from springhouse.upstream.routing import Forwarding

if TYPE_CHECKING:
    from springhouse.engine.driver import Exchange


class Call(Protocol):
    """One request on its way. It may be paused and resumed like any producer, and cancelled."""

    @property
    def requested_at(self) -> float:
        """When it was sent, in seconds since 1970."""

    def pause(self) -> None:
        """Hold the answer back."""

    def resume(self) -> None:
        """Let it go on."""

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
        """Break off what is under way and release everything."""


class Desk(Protocol):
    """Answers requests for this proxy itself, which are not for the origin (`engine.classic`)."""

    def takes(self, request: Request) -> bool:
        """Say whether the request is one of these."""

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> "Exchange":
        """Answer it."""

    def close(self) -> None:
        """Release everything."""
