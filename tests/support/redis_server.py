"""Real Redis servers for tests: alone, with TLS, as a cluster; killed, stopped, and given back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
PATIENCE_S = 15.0


def required() -> str:
    """Return the server's program. Without one the test is skipped; in CI it fails."""
    if PROGRAM is None:
        reason = "Neither redis-server nor valkey-server is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return PROGRAM


def free_port() -> int:
    """Return a port that nobody uses, nor the one beside it for a cluster; both below those given to clients."""
    while True:
        port = random.randrange(12_000, 21_000)
        with closing(socket.socket()) as found, closing(socket.socket()) as beside, suppress(OSError):
            found.bind(("127.0.0.1", port))
            beside.bind(("127.0.0.1", port + 10_000))
            return port


def until(is_so: Any, what: str = "Nothing happened") -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class RedisServer:
    """One server. `options` are those of its configuration, without dashes in front."""

    def __init__(
        self, folder: Path, *options: str, port: int | None = None, client: dict[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._program = required()
        self._options = options
        self._client = client or {}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at first or again, and wait until it answers."""
        command = [
            self._program,
            "--dir",
            str(self.folder),
            "--save",
            "",
            "--bind",
            "127.0.0.1",
            "--loglevel",
            "warning",
        ]
        if "--port" not in self._options:
            command += ["--port", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        until(self._answers, f"redis-server does not start; see {self.folder / 'log'}")

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError), closing(self.client()) as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        """Return a blocking client of it."""
        return redis.Redis(**{"host": "127.0.0.1", "port": self.port, "socket_timeout": 10} | self._client)

    def kill(self) -> None:
        """Kill it, and lose all that it has."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it do nothing, while it keeps its connections."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    close = kill


class RedisWithTLS(RedisServer):
    """One server that speaks only TLS, and only with whom its authority knows. `files`: what a client needs."""

    def __init__(self, folder: Path, *, password: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder)
        authority.server("127.0.0.1")
        authority.server("client")
        ours, theirs = folder / "127.0.0.1.pem", folder / "client.pem"
        self.files = {"ca": authority.pem, "cert": theirs, "key": theirs}
        self._password = password
        port = free_port()
        options = ["--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", str(authority.pem)]
        options += ["--tls-cert-file", str(ours), "--tls-key-file", str(ours)]
        client = {"ssl": True, "ssl_ca_certs": authority.pem, "ssl_certfile": theirs, "ssl_keyfile": theirs}
        if password:
            options += ["--requirepass", password]
            client["password"] = password
        super().__init__(folder, *options, port=port, client=client)

    @property
    def url(self) -> str:
        files = "&".join(f"{kind}={path}" for kind, path in self.files.items())
        return f"rediss://:{self._password}@127.0.0.1:{self.port}?{files}"


class RedisCluster:
    """Three masters without replicas."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.servers: list[RedisServer] = []
        try:
            for number in range(3):
                self.servers.append(RedisServer(folder / str(number), *options))
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self) -> None:
        clients = [server.client() for server in self.servers]
        shares = [(0, 5461), (5461, 10_923), (10_923, 16_384)]
        for client, (first, after) in zip(clients, shares, strict=True):
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", self.servers[number].port)
        for client in clients:
            until(lambda client=client: self._is_whole(client), "The cluster does not come together")
            client.close()

    def _is_whole(self, client: redis.Redis) -> bool:
        info = client.execute_command("CLUSTER INFO")
        text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
        return (text["cluster_state"], int(text["cluster_known_nodes"])) == ("ok", 3)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def close(self) -> None:
        """End all of it."""
        for server in self.servers:
            server.close()


def keys_without_expiry(server: RedisServer) -> list[bytes]:
    """Return the keys that Redis would never forget."""
    with closing(server.client()) as client:
        return [key for key in client.scan_iter(count=1000) if client.pttl(key) == -1]


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that do it no harm; each takes a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.close()
