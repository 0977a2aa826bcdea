"""A real nginx, configured as most are: it relays everything, and says nothing of who asked."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.client import Client
from tests.support.command import tool
from tests.support.proxy import free_port

if TYPE_CHECKING:
    from tests.support.client import Address
    from tests.support.messages import Answer

PATIENCE_S = 10.0
_CONFIGURATION = """
{user}daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{servers}
}}
"""
_SERVER = "  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream}; }} }}"


class Nginx:
    """nginx on loopback ports of its own, one for each upstream."""

    def __init__(self, upstreams: dict[str, Address]) -> None:
        self.ports = {name: free_port() for name in upstreams}
        self._folder = tempfile.TemporaryDirectory(prefix="springhouse-nginx-", ignore_cleanup_errors=True)
        servers = [_SERVER.format(port=self.ports[name], upstream=_named(at)) for name, at in upstreams.items()]
        path = Path(self._folder.name, "nginx.conf")
        user = "user root; " if os.geteuid() == 0 else ""  # it would become nobody, who reaches no socket of ours
        path.write_text(_CONFIGURATION.format(user=user, folder=self._folder.name, servers="\n".join(servers)))
        self._process = subprocess.Popen(
            [tool("nginx"), "-c", str(path), "-p", self._folder.name], stderr=subprocess.DEVNULL
        )
        self._await_listening()

    def ask(self, name: str, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send a request to an upstream through nginx."""
        with Client(("127.0.0.1", self.ports[name])) as client:
            return client.ask(method, target, body, **fields)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        self._folder.cleanup()

    def _await_listening(self) -> None:
        end = time.monotonic() + PATIENCE_S
        for port in self.ports.values():
            while True:
                try:
                    Client(("127.0.0.1", port)).close()
                except ConnectionRefusedError:
                    assert time.monotonic() < end, "nginx does not come to listen"
                    assert self._process.poll() is None, "nginx does not start"
                    time.sleep(0.02)
                else:
                    break


def _named(address: Address) -> str:
    return f"unix:{address}" if isinstance(address, str) else f"{address[0]}:{address[1]}"
