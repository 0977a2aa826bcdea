"""Draining: every request that was sent is answered, and every connection closed, within a limit.

A client may send a request at the very moment at which its idle connection is closed, and then gets a reset instead of
an answer. HTTP/1.1 has one way to tell it beforehand, `Connection: close` on a reply (RFC 9112 §9.6), so

1. every reply that begins from now on says it, and its connection closes behind it;
2. connections that wait in the listening sockets are taken before these close;
3. an idle connection, which could not be told anything, stays open for `_LINGER_S` more. A request that comes on it is
   answered as in 1. It is not closed while bytes of the client are still unread.
"""

import asyncio
import sys
from collections.abc import Collection
from typing import Protocol

from springhouse.server.connection import ClientConnection
from springhouse.server.writer import reset

_LINGER_S = 1.0
"""How long an idle connection stays open: longer than a request needs to arrive, shorter than people mind waiting."""
_TICK_S = 0.02
_TURNS = 3
"""Turns of the event loop without a new connection after which none waits; uvloop takes one of a socket in a turn."""
_TAKING_S = 0.25
"""How long connections that wait are taken at most: there may be always another."""


class Draining(Protocol):
    """What is drained: a server."""

    accepted: int
    """Connections that were ever accepted."""

    @property
    def connections(self) -> Collection[ClientConnection]:
        """Those that are open."""

    def begin_draining(self) -> None:
        """Let every reply from now on announce that its connection closes."""

    def stop_listening(self) -> None:
        """Refuse connections from now on."""


async def drain_connections(server: Draining, seconds: float) -> int:
    """Drain a server in at most so many seconds; return how many connections had to be broken off."""
    loop = asyncio.get_running_loop()
    end, linger = loop.time() + seconds, min(_LINGER_S, seconds)
    server.begin_draining()
    for connection in server.connections:
        connection.turns.announce_close()
    await _take_what_waits(server)
    server.stop_listening()
    idle_since: dict[ClientConnection, float] = {}
    while server.connections and (now := loop.time()) < end:
        for connection in list(server.connections):
            if not connection.is_idle:
                idle_since.pop(connection, None)
            elif now - idle_since.setdefault(connection, now) >= linger and not _has_unread(connection):
                connection.close_idle()
        await asyncio.sleep(_TICK_S)
    late = len(server.connections)
    for connection in list(server.connections):
        reset(connection.transport)
    return late


async def _take_what_waits(server: Draining) -> None:
    """Accept the connections in the listening sockets, which the system would reset when these close."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _TAKING_S
    taken, turns = server.accepted, 0
    while turns < _TURNS and loop.time() < end:
        await asyncio.sleep(0)
        turns = turns + 1 if server.accepted == taken else 0
        taken = server.accepted


if sys.platform != "win32":
    from fcntl import ioctl
    from termios import FIONREAD

    def _has_unread(connection: ClientConnection) -> bool:
        """Return whether bytes have arrived that the event loop has not read yet."""
        try:
            unread = ioctl(connection.transport.get_extra_info("socket").fileno(), FIONREAD, bytes(4))
        except OSError:  # it has just gone
            return False
        return any(unread)
else:

    def _has_unread(_connection: ClientConnection) -> bool:
        """Windows is not asked: the linger alone must do."""
        return False
