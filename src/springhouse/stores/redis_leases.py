"""A lease for a cold key: of all nodes that miss it, one fetches it and the others wait (decision 0012).

A lease is a key that expires, with a token that is greater than all before it. It is extended while its holder lives;
when the holder dies it lapses, and the next to ask gets a new one. A holder that was only asleep may then still come
back with its response: what it puts carries its token, and is refused because a later one was given.

Each lookup notes whether the key's lease is held, and if not, the token of the last. When a lease has ended between a
lookup and asking for one, that lookup may have missed what came of it: the answer is FREE, look again.

Redis is asked for a lease only when memory has nothing fresh, once for each process. Without Redis everybody fetches.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from springhouse.http.memo import MIB, Recent, bound
from springhouse.stores.leasing import Acquired, Lease, Verdict, Waited
from springhouse.stores.redis_layout import Layout
from springhouse.stores.redis_link import Away, Link, Patience, Refused
from springhouse.stores.redis_scripts import ACQUIRE, EXTEND, RELEASE

_FIRST_LOOK_S: Final = 0.005
_SEEN: Final = bound("leases seen", MIB, "how the leases of keys stood in Redis when these were looked up")


InOrder = Callable[[bytes, Coroutine[Any, Any, None]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLimits:
    """Times in seconds. `lease`: until one lapses that is not extended; `ask`: how long asking for one may take, more
    than a lookup, for it may save a fetch; `patience`: how long to wait for another's at most; `look`: how often at
    the least; `alone`: how long nobody waits for a key that is not shareable; `longest`: how long a lease is extended,
    so that one that is never released does not last for ever."""

    lease: float = 3.0
    ask: float = 0.25
    longest: float = 900.0
    patience: float = 10.0
    look: float = 0.1
    alone: float = 120.0


class Leases:
    """The leases of one process. `in_order` does something about a key after all that was asked for it before."""

    def __init__(self, link: Link, layout: Layout, limits: LeaseLimits, *, in_order: InOrder) -> None:
        self._link = link
        self._layout = layout
        self._limits = limits
        self._in_order = in_order
        self._held: dict[bytes, Lease] = {}
        self._until: dict[Lease, float] = {}
        """When to extend a lease no longer."""
        self._seen: Recent[bytes, bytes] = Recent(_SEEN, lambda key, standing: len(key) + len(standing))
        """How the lease of a key stood when it was looked up, until it is asked for."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    def saw(self, key: bytes, standing: bytes) -> None:
        """Note how the lease of a key stood when it was looked up: held, or the last token that was given."""
        self._seen.note(key, standing)

    def acquire(self, key: bytes, done: Acquired, *, since: float) -> Verdict | None:
        """Ask for the lease of a key; see Leasing. Not `since` tells what its look-up may have missed, but `saw`."""
        if key in self._held or not self._link.is_up:
            return Verdict.WITHOUT
        self._spawn(self._acquire(key, done))
        return None

    def wait(self, key: bytes, done: Waited) -> Callable[[], object]:
        """Wait while another node holds the lease of a key; see Leasing."""
        return self._spawn(self._wait(key, done)).cancel

    def release(self, lease: Lease, told: Verdict = Verdict.FREE) -> None:
        """Give a lease up, once what was put under its key is stored; see Leasing."""
        self._in_order(lease.key, self._release(lease, told))

    def token(self, key: bytes) -> int:
        """Return the token of the lease that this process has for a key; 0 when it has none."""
        lease = self._held.get(key)
        return lease.token if lease is not None else 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _acquire(self, key: bytes, done: Acquired) -> None:
        waiting = [done]

        def lose_patience() -> None:
            self._link.was_slow()
            waiting.pop()(Verdict.WITHOUT)

        timer = Patience(self._limits.ask, lose_patience)
        answer: Lease | Verdict = Verdict.WITHOUT
        try:
            answer = await self._asked(key, self._limits.lease)
        except (Away, Refused):
            pass  # counted where it happened
        finally:
            timer.cancel()
        if isinstance(answer, Lease) and not waiting:
            await self._release(answer, Verdict.FREE)
            return
        if isinstance(answer, Lease):
            self._hold(answer)
        if waiting:
            waiting.pop()(answer)

    async def _asked(self, key: bytes, seconds: float) -> Lease | Verdict:
        """Return how the key stands, or a lease that was given for so many seconds. Raises Away and Refused."""
        base = self._layout.base(key)
        seen = self._seen.get(key, b"") if seconds else b""
        if seconds:
            self._seen.drop(key)
        reply = await self._link.script(ACQUIRE, base, base, key, int(1000 * seconds), seen)
        if reply in _VERDICTS:
            return _VERDICTS[reply]
        try:
            return Lease(key, int(reply))
        except (TypeError, ValueError):
            raise Refused("a script returned what it cannot return") from None

    def _hold(self, lease: Lease) -> None:
        self._held[lease.key] = lease
        self._until[lease] = self._loop.time() + self._limits.longest
        if self._keeper is None:
            self._keeper = self._spawn(self._keep())

    async def _wait(self, key: bytes, done: Waited) -> None:
        until = self._loop.time() + self._limits.patience
        pause = _FIRST_LOOK_S
        answer: Lease | Verdict = Verdict.HELD
        while answer is Verdict.HELD and self._link.is_up and self._loop.time() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._limits.look)
            try:
                answer = await self._asked(key, 0)
            except (Away, Refused):
                continue  # one that is not answered says nothing
        done(answer if isinstance(answer, Verdict) and answer is not Verdict.HELD else Verdict.WITHOUT)

    async def _release(self, lease: Lease, told: Verdict) -> None:
        self._drop(lease)
        base = self._layout.base(lease.key)
        lasts = {Verdict.ALONE: self._limits.alone, Verdict.WITHOUT: 2 * self._limits.look}.get(told, 0)
        try:
            await self._link.script(RELEASE, base, base, lease.key, lease.token, told.value, int(1000 * lasts))
        except (Away, Refused):
            return  # it lapses by itself

    async def _keep(self) -> None:
        """Extend what is held, as long as anything is."""
        try:
            while self._held:
                await asyncio.sleep(self._limits.lease / 3)
                for lease in list(self._held.values()):
                    await self._extend(lease)
        finally:
            self._keeper = None

    def _drop(self, lease: Lease) -> None:
        self._until.pop(lease, None)
        if self._held.get(lease.key) is lease:
            del self._held[lease.key]

    async def _extend(self, lease: Lease) -> None:
        if self._loop.time() > self._until.get(lease, 0.0):
            lease.is_lost = True
            self._drop(lease)
            return
        base = self._layout.base(lease.key)
        try:
            extended = await self._link.script(
                EXTEND, base, base, lease.key, lease.token, int(1000 * self._limits.lease)
            )
        except (Away, Refused):
            return
        lease.is_lost = lease.is_lost or extended != 1

    async def close(self) -> None:
        """Wait for nothing any more; what is held lapses."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


_VERDICTS: Final = {verdict.value.encode(): verdict for verdict in Verdict}
