"""Objects larger than memory, in processes of their own: what they cost in memory, a full disk, kill -9."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import SPRINGHOUSE, at_once
from tests.support.answers import answer, in_parts
from tests.support.messages import request
from tests.support.processes import await_that
from tests.support.redis_server import redis_server, shared_redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

__all__ = ["redis_server", "shared_redis"]

MIB = 2**20
MEMORY = 16 * MIB
BODY = random.Random(2).randbytes(6 * MEMORY)
FRESH = "max-age=600"


@pytest.mark.parametrize("kind", ["disk", "redis"])
def test_it_costs_little_memory_however_many_ask_for_it(
    origin: Origin, start: Start, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    store = f"disk:{tmp_path}" if kind == "disk" else request.getfixturevalue("redis_server").url
    origin.on("/a", answer(BODY, cache_control=FRESH))
    node = start(store=store, memory=MEMORY, max_object="1GiB", store_timeout=10)
    before = node.resident
    assert at_once(6, lambda _: node.get("/a").body == BODY) == [True] * 6
    assert origin.count("/a") == 1
    assert node.fill("/a").body == BODY
    assert node.resident - before < len(BODY) * 3 // 4


def test_a_disk_that_is_full_meanwhile_costs_only_the_storing(origin: Origin, start: Start, tmp_path: Path) -> None:
    """No file of the process may grow beyond four megabytes, which is as good as a full disk."""
    first = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**22, resource.RLIM_INFINITY))"
    origin.otherwise = answer(BODY, cache_control=FRESH)
    limits = {"memory": MEMORY, "max_object": "1GiB"}
    node = start("-c", f"{first}; {SPRINGHOUSE[1]}", "serve", store=f"disk:{tmp_path}", **limits)
    for _ in range(2):
        found = node.get("/a")
        assert (found.status, found.x_cache, found.body == BODY) == (200, "MISS", True)
    await_that(lambda: node.errors != "", "it says that it cannot write")
    assert "Traceback" not in node.errors
    await_that(lambda: not _bodies(tmp_path), "what was begun is removed")
    origin.on("/small", answer(b"x" * 1000, cache_control=FRESH))
    assert node.fill("/small").body == b"x" * 1000


def test_kill_9_meanwhile_leaves_nothing_behind(origin: Origin, start: Start, tmp_path: Path) -> None:
    gate = origin.gate()
    half = len(BODY) // 2
    origin.on("/a", in_parts(BODY[:half], gate, BODY[half:], cache_control=FRESH), answer(BODY, cache_control=FRESH))
    node = start(store=f"disk:{tmp_path}", memory=MEMORY, max_object="1GiB")
    client = node.connect()
    client.send(request("GET", "/a"))
    client.head()
    assert client.read(half) == BODY[:half]
    await_that(lambda: _bodies(tmp_path), "it is on its way to the disk")
    node.kill()
    gate.open()
    node = start(store=f"disk:{tmp_path}", memory=MEMORY, max_object="1GiB")
    found = node.get("/a")
    assert (found.x_cache, found.body == BODY) == ("MISS", True)
    assert node.fill("/a").body == BODY
    await_that(lambda: len(_bodies(tmp_path)) == 1, "what the dead one had begun is swept away")


def _bodies(folder: Path) -> list[Path]:
    return [path for path in (folder / "bodies").rglob("*") if path.is_file()]
