"""The real server, listening on a free port, in a loop of its own within this process."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tests.support.client import Address, Client
from tests.support.loops import PATIENCE_S, LoopFactory, LoopThread, StandingLoop, uvloop_or_asyncio

from springhouse.endpoint import Endpoint
from springhouse.engine.clock import wall
from springhouse.server.listener import Server
from springhouse.server.single_process import limits_of
from springhouse.service import engine_of, own_authorities
from springhouse.settings import Settings
from springhouse.upstream.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.support.messages import Answer

    from springhouse.engine.clock import Clock
    from springhouse.engine.engine import Engine
    from springhouse.server.limits import ServerLimits

T = TypeVar("T")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that are no settings: how often late connections are looked for, and how long some of them are kept.

    None: as it is in production.
    """

    sweep: float | None = None
    grace: float | None = None
    origin_linger: float | None = None

    def set(self, engine: Engine, limits: ServerLimits) -> ServerLimits:
        """Set the pace of an engine's pool, and return the limits of its server with theirs."""
        pool, timeouts = engine.upstream, limits.timeouts
        assert isinstance(pool, Pool)
        origins, clients = (
            {"sweep": self.sweep, "linger": self.origin_linger},
            {"sweep": self.sweep, "grace": self.grace},
        )
        pool.limits = replace(pool.limits, **_given(origins))
        return replace(limits, timeouts=replace(timeouts, **_given(clients)))


BRISK = Pace(sweep=0.02)


def _given(seconds: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in seconds.items() if value is not None}


class Proxy:
    """A running proxy. Keyword arguments are settings; the port is a free one."""

    def __init__(
        self, origin: str, *, clock: Clock = wall, loop: LoopFactory = uvloop_or_asyncio, pace: Pace = Pace(),
        **settings: object
    ) -> None:  # fmt: skip
        self.settings = Settings(**{"origin": origin, "port": 0, **settings})
        self._thread = LoopThread(loop)
        self._clients: list[Client] = []
        self._is_closed = False
        try:
            self._thread.run(self._start(clock, pace))
        except BaseException:
            self._thread.close()
            raise

    async def _start(self, clock: Clock, pace: Pace) -> None:
        self.engine = engine_of(self.settings, clock)
        self.server = Server(self.engine, pace.set(self.engine, limits_of(self.settings)))
        self.engine.open()
        endpoint = Endpoint.open(self.settings.host, self.settings.port, self.settings.unix_socket)
        await self.server.listen(endpoint)
        self.address: Address
        if self.settings.unix_socket is not None:
            self.address = str(self.settings.unix_socket)
            return
        self.port = endpoint.port
        self.server.names_of_ours = own_authorities(self.settings, self.port, self.engine.origin)
        self.address = (self.settings.host, self.port)
        self.authority = f"{self.settings.host}:{self.port}"

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close(was_well=error is None)

    def connect(self, *, timeout: float = 10.0, receive_buffer: int | None = None) -> Client:
        """Return a new connection; it is closed with the proxy at the latest."""
        client = Client(self.address, timeout=timeout, receive_buffer=receive_buffer)
        self._clients.append(client)
        return client

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send one request on a connection of its own and return the answer; see `messages.request`."""
        with Client(self.address) as client:
            return client.ask(method, target, body, **fields)

    def get(self, target: str, **fields: object) -> Answer:
        """GET on a connection of its own."""
        return self.ask("GET", target, **fields)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in the loop of the proxy."""
        return self._thread.call(function)

    def await_that(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that is looked at in the loop of the proxy."""
        end = time.monotonic() + PATIENCE_S
        while not self.call(holds):
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.005)

    def pass_time(self, seconds: float) -> None:
        """Let so much time pass in the proxy, whose loop must be a `StandingLoop`, and do what that calls for."""
        loop = self._thread.loop
        assert isinstance(loop, StandingLoop)
        self._thread.run(loop.pass_time(seconds))

    def await_connections(self, count: int) -> None:
        """Wait until exactly so many client connections are open."""
        self.await_that(lambda: len(self.server.connections) == count)

    def await_heard(self) -> None:
        """Wait until every client that is connected has sent something that is being answered or was."""
        count = sum(not client.is_closed for client in self._clients)

        def all_heard() -> bool:
            heard = [c for c in self.server.connections if c.is_busy or c.writer.sent]
            return len(heard) >= count

        self.await_that(all_heard)

    def await_heard_from(self, client: Client) -> None:
        """Wait until a client's request is being answered."""
        ours = client.socket.getsockname()

        def heard() -> bool:
            return any(
                c.is_busy for c in self.server.connections if c.transport.get_extra_info("peername")[:2] == ours[:2]
            )

        self.await_that(heard)

    @property
    def reserved(self) -> int:
        """Bytes of memory that are counted for content that is arriving."""
        store = self.engine.store
        memory = getattr(store, "memory", store)
        reserved: int = memory.used - sum(record.cost for record in memory.records.values())
        return reserved

    def held_back(self) -> dict[str, int]:
        """Return the bytes of content that wait in the proxy's memory for clients, by client."""
        return self.call(lambda: {repr(c): c.transport.get_write_buffer_size() for c in self.server.connections})

    def close(self, *, was_well: bool = True) -> None:
        """End everything, once. What went wrong in the loop unseen, and what was left behind, is raised here."""
        if self._is_closed:
            return
        self._is_closed = True
        for client in self._clients:
            client.close()
        self._settle(lambda: "connecting" if self.engine.upstream._connecting else "")
        self._thread.run(self.server.drain(0.0))
        left = self._settle(self._counted)
        self._thread.close()
        if was_well:
            assert not self._thread.errors, f"in the proxy: {self._thread.errors}"
            assert not left, f"left behind: {left}"

    def _settle(self, left: Callable[[], str]) -> str:
        """Return what is still left although it has been given a moment to go."""
        end = time.monotonic() + 1.0
        while still := self.call(left):
            if time.monotonic() > end:
                return still
            time.sleep(0.01)
        return ""

    def _counted(self) -> str:
        engine = self.engine
        arriving = self.reserved
        counted = {
            "connections": len(self.server.connections),
            "flights": len(engine.flights.by_key),
            "calls": len(engine.upstream.calls),
            "origin connections": engine.upstream.open,
            "bytes reserved": arriving,
        }
        return ", ".join(f"{count} {what}" for what, count in counted.items() if count)
