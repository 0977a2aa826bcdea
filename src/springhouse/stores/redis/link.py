"""Talking to Redis: one client, how long it may take, and what its failures mean.

Every command has a limit, after which it is cancelled. A caller may give up on it sooner, which counts as a failure
even if it succeeds later, so that a slow Redis opens the circuit breaker like a dead one. While the breaker is open a
task probes until Redis is back: no request is ever the probe.

Exceptions of redis-py end here and become one of two. RedisUnavailable: not reached, or not in time. RedisRefused: it
answered with an error (out of memory, read-only, no permission), which is no reason to leave it alone, because lookups
may still succeed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions as foreign

from springhouse.stores.errors import StoreErrors
from springhouse.stores.redis.address import Address
from springhouse.stores.redis.breaker import CircuitBreaker
from springhouse.stores.redis.scripts import Script

Argument = bytes | str | int | float


class RedisFailure(Exception):
    """A command failed. It has been counted and reported already."""


class RedisUnavailable(RedisFailure):
    """Redis cannot be reached, or not in time."""


class RedisRefused(RedisFailure):
    """Redis answered with an error; the text is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Times in seconds. `patience`: for a lookup; `limit`: for any command, and for connecting. `connections`: to
    each server; `waiting`: commands that may wait for one; `failures` in a row open the breaker for `rest`."""

    patience: float = 0.05
    limit: float = 1.0
    connections: int = 16
    waiting: int = 512
    failures: int = 5
    rest: float = 0.5


class ReplyTimer:
    """Calls `give_up` after some seconds. If this process was too busy to notice in time it waits again, a few times:
    the reply may have arrived and be waiting in the socket."""

    __slots__ = ("_again", "_due", "_give_up", "_handle", "_loop", "_seconds")

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._give_up = give_up
        self._again = _AGAIN
        self._wait()

    def _wait(self) -> None:
        self._due = self._loop.time() + self._seconds
        self._handle = self._loop.call_at(self._due, self._ended)

    def _ended(self) -> None:
        if self._again and self._loop.time() - self._due > self._seconds / 4:
            self._again -= 1
            self._wait()
        else:
            self._give_up()

    def cancel(self) -> None:
        """Do not call it."""
        self._handle.cancel()


_AGAIN: Final = 3
_PASSING: Final = (
    foreign.ClusterDownError,
    foreign.MasterDownError,
    foreign.TryAgainError,
    foreign.AskError,
    foreign.MovedError,
)
"""Errors of a cluster or server that is changing, which redis-py has retried in vain."""


class Link:
    """A client for one address. Used on the thread of one event loop, which must run when it is made."""

    def __init__(self, address: Address, limits: LinkLimits, errors: StoreErrors, *, probe: bytes) -> None:
        self.limits = limits
        self.errors = errors
        self._address = address
        self._probe_key = probe
        self._loop = asyncio.get_running_loop()
        self._client = address.client(connections=limits.connections, connect_s=limits.limit)
        self._slots = asyncio.Semaphore(limits.connections)
        self._waiting = 0
        self._breaker = CircuitBreaker(limits.failures, limits.rest)
        self._prober = self._loop.create_task(self._begin())

    @property
    def is_up(self) -> bool:
        """Whether commands are sent at all."""
        return self._breaker.is_closed

    async def script(self, script: Script, base: bytes, *arguments: Argument) -> Any:
        """Run a script on the names that begin with `base`. Raises RedisFailure."""
        return await self._guarded(self._evaluated(script, base, arguments))

    async def command(self, *command: Argument) -> Any:
        """Send a command. Raises RedisFailure."""
        return await self._guarded(self._sent(*command))

    async def attempt(self, script: Script, base: bytes, *arguments: Argument) -> Any:
        """Run a script without the breaker: even if it is open, and without counting a failure. Raises RedisFailure."""
        return await self._limited(self._evaluated(script, base, arguments), self.limits.limit)

    async def wait_for(self, *command: Argument, limit: float) -> Any:
        """Send a command that may take that many seconds, without the breaker. Raises RedisFailure."""
        return await self._limited(self._sent(*command), limit)

    def was_slow(self) -> None:
        """Count a failure because a caller has given up on a command that is still in flight."""
        self.errors.report("slow", f"Redis at {self._address} is slow to answer; requests go to the origin")
        self._failed()

    async def close(self) -> None:
        """Close all connections."""
        self._prober.cancel()
        await asyncio.gather(self._prober, return_exceptions=True)
        try:
            async with asyncio.timeout(self.limits.limit):
                await self._client.aclose()
        except Exception as error:  # whatever goes wrong: it is over
            self.errors.report("close", f"Redis at {self._address}: {error!r} on closing")

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        if not self._breaker.is_closed or self._waiting >= self.limits.waiting:
            work.close()
            self.errors.counts["away" if self._waiting < self.limits.waiting else "crowded"] += 1
            raise RedisUnavailable(f"Redis at {self._address} is not asked while it rests")
        self._waiting += 1
        began = self._loop.time()
        try:
            reply = await self._limited(work, self.limits.limit)
        except RedisUnavailable:
            self._failed()
            raise
        finally:
            self._waiting -= 1
        if self._loop.time() - began <= self.limits.patience:
            self._breaker.succeeded()
        return reply

    async def _limited(self, work: Coroutine[Any, Any, Any], limit: float) -> Any:
        try:
            async with asyncio.timeout(limit):
                return await work
        except Exception as error:
            raise self._translated(error) from None
        finally:
            work.close()

    async def _evaluated(self, script: Script, base: bytes, arguments: tuple[Argument, ...]) -> Any:
        async with self._slots:
            try:
                return await self._client.execute_command("EVALSHA", script.digest, 1, base, *arguments)
            except foreign.NoScriptError:
                return await self._client.execute_command("EVAL", script.text, 1, base, *arguments)

    async def _sent(self, *command: Argument) -> Any:
        async with self._slots:
            return await self._client.execute_command(*command)

    def _translated(self, error: Exception) -> RedisFailure:
        kind, text = _kind_of(error), _text_of(error)
        self.errors.report(kind, f"Redis at {self._address} {_WORDS[kind].format(text)}; requests go to the origin")
        if isinstance(error, foreign.ResponseError) and not isinstance(error, _PASSING):
            return RedisRefused(text)
        return RedisUnavailable(text)

    def _failed(self) -> None:
        if self._breaker.failed(self._loop.time()) and self._prober.done():
            self._prober = self._loop.create_task(self._come_back())

    async def _begin(self) -> None:
        """Connect in advance. Requests need not wait for this: they connect by themselves."""
        if not await self._answers() and self._breaker.is_closed:
            self._breaker.open(self._loop.time())
        if not self._breaker.is_closed:
            await self._come_back()

    async def _come_back(self) -> None:
        """Probe until Redis answers."""
        while not self._breaker.is_closed:
            await asyncio.sleep(self._breaker.rests_for(self._loop.time()))
            if self._breaker.may_probe(self._loop.time()):
                if await self._answers():
                    self._breaker.succeeded()
                else:
                    self._breaker.failed(self._loop.time())
        self.errors.note(f"Redis at {self._address} answers again")

    async def _answers(self) -> bool:
        try:
            await self._limited(self._sent("GET", self._probe_key), self.limits.limit)
        except RedisFailure:
            return False
        return True


_WORDS: Final = {
    "password": "does not accept user name and password ({})",
    "memory": "is out of memory and stores nothing ({})",
    "readonly": "is read-only, a replica perhaps, and stores nothing ({})",
    "loading": "is loading its data ({})",
    "late": "does not answer in time ({})",
    "certificate": "shows a certificate that is not trusted ({})",
    "refused": "refuses a command ({})",
    "away": "cannot be reached ({})",
}


def _kind_of(error: Exception) -> str:
    text = str(error)
    match error:
        case foreign.AuthenticationError() | foreign.AuthorizationError() | foreign.NoPermissionError():
            return "password"
        case foreign.ResponseError() if text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
            return "password"
        case foreign.BusyLoadingError():
            return "loading"
        case foreign.OutOfMemoryError():
            return "memory"
        case foreign.ReadOnlyError():
            return "readonly"
        case foreign.ResponseError() if not isinstance(error, _PASSING):
            return "memory" if "OOM" in text else "readonly" if "READONLY" in text else "refused"
        case foreign.TimeoutError() | TimeoutError():
            return "late"
    return "certificate" if "CERTIFICATE_VERIFY_FAILED" in text else "away"


def _text_of(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
