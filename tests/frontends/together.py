"""Every front end as a process of its own, each before its own origin; what one answers, all must answer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.support.client import Client
from tests.support.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.messages import Answer, Head
    from tests.support.origin import Gate, Handler

FRONTENDS = ("native", "fastapi", "flask")
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"date"}
"""Date is each origin's own: they answer at different instants."""
CHANGING = re.compile(rb"ttl=-?\d+")
CACHE_HOME = tempfile.TemporaryDirectory(prefix="springhouse-test-", ignore_cleanup_errors=True)
"""Where `caching-proxy` keeps what it stores."""
RUN = "import sys; from springhouse.cli.main import main, caching_proxy; sys.argv[0] = 'springhouse'; main()"


class Process:
    """`springhouse serve` with these arguments, on a free port."""

    def __init__(self, *arguments: str, command: list[str] | None = None) -> None:
        command = command or [sys.executable, "-c", RUN, "serve"]
        self._process = subprocess.Popen(
            [*command, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"listens on http://([^ ]+):(\d+)", line)
        if not found:
            self.close()
            raise AssertionError(f"it said: {line!r}")
        self.address = (found[1].strip("[]"), int(found[2]))
        self.port = self.address[1]

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send one request on a connection of its own and return the answer. `{port}` in fields is the proxy's."""
        fields = {k: v.replace("{port}", str(self.port)) if isinstance(v, str) else v for k, v in fields.items()}
        with Client(self.address) as client:
            return client.ask(method, target, body, **fields)

    def get(self, target: str, **fields: object) -> Answer:
        """GET on a connection of its own."""
        return self.ask("GET", target, **fields)

    def close(self) -> None:
        """End it as an operator would, and see that it ends well."""
        self._process.terminate()
        try:
            assert self._process.wait(10) in (0, -15)
        finally:
            self._process.kill()
            self._process.communicate()


def environment() -> dict[str, str]:
    """Return the environment that a process of ours gets."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_CACHE_HOME": CACHE_HOME.name}


class Together:
    """All front ends. `ask` asks each, demands the same answer of all, and returns it."""

    def __init__(self, *arguments: str) -> None:
        self.origins = {name: Origin() for name in FRONTENDS}
        self.proxies: dict[str, Process] = {}
        with ThreadPoolExecutor() as pool:
            starting = {name: pool.submit(_start, name, self.origins[name], arguments) for name in FRONTENDS}
        for name, future in starting.items():
            if future.exception() is None:
                self.proxies[name] = future.result()
        failures = {name: future.exception() for name, future in starting.items() if future.exception() is not None}
        if failures:
            self.close()
            raise AssertionError(failures)

    def close(self) -> None:
        """End everything."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda thing: thing.close(), [*self.proxies.values()]))
        for origin in self.origins.values():
            origin.close()

    def on(self, target: str, *handlers: Handler) -> None:
        """Answer requests for a target by these handlers, at every origin."""
        for origin in self.origins.values():
            origin.on(target, *handlers)

    def on_each(self, target: str, make: Callable[[Origin], Handler]) -> None:
        """Answer requests for a target by a handler of each origin's own."""
        for origin in self.origins.values():
            origin.on(target, make(origin))

    def gates(self) -> dict[str, Gate]:
        """Return a gate at every origin."""
        return {name: origin.gate() for name, origin in self.origins.items()}

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send one request to each; return what all answered alike."""
        return self.same(lambda proxy: proxy.ask(method, target, body, **fields))

    def get(self, target: str, **fields: object) -> Answer:
        """GET from each."""
        return self.ask("GET", target, **fields)

    def same(self, ask: Callable[[Process], Answer]) -> Answer:
        """Return what asking gives, which must be the same everywhere."""
        answers = {name: ask(proxy) for name, proxy in self.proxies.items()}
        native = answers["native"]
        for name, answer in answers.items():
            assert answer.status == native.status, f"{name}: {answer}"
            assert comparable(answer) == comparable(native), name
            assert answer.body == native.body, name
        return native

    def count(self, target: str) -> int:
        """Return how many requests for a target the origins saw, each as many."""
        counts = {name: origin.count(target) for name, origin in self.origins.items()}
        assert len(set(counts.values())) == 1, counts
        return counts["native"]

    def seen(self, target: str) -> Head:
        """Return the last request for a target, which all origins must have seen alike."""
        lasts = {name: origin.seen(target)[-1] for name, origin in self.origins.items()}
        native = lasts["native"]
        for name, last in lasts.items():
            assert (last.method, last.target, last.body) == (native.method, native.target, native.body), name
            assert comparable(last) == comparable(native), name
        return native


def comparable(head: Head) -> list[tuple[bytes, bytes]]:
    """Return what must be the same of a head: fields in any order and case, without what differs by nature."""
    fields = []
    for name, value in head.fields:
        lower = name.lower()
        if lower in HOP_BY_HOP:
            continue
        if lower == b"age":
            value = b"N"
        elif lower == b"cache-status":
            value = CHANGING.sub(b"ttl=N", value)
        elif lower in (b"host", b"cdn-loop", b"proxy-status"):
            value = b"*" if lower != b"proxy-status" else re.sub(rb":\d+", b"", value)
        fields.append((lower, value))
    return sorted(fields)


def _start(name: str, origin: Origin, arguments: tuple[str, ...]) -> Process:
    return Process("--frontend", name, "--origin", origin.url, *arguments)
