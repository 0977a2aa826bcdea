"""What exchanges share, and what is done to all of them: answering requests, purging."""

import asyncio
from collections.abc import Callable

from springhouse.engine.clock import LOOK_S, Clock, Setbacks, steady_beside
from springhouse.engine.driver import Exchange, answer_options, refuse
from springhouse.engine.fence import Fence
from springhouse.engine.flights import Flight, Flights
from springhouse.engine.ports import Desk, Peers, Store, Upstream
from springhouse.engine.sinks import NOWHERE, Sink
from springhouse.exchange.flow import refresh, respond
from springhouse.exchange.reply import Reply
from springhouse.http.fields import CDN_LOOP, MAX_FORWARDS
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.rules.purging import NEVER_FRESH, Everything, Held, Keys, Purge, Receipt, variant_of
from springhouse.stores.errors import to_stderr
from springhouse.stores.leases import LockStatus
from springhouse.stores.tier import Purged
from springhouse.upstream.content import RequestContent
from springhouse.upstream.outbox import Outbox
from springhouse.upstream.routing import SCREENED, Origin, is_last_hop

_PORTS_MAX = 16


class Engine:
    """Store, upstream, flights and options of one origin."""

    def __init__(
        self,
        *,
        store: Store,
        pool: Upstream,
        origin: Origin,
        options: Options,
        clock: Clock,
        outbox: Outbox | None = None,
    ) -> None:
        self.store = store
        self.outbox = outbox or Outbox()
        self.pool = pool
        self.origin = origin
        self.options = options
        self.clock = clock
        self._setbacks = Setbacks(clock, steady_beside(clock))
        self._next_look: asyncio.TimerHandle | None = None
        self.flights = Flights()
        self.fence = Fence()
        self.peers: Peers | None = None
        """The other processes that share the port."""
        self.ports: set[int] = set()
        """Those that clients reach this proxy at; see `reached_at`."""
        self._desks: list[Desk] = []
        self._has_base = bool(origin.base)
        self._desk_targets: tuple[bytes, ...] = ()
        """What targets for a desk begin with: most requests are for none, and are only compared with this."""
        self.translate: Callable[[Reply], Reply] | None = None
        """Makes of any reply what those expect who use an older dialect."""
        store.on_foreign_purge = self._purged_elsewhere

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> Exchange:
        """Start answering a request; the sink gets the reply, perhaps before this returns."""
        key = self.origin.key(request)
        exchange = Exchange(self, request, key, content, sink)
        if request.bits & (CDN_LOOP | MAX_FORWARDS) and self._ends_here(request, sink):
            return exchange
        if self._has_base and not self.origin.holds(request.target):
            refuse(sink, 400, f"The target leads out of {self.origin.base.decode()}, or could be read so")
            return exchange
        if request.target.startswith(self._desk_targets) or request.method == b"PURGE":
            for desk in self._desks:
                if desk.takes(request):
                    return desk.handle(request, content, sink)
        if request.bits & SCREENED:
            self.pool.forwarding.screen(request)
        if not exchange.go_straight():
            exchange.run(respond(request, key, self.options), None)
        return exchange

    def _ends_here(self, request: Request, sink: Sink) -> bool:
        """Answer a request that is not forwarded any more; True when it was one."""
        if request.bits & CDN_LOOP and self.pool.forwarding.is_loop(request):
            refuse(sink, 508, "The request has come through this proxy before: its origin leads back here")
            return True
        if request.bits & MAX_FORWARDS and request.method == b"OPTIONS" and is_last_hop(request):
            answer_options(sink)
            return True
        return False

    def refresh(self, request: Request, key: bytes, entry: Entry) -> None:
        """Revalidate an entry that is served stale meanwhile, for no client."""
        Exchange(self, request, key, None, NOWHERE).run(refresh(request, key, entry, self.options), None)

    def reached_at(self, port: int) -> None:
        """Note a port that clients reach this proxy at. Only so many: some servers believe what clients say of it."""
        if len(self.ports) < _PORTS_MAX:
            self.ports.add(port)

    def add_desk(self, desk: Desk) -> None:
        """Let a desk answer what is for this proxy itself."""
        self._desks.append(desk)
        self._desk_targets += desk.targets

    def beside(self, pool: Upstream, origin: Origin, options: Options) -> "Engine":
        """Return an engine for another origin or other options, which shares store, flights and invalidations."""
        other = Engine(store=self.store, pool=pool, origin=origin, options=options, clock=self.clock)
        other.flights, other.fence, other.peers = self.flights, self.fence, self.peers
        self.store.on_foreign_purge = self._purged_elsewhere
        return other

    def open(self) -> None:
        """Open the store, on the thread of the running loop. Raises what it raises; nothing when it is open."""
        self.store.open()
        self._stop_looking()
        self._look_again_and_again()

    def close(self) -> None:
        """Release all connections to origins, and the store. It may be opened again."""
        self._let_go()
        self.store.close()

    async def aclose(self) -> None:
        """Do as `close`, and return when the store has written what it had to write."""
        self._let_go()
        await self.store.aclose()

    def _let_go(self) -> None:
        self._stop_looking()
        self.pool.close()
        for desk in self._desks:
            desk.close()

    # The clock.

    def look_at_clock(self) -> None:
        """Have everything that is stored validated before it is used again, if the wall clock was put back.

        By its instants it would seem younger than it is, by as much. What is under way is not stored.
        """
        back = self._setbacks.look()
        if back:
            to_stderr(f"the clock was put back by {back:.0f} s: what is stored is validated before it is used again")
            purge = Purge(Everything(), NEVER_FRESH)
            self.flights.uncacheable_until.clear()
            self._fence_off(purge)
            self.store.purge_everywhere(purge, _ignore)

    def _look_again_and_again(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(LOOK_S, self._look_again_and_again)
        self.look_at_clock()

    def _stop_looking(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    # Purging.

    def purge(self, purge: Purge, done: Purged, *, dry_run: bool = False) -> None:
        """Purge everywhere. Once `done` is called, no request that starts later is answered with what was purged.

        Neither from what is stored, nor from what is arriving, nor by a fetch that began before; in any process.
        `done` may be called before this returns.

        The other processes go first: what they were writing is in the store by then, and it counts what they held.
        """
        arriving = self._fence_off(purge, dry_run=dry_run)

        def go_on(others: Receipt, processes: int) -> None:
            def add(own: Receipt) -> None:
                done(_sum(own, others, 0 if self.store.is_shared else processes))

            self.store.purge_everywhere(purge, add, held=(*arriving, *others.held), dry_run=dry_run)

        if self.peers is None:
            go_on(Receipt(), 0)
        else:
            self.peers.purge(purge, go_on, dry_run=dry_run)

    def forget(self, key: bytes) -> None:
        """Purge a key everywhere, in a moment."""
        self.purge(Purge(Keys((key,))), lambda _: None)

    def apply(self, purge: Purge, dry_run: bool, answered: Purged) -> None:
        """Apply a purge that another process of this machine was asked for."""
        arriving = self._fence_off(purge, dry_run=dry_run)
        self.store.purge_here(purge, answered, held=arriving, dry_run=dry_run)

    def _purged_elsewhere(self, purge: Purge) -> None:
        self._fence_off(purge)

    def _fence_off(self, purge: Purge, *, dry_run: bool = False) -> list[Held]:
        """Keep what is under way from being shared or stored; return what of it others could have."""
        arriving = [
            Held(entry.key, variant_of(entry), entry.content.size) for entry in self.flights.selected(purge.what)
        ]
        if not dry_run:
            self.fence.raise_for(purge.what)
            for flight in self.flights.expel(purge.what):
                self.end_lease(flight)
        return arriving

    def end_lease(self, flight: Flight, told: LockStatus = LockStatus.DONE) -> None:
        """Let other processes fetch what a flight had the lease for, if it had one."""
        lease, flight.lease = flight.lease, None
        leases = self.store.leases
        if lease is not None and leases is not None:
            leases.release(lease, told)


def _sum(own: Receipt, others: Receipt, processes: int) -> Receipt:
    return Receipt(
        keys=own.keys + others.keys,
        entries=own.entries + others.entries,
        size=own.size + others.size,
        failure="; ".join(filter(None, (own.failure, others.failure))),
        processes=own.processes + processes,
    )


def _ignore(_: Receipt) -> None:
    pass
