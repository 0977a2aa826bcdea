"""Where a server is reached: an address and port, or a Unix socket, with the sockets that listen there.

Several processes share an endpoint in one of two ways. On Linux each listens on its own sockets, and the kernel deals
connections out among them (SO_REUSEPORT). The first process holds the address with *guards*: sockets bound like theirs
that do not listen, so that no connection ever waits at one. A guard is bound only after a listening socket without
SO_REUSEPORT had the address to itself. So a port that is taken is found out just as by a single process, even when
several processes of the same user have it, which our sockets could join otherwise. And as a guard does not allow
SO_REUSEADDR, no other program takes the address while all processes are dead.

Elsewhere (macOS, BSD) SO_REUSEPORT gives all connections to one of the sockets, or an unknown part to each. There, and
for Unix sockets everywhere, the processes take connections from the same listening sockets.
"""

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

DEFAULT_BACKLOG: Final = 4096


class CannotListen(Exception):
    """An address that cannot be listened on; the text says why and what to do."""


class Endpoint:
    """Sockets that listen under one name, and what removes the name.

    `port`: 0 for a Unix socket; `is_guard`: the sockets only hold the address, and each process listens beside them.
    """

    __slots__ = ("_opened_by", "backlog", "host", "is_guard", "path", "port", "sockets")

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        host: str = "",
        path: Path | None = None,
        backlog: int = DEFAULT_BACKLOG,
        is_guard: bool = False,
    ) -> None:
        self.sockets = tuple(sockets)
        self.host = host
        self.path = path
        self.port: int = sockets[0].getsockname()[1] if sockets and path is None else 0
        self.backlog = backlog
        self.is_guard = is_guard
        self._opened_by: int | None = os.getpid()
        """The process that removes it; None once it has, and where another process does."""

    @classmethod
    def open(cls, host: str, port: int, path: Path | None = None, *, backlog: int = DEFAULT_BACKLOG) -> "Endpoint":
        """Listen on a Unix socket; without a path, on all addresses of a host ("": of this machine) and one port.

        `port`: 0 for any free one. Raises CannotListen.
        """
        if path is not None:
            return cls((_listening_on_path(path, backlog),), path=path, backlog=backlog)
        return cls(_listening_on_port(host, port, backlog), host=host, backlog=backlog)

    @classmethod
    def hold(cls, host: str, port: int, path: Path | None = None) -> "Endpoint":
        """Do what `open` does for several processes: with guards where each may listen on its own sockets."""
        if path is not None or not deals_connections_out():
            return cls.open(host, port, path)
        return cls(_guarding(host, port), host=host, is_guard=True)

    @classmethod
    def inherit(cls, descriptors: Iterable[int], host: str = "", *, is_guard: bool = False) -> "Endpoint":
        """Return an endpoint of sockets that this process was started with. It is removed by the one that opened it.

        For guards, own sockets are opened beside them, and listen. Raises CannotListen.
        """
        inherited = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for each in inherited:
            each.set_inheritable(False)
        is_path = any(each.family == getattr(socket, "AF_UNIX", None) for each in inherited)
        listening = _listening_beside(inherited, host) if is_guard else inherited
        found = cls(listening, host=host, path=Path(inherited[0].getsockname()) if is_path else None)
        found._opened_by = None
        return found

    @property
    def url(self) -> str:
        """The URL under which it is reached, or the path of its Unix socket."""
        if self.path is not None:
            return str(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets' file descriptors, for processes that inherit them."""
        return tuple(each.fileno() for each in self.sockets)

    def remove(self) -> None:
        """Take the name of a Unix socket away, so that another process can have it; only the opener does so, once."""
        if self._opened_by == os.getpid():
            self._opened_by = None
            if self.path is not None:
                with suppress(OSError):
                    self.path.unlink()

    def close(self) -> None:
        """Remove it, then stop listening: before that no other process has put a socket in its place."""
        self.remove()
        _close(self.sockets)


def deals_connections_out() -> bool:
    """Return whether the kernel deals connections out among sockets of one address."""
    return sys.platform == "linux"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host ("" for all addresses); no, if it is not known."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ip_address(str(name[0]).partition("%")[0]).is_loopback for *_, name in found)


# Opening.


def _listening_on_port(host: str, port: int, backlog: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for family, name in _addresses(host, port):
            if opened and port == 0:
                name = (name[0], opened[0].getsockname()[1], *name[2:])
            opened.append(_bound(family, name))
            opened[-1].listen(backlog)
    except OSError as error:
        _close(opened)
        raise CannotListen(_why_not(error, host, port)) from None
    return opened


def _listening_on_path(path: Path, backlog: int) -> socket.socket:
    _make_way(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(str(path))
        made.listen(backlog)
    except OSError as error:
        made.close()
        raise CannotListen(f"Cannot listen on {path}: {error.strerror or error}") from None
    return made


def _guarding(host: str, port: int) -> list[socket.socket]:
    probes = _listening_on_port(host, port, DEFAULT_BACKLOG)
    guards: list[socket.socket] = []
    try:
        for probe in probes:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            guards.append(_bound(probe.family, probe.getsockname(), shares=True))
            guards[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError as error:
        _close(guards)
        raise CannotListen(_why_not(error, host, port)) from None
    finally:
        _close(probes)
    return guards


def _listening_beside(guards: Sequence[socket.socket], host: str) -> list[socket.socket]:
    """Return listening sockets that share the addresses of guards, which are closed here. Raises CannotListen."""
    own: list[socket.socket] = []
    try:
        for guard in guards:
            own.append(_bound(guard.family, guard.getsockname(), shares=True))
            own[-1].listen(DEFAULT_BACKLOG)
    except OSError as error:
        _close(own)
        raise CannotListen(_why_not(error, host, guards[0].getsockname()[1])) from None
    finally:
        _close(guards)
    return own


def _addresses(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return all addresses of a host, without those of a family (IPv6) that this system has names for but lacks."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    named: list[tuple[int, tuple[Any, ...]]] = list(dict.fromkeys((family, name) for family, _, _, _, name in found))
    return [address for address in named if _exists(address[0])] or named


def _exists(family: int) -> bool:
    try:
        socket.socket(family).close()
    except OSError:
        return False
    return True


def _bound(family: int, name: tuple[Any, ...], *, shares: bool = False) -> socket.socket:
    opened = socket.socket(family)
    try:
        if os.name != "nt":
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


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()


# What can go wrong.


def _make_way(path: Path) -> None:
    """Remove a Unix socket that no process listens on any more. Raises CannotListen for anything else that is there."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise CannotListen(f"{path} exists and is no socket; choose another path with --unix-socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
        else:
            raise CannotListen(f"Another process listens on {path}; choose another path with --unix-socket")


def _why_not(error: OSError, host: str, port: int) -> str:
    """Return why an address cannot be listened on, and what to do."""
    address = f"{host or '*'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken: something already listens on {address}. Choose another with --port, or stop it."
    if error.errno == errno.EACCES:
        return f"Listening on {address} needs more rights; ports below 1024 usually do. Choose another with --port."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine; choose one with --host (0.0.0.0 for all)."
    return f"Cannot listen on {address}: {error.strerror or error}"
