"""Where Redis or Valkey is: a URL, and the client that it stands for.

    redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]      one server
    rediss://…                                      the same over TLS
    redis+cluster://[…@]HOST[:PORT][,HOST[:PORT]…]  a cluster, by any of its nodes; rediss+cluster:// over TLS
    unix://[…@]/PATH[?db=DB]                        a socket on this machine

TLS: `?ca=FILE` trusts the certificates in a file instead of the system's; `?cert=FILE&key=FILE` identify this client to
the server. No text about an address contains its password.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

Client = Redis | RedisCluster

_PORT: Final = 6379
_SCHEMES: Final = frozenset({"redis", "rediss", "redis+cluster", "rediss+cluster", "unix"})
_FILES: Final = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}


class BadAddress(ValueError):
    """A URL that names no Redis; the text says why, without a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A Redis server or cluster. `path`: of its socket; `files`: what TLS reads, by redis-py's names."""

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    is_cluster: bool = False
    is_encrypted: bool = False
    files: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read a URL. Raises BadAddress."""
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            raise BadAddress("A Redis URL that cannot be read") from None
        if parts.scheme not in _SCHEMES:
            raise BadAddress(f"A Redis URL begins with one of {', '.join(sorted(_SCHEMES))}, not {parts.scheme!r}")
        is_encrypted = parts.scheme.startswith("rediss")
        known = {"db"} | (set(_FILES) if is_encrypted else set())
        if not known.issuperset(options):
            raise BadAddress(f"A Redis URL has no option {min(set(options) - known)!r}; known are {sorted(known)}")
        user, _, hosts = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        is_cluster = parts.scheme.endswith("+cluster")
        return cls(
            hosts=_hosts(hosts, is_cluster=is_cluster) if parts.scheme != "unix" else (),
            path=_path(parts),
            database=_database(parts, options, is_cluster=is_cluster),
            username=unquote(name) or None,
            password=unquote(password) or None,
            is_cluster=is_cluster,
            is_encrypted=is_encrypted,
            files=tuple((_FILES[name], value) for name, value in options.items() if name in _FILES),
        )

    def __str__(self) -> str:
        return self.path or ", ".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )

    __repr__ = __str__

    def client(self, *, connections: int, connect_s: float) -> Client:
        """Return a client of at most `connections` connections (to each node of a cluster) that never retries.

        Nothing is connected yet. The client has no time limit: callers set one for each command.
        """
        options: dict[str, Any] = {
            "username": self.username,
            "password": self.password,
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": connect_s,
            "max_connections": connections,
        }
        if self.is_cluster:
            nodes = [ClusterNode(host, port) for host, port in self.hosts]
            tls: dict[str, Any] = {"ssl": True, **dict(self.files)} if self.is_encrypted else {}
            return RedisCluster(
                startup_nodes=nodes, retry=Retry(NoBackoff(), 1), require_full_coverage=False, **options, **tls
            )
        options |= {"db": self.database, "retry": Retry(NoBackoff(), 0), **dict(self.files)}
        if self.path:
            pool = ConnectionPool(connection_class=UnixDomainSocketConnection, path=self.path, **options)
        else:
            host, port = self.hosts[0]
            kind = SSLConnection if self.is_encrypted else Connection
            pool = ConnectionPool(connection_class=kind, host=host, port=port, **options)
        return Redis.from_pool(pool)


def _hosts(text: str, *, is_cluster: bool) -> tuple[tuple[str, int], ...]:
    hosts = []
    for item in text.split(","):
        try:
            parts = urlsplit(f"//{item}")
            hosts.append((parts.hostname or "", parts.port or _PORT))
        except ValueError:
            hosts.append(("", 0))
    if not all(host for host, _ in hosts):
        raise BadAddress("A Redis URL needs a host, such as redis://localhost:6379")
    if len(hosts) > 1 and not is_cluster:
        raise BadAddress("Only a redis+cluster:// URL names more than one host")
    return tuple(hosts)


def _path(parts: SplitResult) -> str:
    if parts.scheme != "unix":
        return ""
    path = unquote(parts.path)
    if path in ("", "/"):
        raise BadAddress("A unix:// URL needs the path of a socket, such as unix:///run/redis/redis.sock")
    return path


def _database(parts: SplitResult, options: dict[str, str], *, is_cluster: bool) -> int:
    text = options.get("db", "")
    if parts.scheme != "unix":
        text = parts.path.strip("/") or text
    if text and not (text.isascii() and text.isdigit()):
        raise BadAddress(f"{text!r} is no number of a Redis database")
    if is_cluster and text not in ("", "0"):
        raise BadAddress("A Redis cluster has only database 0")
    return int(text or 0)
