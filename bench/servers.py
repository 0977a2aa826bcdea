"""The servers of one benchmark: the origin, the peers and every springhouse, pinned to CPUs and ended with it.

The origin shares the first CPU with the load generator, each proxy runs on the second. A proxy's CPU time is
read from `/proc` for its whole process tree, children that have already ended included, so that a worker that
is replaced during a run neither vanishes from the account nor makes it jump.
"""

from __future__ import annotations

import gzip
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HOST = "127.0.0.1"
HOT_OBJECTS = 100
HOT_BYTES = 1024
MODIFIED_AT = 1735689600  # of every file, so that nginx's ETags are known beforehand
HOT_ETAG = f'"{MODIFIED_AT:x}-{HOT_BYTES:x}"'
START_SECONDS = 20.0
END_SECONDS = 10.0

NGINX = """
daemon off; worker_processes 1; worker_rlimit_nofile 8192; pid {folder}/{name}.pid; {user}
events { worker_connections 4096; }
http {
  access_log off; sendfile on; keepalive_requests 1000000000; default_type application/octet-stream;
  types { application/json json; }
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  {http}
}
"""
ORIGIN = """
  server {
    listen 127.0.0.1:{port} backlog=4096; root {folder}/site;
    location / { add_header Cache-Control "max-age=3600"; }
    location /vary/ { alias {folder}/site/; gzip_static on; gzip_vary on; gzip_proxied any;
      add_header Cache-Control "max-age=3600"; }
    location /no-store/ { alias {folder}/site/; add_header Cache-Control "no-store"; }
    location /api/ { default_type application/json; return 200 '{"accepted": true}'; }
    location = /served { stub_status; }
  }
"""
CACHE = """
  proxy_cache_path {folder}/nginx-cache levels=1:2 keys_zone=all:64m max_size=4g inactive=60m use_temp_path=off;
  open_file_cache max=1024; open_file_cache_valid 60s;
  upstream origin { server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:{port} backlog=4096;
    location / {
      proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache all; proxy_cache_lock on; add_header X-Cache $upstream_cache_status;
    }
  }
"""
VCL = """
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "{origin}"; }
sub vcl_recv { unset req.http.Cookie; }
"""


class ServerError(RuntimeError):
    """A server could not be started; the message says which, and how its log ends."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server on a loopback port."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    says_cache: bool = False  # a springhouse: its X-Cache is checked

    def cpu_seconds(self) -> float:
        """User plus system seconds the process tree has used since it started."""
        children: dict[int, list[int]] = {}
        ticks: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with suppress(OSError):  # it ended while we were reading
                stat = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(stat[1]), []).append(int(entry))
                ticks[int(entry)] = sum(map(int, stat[11:15]))  # utime stime cutime cstime
        tree = [self.process.pid]
        for pid in tree:
            tree.extend(children.get(pid, ()))
        return sum(ticks.get(pid, 0) for pid in tree) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """A temporary folder and the servers running in it; leaving the context ends them all and removes it."""

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        self.load_cpu, self.proxy_cpu = usable[0], usable[min(1, len(usable) - 1)]
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        folder = tempfile.TemporaryDirectory(prefix="springhouse-bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._exit.enter_context(folder))
        (self.folder / "tmp").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not leave anything running
            signal.signal(number, signal.SIG_IGN)
        self._exit.close()

    def start(
        self, name: str, command: Sequence[str], port: int, *, springhouse: bool = False, origin: bool = False
    ) -> Server:
        """Start `command`, which shall listen on `port`, and wait until it does; raises ServerError."""
        log = self.folder / f"{name}.log"
        cpu = self.load_cpu if origin else self.proxy_cpu
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["taskset", "--cpu-list", str(cpu), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={key: value for key, value in os.environ.items() if not key.startswith(("SPRINGHOUSE_", "CACHE_"))},
                start_new_session=True,  # Ctrl-C is for the bench, which then ends its servers in order
            )
        self._exit.callback(end, process)
        if not _is_listening(port, process):
            end(process)
            raise ServerError(f"{name} did not start: {shlex.join(command)}\n{log.read_text(errors='replace')[-1500:]}")
        return Server(name, port, process, springhouse)

    def write(self, file: str, template: str, **values: object) -> str:
        """Write a filled-in configuration file and return its path."""
        path = self.folder / file
        path.write_text(expand(template, folder=self.folder, **values))
        return str(path)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and whatever is left of its process group: politely, then not."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def find(program: str) -> str | None:
    """Where a program is; the folders of system daemons are not on everybody's PATH."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"]))


def expand(template: str, **values: object) -> str:
    """Replace `{name}` for the names given, and leave every other brace alone."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", str(value))
    return template


def start_origin(fleet: Fleet) -> Server:
    """The origin: nginx with static files, on the load generator's CPU."""
    _write_site(fleet.folder / "site")
    port = _free_port()
    return fleet.start("origin", _nginx(fleet, "origin", ORIGIN, port=port), port, origin=True)


def start_nginx(fleet: Fleet, origin: Server) -> Server:
    """nginx as a caching proxy, the unit every ratio is told in."""
    port = _free_port()
    return fleet.start("nginx", _nginx(fleet, "nginx", CACHE, port=port, origin=origin.port), port)


def start_varnish(fleet: Fleet, origin: Server) -> Server:
    """Varnish with a store in memory, told to ignore cookies as everybody tells it."""
    if not (program := find("varnishd")):
        raise ServerError("varnishd not found; on Debian: apt-get install varnish")
    port = _free_port()
    vcl = fleet.write("varnish.vcl", VCL, origin=origin.port)
    work = str(fleet.folder / "varnish")
    address = f"{HOST}:{port}"
    argv = ["-j", "none", "-F", "-T", "none", "-n", work, "-a", address, "-f", vcl, "-s", "malloc,1g"]
    return fleet.start("varnish", [program, *argv], port)


PEERS: Mapping[str, Callable[[Fleet, Server], Server]] = {"nginx": start_nginx, "varnish": start_varnish}


def start_springhouse(fleet: Fleet, name: str, command: str, origin: Server) -> Server:
    """A springhouse from a command in which {origin}, {port} and {folder} (temporary) are filled in."""
    port = _free_port()
    filled = expand(command, origin=f"http://{HOST}:{origin.port}", port=port, folder=fleet.folder)
    return fleet.start(name, shlex.split(filled), port, springhouse=True)


def _nginx(fleet: Fleet, name: str, http: str, **values: object) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""  # or its worker could not read our folder
    config = fleet.write(f"{name}.conf", NGINX.replace("{http}", http), name=name, user=user, **values)
    return [find("nginx") or "nginx", "-e", "stderr", "-p", str(fleet.folder), "-c", config]


def _write_site(site: Path) -> None:
    """Hot 1 KiB objects with their gzip twins, two large ones and an empty one; the same bytes every time."""
    site.mkdir()
    chance = random.Random(9111)
    for number in range(1, HOT_OBJECTS + 1):
        text = f'{{"number": {number:3}, "text": "{chance.randbytes(510).hex()}'.encode()[: HOT_BYTES - 2] + b'"}'
        (site / f"{number}.json").write_bytes(text)
        (site / f"{number}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    (site / "100k.bin").write_bytes(chance.randbytes(100 * 1024))
    (site / "10m.bin").write_bytes(chance.randbytes(10 * 1024 * 1024))
    (site / "empty.bin").write_bytes(b"")
    for file in site.iterdir():
        os.utime(file, (MODIFIED_AT, MODIFIED_AT))


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_listening(port: int, process: subprocess.Popen[bytes]) -> bool:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, port), 0.5):
            return True
        time.sleep(0.05)
    return False
