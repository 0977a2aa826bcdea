"""Leases in Redis: of all nodes that miss a key, one fetches it and the others wait (decision 0012).

A lease is a key that expires, with a token that is greater than all before it. It is extended while its holder lives;
when the holder dies it lapses, and the next node that asks gets a new one. A holder that was only suspended may still
come back with its response: what it puts carries its token, and is refused because a later one was given.

When a key was looked up is remembered, by the server's clock. If a lease of the same variant has ended since, that
lookup may have missed what was stored: the answer is DONE, look again. A node waits for the token that it saw first.
Once another has the lease, the one it waited for is over: waiting for each in turn could go on without an end if none
of them stores anything.

Redis is asked for a lease only when memory has nothing fresh, once per process. Without Redis every node fetches.
"""

import asyncio
from binascii import hexlify
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from springhouse.http.memo import MIB, Recent, bound
from springhouse.rules.entry import Entry
from springhouse.stores.leases import Acquired, Lease, LockStatus, Waited
from springhouse.stores.redis.layout import KeyLayout
from springhouse.stores.redis.link import Link, RedisFailure, RedisRefused, ReplyTimer
from springhouse.stores.redis.scripts import ACQUIRE_LEASE, EXTEND_LEASE, LEASE_STATUS, RELEASE_LEASE, Script
from springhouse.stores.redis.tasks import InOrder, Work

_FIRST_LOOK_S: Final = 0.005
_SEEN: Final = bound("look-ups in Redis", MIB, "when keys were looked up in Redis")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLeaseLimits:
    """Times in seconds. `lease`: until one lapses that is not extended; `ask`: how long asking for one may take, more
    than a lookup because it may save a fetch; `patience`: how long to wait for another node's at most; `look`: the
    longest pause between two looks; `alone`: how long no node waits for a key that is not shareable; `longest`: how
    long a lease is extended at most, in case it is never released."""

    lease: float = 3.0
    ask: float = 0.25
    longest: float = 900.0
    patience: float = 10.0
    look: float = 0.1
    alone: float = 120.0


class RedisLeases:
    """The leases of one process."""

    def __init__(self, link: Link, layout: KeyLayout, limits: RedisLeaseLimits, *, in_order: InOrder) -> None:
        self._link = link
        self._layout = layout
        self._limits = limits
        self._in_order = in_order
        self._held: dict[bytes, dict[bytes, Lease]] = {}
        """By key and variant."""
        self._until: dict[Lease, float] = {}
        """When to extend a lease no longer."""
        self._seen: Recent[bytes, bytes] = Recent(_SEEN, lambda key, at: len(key) + len(at))
        """When each key was looked up last, by the server's clock."""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    def looked_up(self, key: bytes, at: bytes) -> None:
        """Record when a key was looked up."""
        self._seen.note(key, at)

    def acquire(self, key: bytes, variant: bytes, done: Acquired, *, since: float) -> LockStatus | None:
        """Ask for a lease; see Leasing. What its lookup may have missed follows from `looked_up`, not from `since`."""
        if variant in self._held.get(key, ()) or not self._link.is_up:
            return LockStatus.TRANSIENT_ERROR
        self._spawn(self._acquire(key, variant, done))
        return None

    def wait(self, key: bytes, variant: bytes, done: Waited) -> Callable[[], object]:
        """Wait while another node holds a lease; see Leasing."""
        return self._spawn(self._wait(key, variant, done)).cancel

    def release(self, lease: Lease, outcome: LockStatus = LockStatus.DONE) -> None:
        """Give a lease up, once what was put under its key is stored; see Leasing."""
        self._in_order(lease.key, self._release(lease, outcome))

    def of(self, entry: Entry) -> Lease | None:
        """Return the lease that this process has fetched an entry by, or else has for its key; None without any."""
        held = self._held.get(entry.key, _NONE)
        return next((lease for lease in held.values() if lease.entry is entry), held.get(b""))

    def _spawn(self, work: Work) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _acquire(self, key: bytes, variant: bytes, done: Acquired) -> None:
        waiting = [done]

        def give_up() -> None:
            self._link.was_slow()
            waiting.pop()(LockStatus.TRANSIENT_ERROR)

        timer = ReplyTimer(self._limits.ask, give_up)
        answer: Lease | LockStatus = LockStatus.TRANSIENT_ERROR
        try:
            seen = self._seen.get(key, b"")
            reply, token = await self._asked(ACQUIRE_LEASE, key, variant, int(1000 * self._limits.lease), seen)
            answer = _STATUSES.get(reply) or Lease(key, variant, token)
        except RedisFailure:
            pass  # counted where it happened
        finally:
            timer.cancel()
        if isinstance(answer, Lease) and not waiting:
            await self._release(answer, LockStatus.DONE)
            return
        if isinstance(answer, Lease):
            self._hold(answer)
        if waiting:
            waiting.pop()(answer)

    async def _asked(self, script: Script, key: bytes, variant: bytes, *more: int | bytes) -> tuple[bytes, int]:
        """Return what ACQUIRE_LEASE or LEASE_STATUS returns: a status or b"lease", and the token of whoever has it.

        Raises RedisFailure.
        """
        reply = await self._link.script(script, self._layout.base(key), lease_name(key, variant), *more)
        match reply:
            case [bytes(word), bytes(token)] if token.isdigit() and (word == b"lease" or word in _STATUSES):
                return word, int(token)
        raise RedisRefused("a script returned what it cannot return")

    def _hold(self, lease: Lease) -> None:
        self._held.setdefault(lease.key, {})[lease.variant] = lease
        self._until[lease] = self._loop.time() + self._limits.longest
        if self._keeper is None:
            self._keeper = self._spawn(self._keep())

    async def _wait(self, key: bytes, variant: bytes, done: Waited) -> None:
        until = self._loop.time() + self._limits.patience
        pause = _FIRST_LOOK_S
        answer, holder = LockStatus.WAITING, 0
        while answer is LockStatus.WAITING and self._link.is_up and self._loop.time() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._limits.look)
            try:
                reply, holder = await self._asked(LEASE_STATUS, key, variant, holder)
            except RedisFailure:
                continue  # no answer says nothing about the lease
            answer = _STATUSES.get(reply, LockStatus.DONE)
        done(answer if answer is not LockStatus.WAITING else LockStatus.TRANSIENT_ERROR)

    async def _release(self, lease: Lease, outcome: LockStatus) -> None:
        self._drop(lease)
        base = self._layout.base(lease.key)
        match outcome:
            case LockStatus.GIVE_UP:
                outcome_s = self._limits.alone
            case LockStatus.TRANSIENT_ERROR:
                outcome_s = 2 * self._limits.look
            case _:
                outcome_s = 0.0
        how = (lease.token, outcome.value, int(1000 * outcome_s))
        try:
            ended = await self._link.script(RELEASE_LEASE, base, lease_name(lease.key, lease.variant), *how)
        except RedisFailure:
            return  # it lapses
        if isinstance(ended, bytes) and ended != b"0":
            self.looked_up(lease.key, ended)  # this node knows what came of it

    async def _keep(self) -> None:
        """Extend what is held, until nothing is."""
        try:
            while self._held:
                await asyncio.sleep(self._limits.lease / 3)
                for lease in [lease for held in self._held.values() for lease in held.values()]:
                    await self._extend(lease)
        finally:
            self._keeper = None

    def _drop(self, lease: Lease) -> None:
        self._until.pop(lease, None)
        held = self._held.get(lease.key, _NONE)
        if held.get(lease.variant) is lease:
            del held[lease.variant]
            if not held:
                del self._held[lease.key]

    async def _extend(self, lease: Lease) -> None:
        if self._loop.time() > self._until.get(lease, 0.0):
            lease.is_lost = True
            self._drop(lease)
            return
        base = self._layout.base(lease.key)
        try:
            extended = await self._link.script(
                EXTEND_LEASE, base, lease_name(lease.key, lease.variant), lease.token, int(1000 * self._limits.lease)
            )
        except RedisFailure:
            return
        lease.is_lost = lease.is_lost or extended != 1

    async def close(self) -> None:
        """Stop waiting and extending; what is held lapses."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def lease_name(key: bytes, variant: bytes) -> bytes:
    """Return the name of a lease in Redis."""
    return b"%b %b" % (key, hexlify(variant)) if variant else key


_NONE: Final[dict[bytes, Lease]] = {}
_STATUSES: Final = {status.value.encode(): status for status in LockStatus}
