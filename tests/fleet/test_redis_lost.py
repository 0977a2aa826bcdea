"""Redis that goes away under load, hangs, or never was there: nobody sees it but in the log."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import Load
from tests.support.answers import answer
from tests.support.processes import await_that
from tests.support.redis_server import RedisServer, keys_without_expiry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

FRESH = {"cache_control": "max-age=600"}


class Visitors:
    """Clients of several nodes, who ask for what is stored and for what is new, and note how long it took."""

    def __init__(self, nodes: list[Node]) -> None:
        self.clients = [node.connect() for node in nodes for _ in range(2)]
        self.longest = 0.0
        self._free = list(self.clients)
        self._mine = threading.local()
        self._number = 0

    def visit(self) -> None:
        """Ask for both."""
        if not hasattr(self._mine, "client"):
            self._mine.client = self._free.pop()
        self._number += 1
        for target in ("/hot", f"/cold/{self._number}"):
            began = time.monotonic()
            found = self._mine.client.get(target)
            self.longest = max(self.longest, time.monotonic() - began)
            assert (found.status, found.body) == (200, b"x" * 1000), f"{target}: {found.status} {found.body!r}"


def visited(load: Load, count: int) -> None:
    """Wait until there were so many more visits."""
    enough = load.done + count
    await_that(lambda: load.done >= enough or bool(load.wrong), "the load goes on")


@pytest.fixture
def nodes(origin: Origin, start: Start, redis_server: RedisServer) -> list[Node]:
    """Return two proxies on one Redis, and an origin that answers everything."""
    origin.otherwise = answer(b"x" * 1000, **FRESH)
    return [start(store=redis_server.url, store_timeout=0.2) for _ in range(2)]


def test_redis_is_killed_under_load_and_given_back(
    origin: Origin, nodes: list[Node], redis_server: RedisServer
) -> None:
    for node in nodes:
        node.fill("/hot")
    visitors = Visitors(nodes)
    with Load(visitors.visit, threads=len(visitors.clients)) as load:
        visited(load, 40)
        redis_server.kill()
        visited(load, 40)
        asked = origin.count("/hot")
        visited(load, 40)
        assert origin.count("/hot") == asked, "what is in memory is a hit all the same"
        redis_server.start()
        visited(load, 40)
    one, other = nodes

    def is_shared_again() -> bool:
        target = f"/new/{time.monotonic()}"
        one.get(target)
        time.sleep(0.05)
        return other.get(target).x_cache == "HIT"

    await_that(is_shared_again, "they share again")
    origin.otherwise = answer(b"newer", **FRESH)
    assert one.purge(all=True)["processes"] == 2
    assert other.get("/hot").body == b"newer"
    assert keys_without_expiry(redis_server) == []


def test_a_redis_that_hangs_slows_nobody_for_long(nodes: list[Node], redis_server: RedisServer) -> None:
    for node in nodes:
        node.fill("/hot")
    visitors = Visitors(nodes)
    with Load(visitors.visit, threads=len(visitors.clients)) as load:
        visited(load, 20)
        redis_server.pause()
        visitors.longest = 0.0
        began = time.monotonic()
        while time.monotonic() < began + 1.0:
            visited(load, 4)
        redis_server.resume()
        visited(load, 20)
    assert visitors.longest < 2 * 0.2 + 0.3, "a lookup and a lease, at most"


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_purge_without_redis_says_that_it_is_uncertain_and_is_made_up_for(
    origin: Origin, nodes: list[Node], redis_server: RedisServer, how: str
) -> None:
    one, other = nodes
    one.fill("/hot")
    getattr(redis_server, how)()
    origin.otherwise = answer(b"newer", **FRESH)
    found = one.control("POST", "/.springhouse/purge", b'{"url": "/hot"}')
    assert (found.status, b"not certain" in found.body) == (503, True)
    assert one.get("/hot").body == b"newer", "what this node knows of the purge holds"
    (redis_server.start if how == "kill" else redis_server.resume)()
    await_that(lambda: other.get("/hot").body == b"newer", "the other hears of it")
    await_that(lambda: one.purge(dry_run=True, all=True) is not None, "it goes on")


def test_what_passes_through_is_answered_without_redis(
    origin: Origin, nodes: list[Node], redis_server: RedisServer
) -> None:
    one, _ = nodes
    one.fill("/hot")
    redis_server.pause()
    origin.otherwise = answer(b"newer", **FRESH)
    began = time.monotonic()
    assert one.ask("PUT", "/hot", b"change").status == 200
    assert time.monotonic() - began < 3
    assert one.get("/hot").body == b"newer"
    redis_server.resume()


def test_a_wrong_password_is_said_and_requests_are_answered(origin: Origin, start: Start, tmp_path: Path) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    server = RedisServer(tmp_path, "--requirepass", "right", client={"password": "right"})
    try:
        wrong, right = (start(store=f"redis://:{password}@127.0.0.1:{server.port}") for password in ("wrong", "right"))
        for node in (wrong, right):
            assert node.get("/x").status == 200
            assert node.fill("/x").body == b"x"
        await_that(lambda: "password" in wrong.errors, "it says why")
        assert ":wrong" not in wrong.errors
        assert right.errors == ""
    finally:
        server.close()


def test_a_redis_that_is_not_there_is_said_and_found_when_it_comes(
    origin: Origin, start: Start, tmp_path: Path
) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    server = RedisServer(tmp_path)
    server.kill()
    one, other = (start(store=server.url) for _ in range(2))
    try:
        assert one.get("/x").status == 200
        await_that(lambda: "cannot be reached" in one.errors, "it says why")
        server.start()

        def is_shared() -> bool:
            target = f"/new/{time.monotonic()}"
            one.get(target)
            time.sleep(0.05)
            return other.get(target).x_cache == "HIT"

        await_that(is_shared, "they share as soon as it is there")
    finally:
        server.close()
