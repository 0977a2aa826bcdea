"""`caching-proxy` and the scripts at the root keep their cache; `--clear-cache` is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import CACHING_PROXY, ROOT, SPRINGHOUSE, command
from tests.support.answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

FRONTS = {
    "caching-proxy": CACHING_PROXY,
    "caching_proxy.py": (str(ROOT / "caching_proxy.py"),),
    "proxy_fastapi.py": (str(ROOT / "proxy_fastapi.py"),),
    "flask": (*CACHING_PROXY, "--frontend", "flask"),
}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a cache folder of its own."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def stopped(node: Node) -> None:
    """End a proxy as a user does."""
    node.signal(15)
    assert node.ended() == 0, node.errors


@pytest.mark.parametrize("front", FRONTS)
def test_the_cache_is_kept_across_a_restart(
    origin: Origin, start: Start, env: dict[str, str], front: str, tmp_path: Path
) -> None:
    origin.otherwise = answer(b"x" * 300_000)
    node = start(*FRONTS[front], env=env)
    assert [node.get("/x").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert [node.get("/proxy?url=x").x_cache for _ in range(2)] == ["MISS", "HIT"]
    stopped(node)
    assert (tmp_path / "cache" / "springhouse").is_dir()
    node = start(*FRONTS[front], env=env)
    found = node.get("/x")
    assert (found.x_cache, len(found.body)) == ("HIT", 300_000)
    assert node.get("/proxy?url=x").x_cache == "HIT"
    assert node.get("/x", range="bytes=5-9").status == 206
    stopped(node)
    assert node.errors.count("\n") == node.errors.count("with --classic, requests from this machine") == 1


def test_clear_cache_without_and_with_a_running_proxy(
    origin: Origin, start: Start, env: dict[str, str], tmp_path: Path
) -> None:
    origin.otherwise = answer(b"x")
    done = command("caching-proxy", "--clear-cache", env=env)
    assert (done.returncode, done.stdout.startswith("There is nothing to clear")) == (0, True)
    node = start(*CACHING_PROXY, env=env)
    for n in range(3):
        node.fill(f"/{n}")
    stopped(node)
    done = command("caching-proxy", "--clear-cache", env=env)
    assert (done.returncode, "3 responses removed" in done.stdout) == (0, True), done
    one, other = (start(*CACHING_PROXY, env=env) for _ in range(2))
    for node in (one, other):
        assert node.get("/0").x_cache in ("MISS", "HIT")
        node.fill("/0")
    assert len(origin.requests) >= 4
    for given in ([], ["--origin", origin.url]):
        done = command("caching-proxy", "--clear-cache", *given, env=env)
        assert (done.returncode, "1 responses removed" in done.stdout) == (0, True), done
        found = [node.get("/0").x_cache for node in (one, other)]
        assert found[0] == "MISS", "it sees at once that its cache was cleared"
        for node in (one, other):
            node.fill("/0")


def test_clear_cache_of_another_origin_leaves_this_one(origin: Origin, start: Start, env: dict[str, str]) -> None:
    origin.otherwise = answer(b"x")
    node = start(*CACHING_PROXY, env=env)
    node.fill("/0")
    done = command("caching-proxy", "--clear-cache", "--origin", "http://other.example", env=env)
    assert (done.returncode, done.stdout.startswith("There is nothing to clear")) == (0, True)
    assert node.get("/0").x_cache == "HIT"


def test_clear_cache_over_http_empties_the_disk(origin: Origin, start: Start, env: dict[str, str]) -> None:
    origin.otherwise = answer(b"x")
    node = start(*CACHING_PROXY, env=env)
    for method, target in (("GET", "/clear-cache"), ("DELETE", "/cache")):
        node.fill("/0")
        assert node.ask(method, target, host=f"localhost:{node.address[1]}").status == 200
        assert node.get("/0").x_cache == "MISS"
    node.ask("DELETE", "/cache", host=f"localhost:{node.address[1]}")
    stopped(node)
    assert start(*CACHING_PROXY, env=env).get("/0").x_cache == "MISS"


def test_clear_cache_of_a_cache_in_memory(origin: Origin, start: Start, env: dict[str, str]) -> None:
    origin.otherwise = answer(b"x")
    node = start(*CACHING_PROXY, env=env, store="memory")
    node.fill("/0")
    at = ("--store", "memory", "--port", str(node.address[1]))
    done = command("caching-proxy", "--clear-cache", *at, env=env)
    assert (done.returncode, "is clear" in done.stdout) == (0, True), done
    assert node.get("/0").x_cache == "MISS"
    stopped(node)
    done = command("caching-proxy", "--clear-cache", *at, env=env)
    assert (done.returncode, "nothing to clear" in done.stderr) == (1, True), done


def test_clear_cache_in_redis(
    origin: Origin, start: Start, env: dict[str, str], request: pytest.FixtureRequest
) -> None:
    origin.otherwise = answer(b"x")
    url = request.getfixturevalue("shared_redis").url
    node = start(store=url, store_prefix="clear:")
    node.fill("/0")
    node.fill("/1")
    done = command("caching-proxy", "--clear-cache", "--store", url, "--store-prefix", "clear:", env=env)
    assert (done.returncode, "is clear" in done.stdout) == (0, True), done
    assert [node.get(target).x_cache for target in ("/0", "/1")] == ["MISS"] * 2
    done = command("caching-proxy", "--clear-cache", "--store", "redis://127.0.0.1:1", env=env)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done


@pytest.mark.parametrize("frontend", ["fastapi", "flask"])
def test_other_front_ends_purge_the_disk(origin: Origin, start: Start, frontend: str, tmp_path: Path) -> None:
    origin.otherwise = answer(b"x" * 300_000, cache_control="max-age=600", xkey="shop")
    one = start(*SPRINGHOUSE, store=f"disk:{tmp_path}", frontend=frontend)
    other = start(*SPRINGHOUSE, store=f"disk:{tmp_path}")
    for order in ({"url": "/0"}, {"tag": "shop"}, {"prefix": "/"}, {"all": True}):
        for node in (one, other):
            node.fill("/0")
        receipt = one.purge(**order)
        assert (receipt["entries"], receipt["processes"]) == (1, 2)
        assert [node.get("/0").x_cache for node in (other,)] == ["MISS"]
        for node in (one, other):
            node.fill("/0")
        assert other.purge(**order)["entries"] == 1
        assert one.get("/0").x_cache == "MISS"
