"""How commands reach a running proxy: over its control socket, which is found here, or over HTTP with its token."""

from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import DecodeError, json

from springhouse import control_socket

DEFAULT = "http://127.0.0.1:8000"
PURGE_S = 30.0
"""How long a purge may take, in seconds: it is answered when it holds everywhere."""
_LISTED_S = 5.0
_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on
_HERE = ("localhost", "127.0.0.1", "::1")


class Unreachable(Exception):
    """No proxy was reached; the text says why and what to do."""


class NothingListens(Unreachable):
    """Nothing listens there."""


@dataclass(frozen=True, slots=True)
class RunningProxy:
    """A proxy of this user that runs on this machine. `listens_on`: a URL, or the path of a Unix socket."""

    path: Path
    listens_on: str
    serves: str

    def __str__(self) -> str:
        return f"{self.listens_on} (serves {self.serves or 'GET /proxy?url=…'})"

    def way(self, timeout: float) -> HTTPConnection:
        """Return a connection to its control socket."""
        return OverSocket(self.path, timeout)

    def is_at(self, at: str) -> bool:
        """Return whether clients reach it at a URL, `HOST:PORT`, `:PORT`, or path."""
        if not self.listens_on.startswith("http://"):
            return Path(at).absolute() == Path(self.listens_on)
        ours, asked = urlsplit(self.listens_on), urlsplit(_as_url(at))
        if (asked.port or 80) != ours.port or asked.scheme != "http":
            return False
        is_anywhere = ours.hostname in (*_ANY_ADDRESS, *_HERE, None)
        return asked.hostname in (ours.hostname, None) or (is_anywhere and asked.hostname in _HERE)


class OverSocket(HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = control_socket.connected(self.path, self.timeout or _LISTED_S)


def way_to(at: str, token: str, timeout: float) -> HTTPConnection:
    """Return a connection to the proxy at a URL or path; "" for the only one there is. Raises Unreachable.

    With a token it goes to the port that clients reach, unless no proxy was named and one is found here.
    """
    if token and at:
        return _over_port(at, timeout)
    found = [running for running in running_here() if not at or running.is_at(at)]
    if len(found) == 1:
        return found[0].way(timeout)
    if found:
        listed = "".join(f"\n  {running}" for running in found)
        raise Unreachable(f"several proxies run here; say which one with --at:{listed}")
    if token:
        return _over_port(DEFAULT, timeout)
    where = f" that listens on {at}" if at else ""
    raise Unreachable(
        f"found no proxy of this user{where} on this machine. One of another user, or elsewhere, "
        "is reached with its --token, and --at http://HOST:PORT"
    )


def running_here() -> Iterator[RunningProxy]:
    """Yield the proxies whose control sockets this user can reach."""
    for path in control_socket.living():
        try:
            status, said = answered(OverSocket(path, _LISTED_S), "GET", "/.springhouse/")
        except Unreachable:
            continue  # it hangs, or has just gone
        if status == 200:
            yield RunningProxy(path, str(said.get("listens_on")), str(said.get("serves")))


def answered(
    connection: HTTPConnection, method: str, target: str, body: bytes | None = None, token: str = ""
) -> tuple[int, dict[str, Any]]:
    """Send a request and return the status and the JSON of its answer. Raises Unreachable."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        return response.status, json.decode(response.read(), type=dict[str, Any])
    except (DecodeError, UnicodeDecodeError):
        raise Unreachable(f"what listens on {_named(connection)} is no springhouse") from None
    except ConnectionRefusedError:
        raise NothingListens(f"nothing listens on {_named(connection)}") from None
    except (OSError, HTTPException) as error:
        raise Unreachable(f"no proxy answers on {_named(connection)}: {error}") from None
    finally:
        connection.close()


def _over_port(at: str, timeout: float) -> HTTPConnection:
    parts = urlsplit(_as_url(at))
    if parts.scheme != "http" or not parts.netloc:
        raise Unreachable(f"--at {at}: with a token, write http://HOST:PORT")
    return HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout)


def _named(connection: HTTPConnection) -> str:
    return str(connection.path) if isinstance(connection, OverSocket) else f"{connection.host}:{connection.port}"


def _as_url(at: str) -> str:
    return at if "://" in at else f"http://{at}"
