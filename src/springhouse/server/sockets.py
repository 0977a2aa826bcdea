"""The listening sockets of several processes.

On Linux every worker listens on a socket of its own, and the kernel deals connections out among them (SO_REUSEPORT).
The supervisor holds the address with a *guard*: a socket bound like theirs that does not listen, so that no connection
ever waits at it. It was bound only after a listening socket without SO_REUSEPORT had the address to itself, so a port
that is taken is found out just as by a single process, even when the other is a fleet of the same user, which could
join our sockets otherwise; and as the guard does not allow SO_REUSEADDR, nobody takes the address while all workers
are dead.

Elsewhere (macOS, BSD) SO_REUSEPORT gives all connections to one of the sockets, or an unknown part to each. There, and
for Unix sockets everywhere, the workers take connections from one listening socket that the supervisor opened.
"""

import socket
import sys
from collections.abc import Sequence
from typing import Any

from springhouse.binding import CannotListen, why_not
from springhouse.server.listener import BACKLOG


def deals_connections_out() -> bool:
    """Say whether the kernel deals connections out among sockets of one address."""
    return sys.platform == "linux"


def listening(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of a host, on one port (0: any free one). Raises CannotListen."""
    opened: list[socket.socket] = []
    try:
        for family, name in _addresses(host, port):
            if opened and port == 0:
                name = (name[0], opened[0].getsockname()[1], *name[2:])
            opened.append(_bound(family, name))
            opened[-1].listen(BACKLOG)
    except OSError as error:
        close(opened)
        raise CannotListen(why_not(error, host, port)) from None
    return opened


def guarding(host: str, port: int) -> list[socket.socket]:
    """Return guards for all addresses of a host; see above. Raises CannotListen."""
    probes = listening(host, port)
    guards: list[socket.socket] = []
    try:
        for probe in probes:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            guards.append(beside(probe))
            guards[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        close(guards)
        raise CannotListen(why_not(error, host, port)) from None
    finally:
        close(probes)
    return guards


def beside(other: socket.socket) -> socket.socket:
    """Return a socket that shares the address of another, which allows it. Raises OSError."""
    return _bound(other.family, other.getsockname(), shares=True)


def close(sockets: Sequence[socket.socket]) -> None:
    """Close them all."""
    for each in sockets:
        each.close()


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, name) for family, _, _, _, name in found))


def _bound(family: int, name: tuple[Any, ...], *, shares: bool = False) -> socket.socket:
    opened = socket.socket(family)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(name)
    except OSError:
        opened.close()
        raise
    return opened
