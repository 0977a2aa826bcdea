"""Addresses to listen on: what can go wrong with them, said in words, and sockets for servers that are not our own."""

import errno
import os
import socket
import stat
from ipaddress import ip_address
from pathlib import Path


class CannotListen(Exception):
    """An address that cannot be listened on; the text says why and what to do."""


def listening(host: str, port: int, backlog: int) -> socket.socket:
    """Return a socket that listens on host ("" for all) and port. Raises CannotListen."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        if os.name != "nt":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(backlog)
    except OSError as error:
        raise CannotListen(why_not(error, host, port)) from None
    return made


def listening_on_path(path: Path, backlog: int) -> socket.socket:
    """Return a Unix socket that listens on a path. Raises CannotListen."""
    make_way(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(str(path))
        made.listen(backlog)
    except OSError as error:
        raise CannotListen(f"Cannot listen on {path}: {error.strerror or error}") from None
    return made


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host ("" for all addresses); no, if it is not known."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ip_address(str(name[0]).partition("%")[0]).is_loopback for *_, name in found)


def make_way(path: Path) -> None:
    """Remove a Unix socket that nobody listens on any more. Raises CannotListen for anything else that is there."""
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


def why_not(error: OSError, host: str, port: int) -> str:
    """Say why an address cannot be listened on, and what to do."""
    where = f"{host or '*'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is taken: something already listens on {where}. Choose another with --port, or stop it."
    if error.errno == errno.EACCES:
        return f"Listening on {where} needs more rights; ports below 1024 usually do. Choose another with --port."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine; choose one with --host (0.0.0.0 for all)."
    return f"Cannot listen on {where}: {error.strerror or error}"
