"""Listens, keeps count of connections, and ends them: gracefully on a signal, late ones by a deadline."""

import asyncio
import gc
import sys
from typing import Any, Final

from springhouse.endpoint import Endpoint
from springhouse.engine.engine import Engine
from springhouse.engine.ports import LocalEndpoint
from springhouse.http.memo import KIB, Memo, bound
from springhouse.observe.accesslog import AccessLog
from springhouse.server import deadlines
from springhouse.server.connection import ClientConnection
from springhouse.server.deadlines import Watch
from springhouse.server.draining import drain_connections
from springhouse.server.limits import ServerLimits
from springhouse.server.turns import Handle

_HOSTS: Final = bound("key prefixes", 512 * KIB, "Host values that proved valid, and how keys begin with them")

COLLECT_S = 600.0
"""How often, at most, an idle process looks for cyclic garbage."""


class Server:
    """The connections of one process."""

    def __init__(
        self, engine: Engine, limits: ServerLimits, *, access_log: AccessLog | None = None,
        names_of_ours: frozenset[bytes] = frozenset(), local: LocalEndpoint | None = None,
    ) -> None:  # fmt: skip
        """`local` answers all requests in the engine's place: neither what is stored nor an origin is reached then."""
        self.engine = engine
        self.handle: Handle = engine.handle if local is None else local.handle
        self.limits = limits
        self.access_log = access_log
        self.names_of_ours = names_of_ours
        self.clock = engine.clock
        self.records = engine.store.records if local is None else {}
        self.is_behind = engine.store.is_behind
        self.outbox = engine.outbox
        self.key_prefix = engine.origin.key_prefix
        self.key_prefixes: Memo[bytes, bytes] = Memo(_HOSTS, self.key_prefix)
        """Host values that proved valid, and what keys of requests with them start with."""
        self.hits = 0
        """Answered by the hit guard."""
        self.is_draining = False
        self.connections: dict[ClientConnection, Watch] = {}
        self.accepted = 0
        """Connections that were ever accepted."""
        self._listeners: list[asyncio.Server] = []
        self._endpoints: list[Endpoint] = []
        self._is_main = local is None
        self._sweep: asyncio.TimerHandle | None = None
        self._collected_at = 0.0

    # Listening.

    async def listen(self, endpoint: Endpoint) -> None:
        """Take connections from an endpoint, until it is removed by `stop_listening`."""
        loop = asyncio.get_running_loop()
        stays: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        for each in endpoint.sockets:
            if endpoint.path is not None:
                made = loop.create_unix_server(self._accepted, sock=each, backlog=endpoint.backlog, **stays)
            else:
                made = loop.create_server(self._accepted, sock=each, backlog=endpoint.backlog)
            self._listeners.append(await made)
        self._endpoints.append(endpoint)
        if endpoint.port:
            self.engine.reached_at(endpoint.port)
        self._keep_sweeping()

    def _accepted(self) -> ClientConnection:
        return ClientConnection(self)

    async def drain(self, seconds: float, *beside: "Server") -> int:
        """Take no more connections, finish what runs, and break off what is not done in time; return how many.

        `beside`: other servers of the same engine, which end with it.
        """
        late = await asyncio.gather(*(each.stop(seconds) for each in (self, *beside)))
        await self.engine.aclose()
        await asyncio.sleep(0)
        return sum(late)

    async def stop(self, seconds: float) -> int:
        """Do so, and leave the engine as it is."""
        late = await drain_connections(self, seconds)
        if self._sweep is not None:
            self._sweep.cancel()
        return late

    def begin_draining(self) -> None:
        """Let every reply from now on announce that its connection closes, those of the hit guard included."""
        self.is_draining = True
        self.records = {}  # the guard finds nothing, and the flow answers: the guard's heads are ready, without `close`

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        for endpoint in self._endpoints:
            endpoint.remove()
        for listener in self._listeners:
            listener.close()

    # Connections.

    def opened(self, connection: ClientConnection) -> None:
        """Count a connection, or turn it away when there are too many."""
        self.accepted += 1
        self.connections[connection] = Watch(asyncio.get_running_loop().time())
        if len(self.connections) > self.limits.connections:
            connection.turn_away("There are too many connections; try again shortly")

    def closed(self, connection: ClientConnection) -> None:
        """Count a connection no more."""
        self.connections.pop(connection, None)

    def linger(self, connection: ClientConnection) -> None:
        """Close a connection after a moment in which its client can read the answer."""
        asyncio.get_running_loop().call_later(self.limits.linger, connection.transport.close)

    def _keep_sweeping(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self.limits.timeouts.sweep, self._look_at_all)

    def _look_at_all(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._sweep = loop.call_later(
            self.limits.timeouts.sweep, self._look_at_all
        )  # first: whatever happens, there is a next
        for connection, watch in list(self.connections.items()):
            deadlines.look(connection, watch, self.limits.timeouts, now)
        if (
            self._is_main
            and now - self._collected_at > COLLECT_S
            and not any(connection.is_busy for connection in self.connections)
        ):
            self._collected_at = now
            gc.collect()
