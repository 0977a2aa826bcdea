"""What a purge selects, what it leaves, and what it says, through every store, as a client of the proxy sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.fleet.node import command
from tests.support.answers import answer, gated, in_parts
from tests.support.processes import await_that

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

FRESH = {"cache_control": "max-age=600"}


@pytest.fixture(params=["memory", "disk", "redis"])
def node(request: pytest.FixtureRequest, start: Start, origin: Origin, tmp_path: Path) -> Node:
    """Return a proxy with each kind of store."""
    if request.param == "redis":
        server = request.getfixturevalue("shared_redis")
        found = start(store=server.url, store_prefix=f"{tmp_path.name}:")
        await_that(lambda: _is_connected(found, origin), "what is stored is in Redis")
        return found
    return start(store=f"disk:{tmp_path / 'cache'}" if request.param == "disk" else "memory")


def _is_connected(node: Node, origin: Origin) -> bool:
    target = f"/before/{len(origin.requests)}"
    origin.on(target, answer(b"x", **FRESH))
    node.get(target)
    return node.purge(all=True)["entries"] > 0


def counted(receipt: dict[str, Any]) -> tuple[int, int]:
    """Return the keys and the entries of a receipt."""
    return receipt["keys"], receipt["entries"]


def test_a_soft_purge_leaves_what_may_be_served_stale(origin: Origin, node: Node) -> None:
    windows = {
        "/swr": "max-age=600, stale-while-revalidate=600",
        "/sie": "max-age=600, stale-if-error=600",
        "/bare": "max-age=600",
    }
    for target, control in windows.items():
        origin.on(target, answer(b"old", cache_control=control, surrogate_key="shop", etag='"1"'))
        node.fill(target)
    assert counted(node.purge(tag="shop", soft=True)) == (3, 3)
    for target, control in windows.items():
        origin.on(target, answer(b"new", cache_control=control, surrogate_key="shop", etag='"2"'))
    origin.on("/sie", answer(b"broken", 503))
    found = node.get("/swr")
    assert (found.x_cache, found.body) == ("STALE", b"old")
    await_that(lambda: node.get("/swr").body == b"new", "it is refreshed in the background")
    found = node.get("/sie")
    assert (found.status, found.x_cache, found.body) == (200, "STALE", b"old")
    found = node.get("/bare")
    assert (found.x_cache, found.body) == ("MISS", b"new")
    assert origin.last.get("If-None-Match") == '"1"', "what was purged softly is worth asking about"


def test_a_hard_purge_leaves_nothing_to_serve_stale(origin: Origin, node: Node) -> None:
    origin.on("/x", answer(b"old", cache_control="max-age=600, stale-if-error=600, stale-while-revalidate=600"))
    node.fill("/x")
    node.purge(url="/x")
    origin.on("/x", answer(b"broken", 503))
    assert node.get("/x").status == 503


def test_a_dry_run_counts_and_changes_nothing(origin: Origin, node: Node) -> None:
    for n in range(3):
        origin.on(f"/{n}", answer(b"x" * 1000, **FRESH, cache_tag="t"))
        node.fill(f"/{n}")
    orders: list[dict[str, object]] = [{"url": "/0"}, {"prefix": "/"}, {"tag": "t"}, {"all": True}]
    found = [node.purge(**order, dry_run=True) for order in orders]
    assert [counted(receipt) for receipt in found] == [(1, 1), (3, 3), (3, 3), (3, 3)]
    assert [receipt["dry_run"] for receipt in found] == [True] * 4
    assert found[0]["bytes"] > 1000
    assert [node.get(f"/{n}").x_cache for n in range(3)] == ["HIT"] * 3
    assert counted(node.purge(all=True)) == (3, 3)
    assert counted(node.purge(all=True)) == (0, 0)


def test_a_url_is_purged_with_all_its_variants_and_nothing_else(origin: Origin, node: Node) -> None:
    origin.on("/x", answer(b"x", **FRESH, vary="Accept-Language"))
    others = ("/x/", "/x?q", "/xy", "/X")
    for target in others:
        origin.on(target, answer(b"x", **FRESH))
        node.fill(target)
    for language in ("de", "en", "fr"):
        node.fill("/x", accept_language=language)
    assert counted(node.purge(url="/x")) == (1, 3)
    assert [node.get(target).x_cache for target in others] == ["HIT"] * 4
    assert node.get("/x", accept_language="en").x_cache == "MISS"


def test_tags_are_matched_whole_in_every_field_that_has_them(origin: Origin, node: Node) -> None:
    tagged: dict[str, dict[str, str]] = {
        "/surrogate": {"surrogate_key": "shop other"},
        "/cache-tag": {"cache_tag": "other,shop"},
        "/xkey": {"xkey": "shop"},
        "/longer": {"surrogate_key": "shopping"},
        "/case": {"cache_tag": "Shop"},
        "/none": {},
    }
    for target, fields in tagged.items():
        origin.on(target, answer(b"x", **FRESH, **fields))
        node.fill(target)
    assert counted(node.purge(tag="shop")) == (3, 3)
    words = {target: node.get(target).x_cache for target in tagged}
    assert [target for target, word in words.items() if word == "MISS"] == ["/surrogate", "/cache-tag", "/xkey"]
    assert counted(node.purge(tags=["other", "shopping"])) == (3, 3)


def test_clients_see_tags_only_if_that_is_wanted(origin: Origin, start: Start) -> None:
    fields = {"surrogate_key": "a", "cache_tag": "b", "xkey": "c"}
    origin.on("/x", answer(b"x", **FRESH, **fields))
    origin.on("/pass", answer(b"x", cache_control="no-store", **fields))
    discreet, open_ = start(), start(expose_tags=True)
    for target in ("/x", "/x", "/pass"):
        found, shown = discreet.get(target), open_.get(target)
        assert [name in found for name in fields for name in (name.replace("_", "-"),)] == [False] * 3
        assert [shown[name.replace("_", "-")] for name in fields] == list(fields.values())


def test_an_unsafe_answer_invalidates_groups(origin: Origin, node: Node) -> None:
    for target, group in {"/1": '"scores", "other"', "/2": '"scores"', "/3": '"other"'}.items():
        origin.on(target, answer(b"x", **FRESH, cache_groups=group))
        node.fill(target)
    origin.on("/change", answer(b"done", cache_group_invalidation='"scores"'))
    assert node.get("/change").status == 200
    assert node.get("/1").x_cache == "HIT", "a safe request invalidates nothing"
    assert node.ask("POST", "/change", b"x").status == 200
    assert [node.get(target).x_cache for target in ("/1", "/2", "/3")] == ["MISS", "MISS", "HIT"]


ORDERS: list[dict[str, object]] = [{"url": "/x"}, {"prefix": "/"}, {"tag": "shop"}, {"all": True}]
EACH_ORDER = pytest.mark.parametrize("order", ORDERS, ids=lambda order: next(iter(order)))


@EACH_ORDER
def test_a_fill_does_not_undo_a_purge_that_came_before_its_answer(
    origin: Origin, node: Node, order: dict[str, object]
) -> None:
    gate = origin.gate()
    fields = {**FRESH, "surrogate_key": "shop"}
    origin.on("/x", gated(gate, answer(b"old", **fields)), answer(b"new", **fields))
    client = node.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    origin.await_that(lambda: origin.count("/x") == 1)
    node.purge(**order)
    later = node.connect()
    later.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert later.answer().body == b"new", "who comes later does not wait for what was purged"
    gate.open()
    assert client.answer().body == b"old"
    assert node.get("/x").body == b"new"


@EACH_ORDER
def test_a_fill_does_not_undo_a_purge_that_came_within_its_answer(
    origin: Origin, node: Node, order: dict[str, object]
) -> None:
    gate = origin.gate()
    fields = {**FRESH, "surrogate_key": "shop"}
    origin.on("/x", in_parts(b"ol", gate, b"d", **fields), answer(b"new", **fields))
    client = node.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    head = client.head()
    assert client.read(2) == b"ol"
    node.purge(**order)
    assert node.get("/x").body == b"new"
    gate.open()
    assert (head.status, client.read(1)) == (200, b"d")
    assert node.get("/x").body == b"new"


def test_the_command_purges_and_says_what(origin: Origin, node: Node) -> None:
    for target in ("/a/1", "/a/2", "/b"):
        origin.on(target, answer(b"x", **FRESH, surrogate_key="shop"))
        node.fill(target)
    at = ("--at", f"http://127.0.0.1:{node.address[1]}")
    done = command("springhouse", "purge", "--prefix", "/a/", "--dry-run", *at)
    assert done.stdout.startswith("Would purge 2 responses under 2 URLs, "), done
    done = command("springhouse", "purge", "/b", "--soft", *at)
    assert done.stdout.startswith("Marked stale: 1 responses under 1 URLs, "), done
    done = command("springhouse", "purge", f"{origin.url}/a/1", *at)
    assert done.stdout.startswith("Purged 1 responses under 1 URLs, "), done
    assert [node.get(target).x_cache for target in ("/a/1", "/a/2", "/b")] == ["MISS", "HIT", "MISS"]


def test_the_method_purge_and_what_is_in_a_receipt(origin: Origin, start: Start) -> None:
    node = start()
    origin.on("/x", answer(b"x" * 500, cache_control="max-age=600, stale-while-revalidate=600"))
    node.fill("/x")
    found = node.control("PURGE", "/x", soft_purge="1")
    receipt = json.loads(found.body)
    assert (found.status, found["Content-Type"], found["Cache-Control"]) == (200, "application/json", "no-store")
    assert receipt | {"bytes": 0} == {
        "keys": 1, "entries": 1, "bytes": 0, "processes": 1, "soft": True, "dry_run": False,
    }  # fmt: skip
    assert receipt["bytes"] > 500
    assert node.get("/x").x_cache == "STALE"
    node.fill("/x")
    assert json.loads(node.control("PURGE", "/x").body)["soft"] is False
    assert node.get("/x").x_cache == "MISS"
    assert "/.springhouse/purge" not in [request.target for request in origin.requests]
