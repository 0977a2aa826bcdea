"""Talking to Redis: one client, how long it may take, and what its failures mean.

Every command has a limit, after which it is broken off. Whoever waits for it may lose patience sooner, which counts as
a failure even when it succeeds later, so that a slow Redis opens the breaker like a dead one. An open breaker is looked
after by a task of its own, that probes until Redis is back: no request is ever the probe.

Foreign exceptions end here. `Away`: not reached, or not in time; `Refused`: reached, and it said no (out of memory,
read-only, no permission), which is no reason to leave it alone: lookups may still succeed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final

from redis import exceptions as foreign

from springhouse.stores.errors import StoreErrors
from springhouse.stores.redis.address import Address
from springhouse.stores.redis.breaker import Breaker

Argument = bytes | str | int | float


class Away(Exception):
    """Redis cannot be reached, or not in time."""


class Refused(Exception):
    """Redis answered with an error; the text is its own."""


class Script:
    """A Lua script, called by its digest."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


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


class RedisTimeouts:
    """Calls `lost` after so many seconds. If this process was too busy to notice in time it waits again, a few times:
    then what it waited for may have come, and lies in the socket."""

    __slots__ = ("_again", "_due", "_handle", "_loop", "_lost", "_seconds")

    def __init__(self, seconds: float, lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._lost = lost
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
            self._lost()

    def cancel(self) -> None:
        """Have patience for ever."""
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
        self._address = address
        self._errors = errors
        self._probe_key = probe
        self._loop = asyncio.get_running_loop()
        self._client = address.client(connections=limits.connections, connect_s=limits.limit)
        self._slots = asyncio.Semaphore(limits.connections)
        self._waiting = 0
        self._breaker = Breaker(limits.failures, limits.rest)
        self._prober = self._loop.create_task(self._begin())

    @property
    def is_up(self) -> bool:
        """Say whether commands are sent at all."""
        return self._breaker.is_closed

    async def script(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Run a script that works in the slot of the key. Raises Away and Refused."""
        return await self._guarded(self._evaluated(script, key, arguments))

    async def command(self, *command: Argument) -> Any:
        """Send a command. Raises Away and Refused."""
        return await self._guarded(self._sent(*command))

    async def attempt(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        """Run a script whatever the breaker says, and do not tell it. Raises Away and Refused."""
        return await self._limited(self._evaluated(script, key, arguments), self.limits.limit)

    async def wait_for(self, *command: Argument, limit: float) -> Any:
        """Send a command that may take that many seconds, as `attempt` does. Raises Away and Refused."""
        return await self._limited(self._sent(*command), limit)

    def was_slow(self) -> None:
        """Note that somebody lost patience with a command that is still under way."""
        self._errors.report("slow", f"Redis at {self._address} is slow to answer; requests go to the origin")
        self._failed()

    async def close(self) -> None:
        """Close all connections."""
        self._prober.cancel()
        await asyncio.gather(self._prober, return_exceptions=True)
        try:
            async with asyncio.timeout(self.limits.limit):
                await self._client.aclose()
        except Exception as error:  # whatever goes wrong: it is over
            self._errors.report("close", f"Redis at {self._address}: {error!r} on closing")

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> Any:
        if not self._breaker.is_closed or self._waiting >= self.limits.waiting:
            work.close()
            self._errors.counts["away" if self._waiting < self.limits.waiting else "crowded"] += 1
            raise Away(f"Redis at {self._address} is left alone for a moment")
        self._waiting += 1
        began = self._loop.time()
        try:
            reply = await self._limited(work, self.limits.limit)
        except Away:
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
            raise self._in_our_words(error) from None
        finally:
            work.close()

    async def _evaluated(self, script: Script, key: bytes, arguments: tuple[Argument, ...]) -> Any:
        async with self._slots:
            try:
                return await self._client.execute_command("EVALSHA", script.digest, 1, key, *arguments)
            except foreign.NoScriptError:
                return await self._client.execute_command("EVAL", script.text, 1, key, *arguments)

    async def _sent(self, *command: Argument) -> Any:
        async with self._slots:
            return await self._client.execute_command(*command)

    def _in_our_words(self, error: Exception) -> Away | Refused:
        kind, text = _kind_of(error), _text_of(error)
        self._errors.report(kind, f"Redis at {self._address} {_WORDS[kind].format(text)}; requests go to the origin")
        if isinstance(error, foreign.ResponseError) and not isinstance(error, _PASSING):
            return Refused(text)
        return Away(text)

    def _failed(self) -> None:
        if self._breaker.failed(self._loop.time()) and self._prober.done():
            self._prober = self._loop.create_task(self._come_back())

    async def _begin(self) -> None:
        """Connect, while requests try the same: they need not miss because nobody has connected before them."""
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
        self._errors.note(f"Redis at {self._address} answers again")

    async def _answers(self) -> bool:
        try:
            await self._limited(self._sent("GET", self._probe_key), self.limits.limit)
        except (Away, Refused):
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
