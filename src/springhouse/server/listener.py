"""Listens, keeps count of connections, and ends them: gracefully on a signal, late ones by a deadline."""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from springhouse.binding import CannotListen, make_way, why_not
from springhouse.engine.engine import Engine
from springhouse.engine.ports import LocalEndpoint
from springhouse.http.memo import KIB, Memo, bound
from springhouse.observe.accesslog import AccessLog
from springhouse.server import deadlines, draining
from springhouse.server.connection import Connection
from springhouse.server.deadlines import ClientTimeouts, Watch
from springhouse.wire.admission import Limits

_HOSTS: Final = bound("key prefixes", 512 * KIB, "Host values that proved valid, and how keys begin with them")

BACKLOG = 4096
COLLECT_S = 600.0
"""How often, at most, an idle process looks for cyclic garbage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What clients may do: sizes of requests, seconds to take, connections at once.

    `linger`: seconds in which a client that is still sending can read its answer before the connection closes.
    """

    request: Limits = field(default_factory=Limits)
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)
    connections: int = 10_000
    linger: float = 2.0


class Server:
    """The connections of one process."""

    def __init__(
        self, engine: Engine, limits: ServerLimits, *, access_log: AccessLog | None = None,
        names_of_ours: frozenset[bytes] = frozenset(), local: LocalEndpoint | None = None,
    ) -> None:  # fmt: skip
        """`local` answers all requests in the engine's place: neither what is stored nor an origin is reached then."""
        self.engine = engine
        self.handle = engine.handle if local is None else local.handle
        self.limits = limits
        self.access_log = access_log
        self.names_of_ours = names_of_ours
        self.clock = engine.clock
        self.records = engine.store.records if local is None else {}
        self.is_behind = engine.store.is_behind
        self.outbox = engine.outbox
        self.key_prefixes: Memo[bytes, bytes] = Memo(_HOSTS, engine.origin.key_prefix)
        """Host values that proved valid, and what keys of requests with them start with."""
        self.hits = 0
        """Answered by the hit guard."""
        self.is_draining = False
        self.connections: dict[Connection, Watch] = {}
        self.accepted = 0
        """Connections that were ever accepted."""
        self._listeners: list[asyncio.Server] = []
        self._unix_paths: list[Path] = []
        self._is_main = local is None
        self._sweep: asyncio.TimerHandle | None = None
        self._collected_at = 0.0

    # Listening.

    async def listen(self, host: str, port: int) -> int:
        """Listen on host and port (0: any free one); return the port. Raises CannotListen."""
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                lambda: Connection(self), host or None, port, backlog=BACKLOG, reuse_address=os.name != "nt"
            )
        except OSError as error:
            raise CannotListen(why_not(error, host, port)) from None
        self._listeners.append(listener)
        self._keep_sweeping()
        bound: int = listener.sockets[0].getsockname()[1]
        self.engine.reached_at(bound)
        return bound

    async def listen_unix(self, path: Path) -> None:
        """Listen on a Unix socket; one that nobody listens on any more is replaced. Raises CannotListen."""
        make_way(path)
        try:
            listener = await asyncio.get_running_loop().create_unix_server(
                lambda: Connection(self), path, backlog=BACKLOG
            )
        except OSError as error:
            raise CannotListen(f"Cannot listen on {path}: {error.strerror or error}") from None
        self._unix_paths.append(path)
        self._listeners.append(listener)
        self._keep_sweeping()

    async def listen_on(self, sockets: Iterable[socket.socket]) -> None:
        """Take connections from sockets that listen already; the path of a Unix socket is not ours to remove."""
        loop = asyncio.get_running_loop()
        stays: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        for each in sockets:
            if each.family == socket.AF_UNIX:
                made = loop.create_unix_server(lambda: Connection(self), sock=each, backlog=BACKLOG, **stays)
            else:
                self.engine.reached_at(each.getsockname()[1])
                made = loop.create_server(lambda: Connection(self), sock=each, backlog=BACKLOG)
            self._listeners.append(await made)
        self._keep_sweeping()

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
        late = await draining.drain(self, seconds)
        if self._sweep is not None:
            self._sweep.cancel()
        return late

    def begin_draining(self) -> None:
        """Let every reply from now on announce that its connection closes, those of the hit guard included."""
        self.is_draining = True
        self.records = {}  # the guard finds nothing, and the flow answers: the guard's heads are ready, without `close`

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        for listener in self._listeners:
            listener.close()
        for path in self._unix_paths:
            with contextlib.suppress(OSError):
                path.unlink()

    # Connections.

    def opened(self, connection: Connection) -> None:
        """Count a connection, or turn it away when there are too many."""
        self.accepted += 1
        self.connections[connection] = Watch(asyncio.get_running_loop().time())
        if len(self.connections) > self.limits.connections:
            connection.turn_away("There are too many connections; try again shortly")

    def closed(self, connection: Connection) -> None:
        """Count a connection no more."""
        self.connections.pop(connection, None)

    def linger(self, connection: Connection) -> None:
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
