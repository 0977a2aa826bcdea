"""What the engine needs of others: an upstream (a pool, a wrapped application), a store, peers, local endpoints."""

from collections.abc import Callable, Sequence
from typing import Protocol

from springhouse.engine.sinks import Sink
from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.purging import Held, Purge, Receipt
from springhouse.stores.leases import Leasing
from springhouse.stores.memory.records import Record
from springhouse.stores.tier import Arriving, LookedUp, OnProgress, Purged
from springhouse.transport.content import RequestContent
from springhouse.upstream.pool import Receiver
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
        """Note that no client waits for it: it goes on for the store, but only for so long."""

    def attended(self) -> None:
        """Note that a client waits for it again."""

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


class Store(Protocol):
    """Where entries live: in memory, or in memory with something slower behind it."""

    on_foreign_purge: Callable[[Purge], None]
    """Is told what other processes have purged, before anything more is looked up."""

    @property
    def records(self) -> dict[bytes, Record]:
        """What is in memory; read directly by the hit guard."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what is stored here."""

    @property
    def is_behind(self) -> Callable[[], bool] | None:
        """Says whether `records` may hold what another process has purged; None where no other can."""

    @property
    def leases(self) -> Leasing | None:
        """Who of several processes fetches a key; None where they do not share."""

    def reread(self, key: bytes) -> None:
        """Let the next lookup of a key find what another process has stored."""

    def lacks(self, key: bytes) -> bool:
        """Say whether nothing is stored under the key, as far as that is known without asking anybody."""

    def lookup(self, key: bytes) -> tuple[Entry, ...]:
        """Return what memory has under the key."""

    def find(self, key: bytes, done: LookedUp) -> tuple[Entry, ...] | None:
        """Return the variants under a key at once, or None and call `done` with them later."""

    def put(self, entry: Entry) -> None:
        """Store an entry whose content is complete, in place of those it supersedes."""

    def replace(self, old: Entry, new: Entry) -> None:
        """Put a freshened entry in the old one's place; nothing happens when the old one has gone."""

    @property
    def whole_max(self) -> int:
        """How large content may be, in bytes, that is put whole; what is larger should `arrive`."""

    def arrive(self, key: bytes, told: OnProgress) -> Arriving | None:
        """Begin to store content behind memory while it arrives; None while that cannot be. See `tier.Tier`.

        When it is whole it is put as the content of its entry.
        """

    def reserve(self, size: int) -> bool:
        """Count content that is arriving and make room for it; False when it is too much."""

    def release(self, size: int) -> None:
        """Count it no longer."""

    def purge_here(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge what this process has in memory; `done` may be called at once. `held`: what else counts."""

    def purge_everywhere(self, purge: Purge, done: Purged, *, held: Sequence[Held] = (), dry_run: bool = False) -> None:
        """Purge in memory and behind it; `done` is called, perhaps at once, when no process finds it any more."""

    def open(self) -> None:
        """Open what stands behind memory, on the loop's thread; nothing when that is done."""

    def close(self) -> None:
        """Write what waits to be written, and let go of everything; perhaps in the background."""

    async def aclose(self) -> None:
        """Do as `close`, and return when it is done."""


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
