"""What is kept, for all engines that share it: the store, who fetches what, and purges.

A purge reaches four places: other processes of this machine (`peers`), what is arriving (`flights`), what began to be
fetched before it (`fence`), and what is stored (`store`). The wall clock being put back is treated as one more purge.
"""

import asyncio

from springhouse.engine.clock import LOOK_S, Clock, Setbacks, steady_beside
from springhouse.engine.fence import Fence
from springhouse.engine.flights import Flight, Flights
from springhouse.engine.ports import Peers
from springhouse.rules.purging import NEVER_FRESH, Everything, Held, Purge, Receipt, variant_of
from springhouse.stores.errors import to_stderr
from springhouse.stores.leases import LockStatus
from springhouse.stores.store import Scope, Store
from springhouse.stores.tier import Purged


class Cache:
    """Entries, fetches in progress and purges; one or more engines answer from it.

    `peers`: the other processes that share the port; whoever knows them has them purge with the scope HERE.
    """

    __slots__ = ("_next_look", "_setbacks", "clock", "fence", "flights", "peers", "store")

    def __init__(self, *, store: Store, clock: Clock, peers: Peers | None = None) -> None:
        self.store = store
        self.clock = clock
        self.peers = peers
        self.flights = Flights()
        self.fence = Fence()
        self._setbacks = Setbacks(clock, steady_beside(clock))
        self._next_look: asyncio.TimerHandle | None = None
        store.on_foreign_purge = self._purged_elsewhere

    def open(self) -> None:
        """Open the store, on the thread of the running loop. Raises what it raises; does nothing when it is open."""
        self.store.open()
        self._stop_looking()
        self._look_again_and_again()

    def close(self) -> None:
        """Release the store. It may be opened again."""
        self._stop_looking()
        self.store.close()

    async def aclose(self) -> None:
        """Do as `close`, and return when the store has written what it had to write."""
        self._stop_looking()
        await self.store.aclose()

    # The clock.

    def look_at_clock(self) -> None:
        """If the wall clock was put back, have everything that is stored validated before it is used again.

        By its instants it would seem younger than it is, by as much. What is arriving is not stored.
        """
        back = self._setbacks.look()
        if back:
            to_stderr(f"the clock was put back by {back:.0f} s: what is stored is validated before it is used again")
            purge = Purge(Everything(), NEVER_FRESH)
            self.flights.uncacheable_until.clear()
            self._fence_off(purge)
            self.store.purge(purge, _ignore)

    def _look_again_and_again(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(LOOK_S, self._look_again_and_again)
        self.look_at_clock()

    def _stop_looking(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    # Purging.

    def purge(
        self, purge: Purge, done: Purged | None = None, *, scope: Scope = Scope.EVERYWHERE, dry_run: bool = False
    ) -> None:
        """Purge. Once `done` is called, no request that starts later is answered with what was purged.

        Neither from what is stored, nor from what is arriving, nor by a fetch that began before; in any process, or in
        this one if the scope is HERE: another process of this machine was asked for the purge then. `done` may be
        called before this returns.

        The other processes go first: what they were writing is in the store by then, and it counts what they held.
        """
        done = done or _ignore
        arriving = self._fence_off(purge, dry_run=dry_run)
        if scope is Scope.HERE:
            self.store.purge(purge, done, scope=scope, held=arriving, dry_run=dry_run)
            return

        def go_on(others: Receipt, processes: int) -> None:
            def add(own: Receipt) -> None:
                done(_sum(own, others, 0 if self.store.is_shared else processes))

            self.store.purge(purge, add, held=(*arriving, *others.held), dry_run=dry_run)

        if self.peers is None:
            go_on(Receipt(), 0)
        else:
            self.peers.purge(purge, go_on, dry_run=dry_run)

    def _purged_elsewhere(self, purge: Purge) -> None:
        self._fence_off(purge)

    def _fence_off(self, purge: Purge, *, dry_run: bool = False) -> list[Held]:
        """Keep what is arriving from being shared or stored; return what of it others could have."""
        arriving = [
            Held(entry.key, variant_of(entry), len(entry.content)) for entry in self.flights.selected(purge.what)
        ]
        if not dry_run:
            self.fence.raise_for(purge.what)
            for flight in self.flights.expel(purge.what):
                self.end_lease(flight)
        return arriving

    def end_lease(self, flight: Flight, status: LockStatus = LockStatus.DONE) -> None:
        """Let other processes fetch what a flight had the lease for, if it had one."""
        lease, flight.lease = flight.lease, None
        leases = self.store.leases
        if lease is not None and leases is not None:
            leases.release(lease, status)


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
