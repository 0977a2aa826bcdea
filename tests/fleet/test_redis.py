"""`--store redis://…`: two proxies on one Redis share, wait for each other, and purge each other."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from tests.fleet.cold_keys import FRESH, VARIANTS, ask_for_variants, ask_for_what_breaks_off
from tests.fleet.editions import purge_under_load
from tests.fleet.node import at_once
from tests.support.answers import answer, gated, head
from tests.support.client import Client
from tests.support.processes import await_that
from tests.support.redis_server import RedisCluster, RedisWithTLS, keys_without_expiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Exchange, Origin
    from tests.support.redis_server import RedisServer

    Start = Callable[..., Node]


@pytest.fixture
def nodes(start: Start, redis_server: RedisServer) -> list[Node]:
    """Return two proxies on one Redis, which wait for it however busy the machine is."""
    found = [start(store=redis_server.url, store_timeout=5) for _ in range(2)]
    await_that(lambda: found[0].purge(url="/none")["processes"] == 2, "they know each other")
    return found


def await_heard(nodes: list[Node]) -> None:
    """Wait until all nodes have read what was sent to them."""
    for node in nodes:
        node.await_heard()


def stored_in(server: RedisServer) -> int:
    """Return how many keys Redis has."""
    with closing(server.client()) as client:
        return int(client.dbsize())


@pytest.fixture(params=["rediss", "redis+cluster"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a Redis that wants TLS, certificates and a password, and of a cluster."""
    server = RedisCluster(tmp_path) if request.param == "redis+cluster" else RedisWithTLS(tmp_path, password="sesame")
    assert server.url.startswith(f"{request.param}://")
    yield server.url
    server.close()


def test_nodes_share_by_any_kind_of_url(origin: Origin, start: Start, guarded: str) -> None:
    one, other = (start(store=guarded, store_timeout=5) for _ in range(2))  # however busy the machine is
    await_that(lambda: one.purge(url="/none")["processes"] == 2, "they know each other")
    large = random.Random(1).randbytes(2**20)
    for target, body in {"/small": b"1", "/large": large}.items():
        origin.on(target, answer(body, **FRESH, xkey="shop"))
        one.get(target)
        await_that(lambda target=target: other.get(target).x_cache == "HIT", "the other has it")
        assert other.get(target).body == body
    assert one.purge(tag="shop") | {"bytes": 0} == {
        "keys": 2, "entries": 2, "bytes": 0, "processes": 2, "soft": False, "dry_run": False,
    }  # fmt: skip
    assert [node.get("/small").x_cache for node in (other, one)] == ["MISS", "HIT"]
    assert "sesame" not in one.errors + other.errors


def test_a_lookup_may_take_as_long_as_store_timeout_says(
    origin: Origin, start: Start, redis_server: RedisServer
) -> None:
    patient, hasty = (start(store=redis_server.url, store_timeout=seconds) for seconds in (10, 0.05))
    origin.otherwise = answer(b"x", **FRESH)
    third = start(store=redis_server.url)
    for target in ("/before", "/x"):
        third.fill(target)
    for node in (patient, hasty):
        await_that(lambda node=node: node.get("/before").x_cache == "HIT", "it is connected")
    redis_server.pause()
    client = patient.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert hasty.get("/x").x_cache == "MISS"
    redis_server.resume()
    assert client.answer().x_cache == "HIT"


def test_what_one_stores_the_other_has_until_either_purges_it(
    origin: Origin, nodes: list[Node], redis_server: RedisServer
) -> None:
    one, other = nodes
    large = random.Random(1).randbytes(3 * 2**20)
    for target, body in {"/small": b"1", "/large": large}.items():
        origin.on(target, answer(body, **FRESH, xkey="shop"))
        one.get(target)
        asked = origin.count(target)
        await_that(lambda target=target: other.get(target).x_cache == "HIT", "the other has it")
        assert origin.count(target) <= asked + 1
        assert other.get(target).body == body
    assert keys_without_expiry(redis_server) == []
    assert stored_in(redis_server) > 4
    for turn in range(20):
        purger, reader = (one, other) if turn % 2 else (other, one)
        origin.on("/small", answer(b"%d" % turn, **FRESH, xkey="shop"))
        order = [{"url": "/small"}, {"prefix": "/s"}, {"tag": "shop"}, {"all": True}][turn // 2 % 4]
        receipt = purger.purge(**order)
        assert receipt["entries"] >= 1
        assert receipt["processes"] == 2
        assert reader.get("/small").body == b"%d" % turn
        for node in nodes:
            node.fill("/small")
    assert keys_without_expiry(redis_server) == []


def test_purges_under_load(origin: Origin, nodes: list[Node], redis_server: RedisServer) -> None:
    purge_under_load(origin, nodes, connections=[node.connect() for node in nodes for _ in range(2)])
    assert keys_without_expiry(redis_server) == []


def test_an_unsafe_request_invalidates_in_the_other_node_before_its_answer(origin: Origin, nodes: list[Node]) -> None:
    one, other = nodes
    for turn in range(10):
        origin.on("/x", answer(b"%d" % turn, **FRESH))
        assert one.ask("PUT", "/x", b"change").status == 200
        assert other.get("/x").body == b"%d" % turn
        other.fill("/x")


def test_a_hundred_who_ask_two_nodes_for_one_cold_key_cause_one_request(origin: Origin, nodes: list[Node]) -> None:
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(b"x" * 1000, **FRESH)))
    clients = [nodes[at % 2].connect() for at in range(100)]
    for client in clients:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.4)  # so that all are waiting
    assert origin.count("/slow") == 1
    gate.open()
    assert [client.answer().body for client in clients] == [b"x" * 1000] * 100
    assert origin.count("/slow") == 1


def test_fifty_cold_keys_on_two_nodes_cause_fifty_requests(origin: Origin, nodes: list[Node]) -> None:
    gate = origin.gate()
    origin.otherwise = gated(gate, answer(b"x", **FRESH))
    clients = [nodes[at % 2].connect() for at in range(100)]
    for at, client in enumerate(clients):
        client.send(f"GET /{at // 2} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await_heard(nodes)
    origin.await_requests(50)
    gate.open()
    assert [client.answer().body for client in clients] == [b"x"] * 100
    assert sorted(request.target for request in origin.requests) == sorted(f"/{n}" for n in range(50))


def test_who_asks_just_after_another_node_has_stored_it_does_not_fetch_it_again(
    origin: Origin, nodes: list[Node]
) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    clients = [nodes[at % 2].connect() for at in range(40)]
    for n in range(10):
        for at, client in enumerate(clients):
            client.send(f"GET /{n}/{at // 2} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert [client.answer().body for client in clients] == [b"x"] * 40
    assert len(origin.requests) == 10 * 20


def test_those_who_wait_for_what_is_not_shareable_are_released_together(origin: Origin, nodes: list[Node]) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        await answer(b"mine", cache_control="private")(exchange)

    origin.on("/private", slow)
    began = time.monotonic()
    found = at_once(40, lambda at: nodes[at % 2].get("/private").body)
    took = time.monotonic() - began
    assert found == [b"mine"] * 40
    assert origin.count("/private") == 40
    assert took < 3 * 0.3 + 0.6, "one after the other, they waited"
    began = time.monotonic()
    at_once(20, lambda at: nodes[at % 2].get("/private").body)
    assert time.monotonic() - began < 0.3 + 0.4, "it is known by now that waiting is of no use"


def test_different_variants_are_fetched_at_the_same_time_and_each_once(origin: Origin, nodes: list[Node]) -> None:
    clients = [nodes[at % 3 % 2].connect() for at in range(60)]
    found = ask_for_variants(origin, clients, lambda: await_heard(nodes))
    assert found == [f"n={at % VARIANTS}" for at in range(60)]
    assert origin.count("/x") == VARIANTS


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("part", [b"", b"half"])
def test_what_breaks_off_is_not_tried_by_one_after_the_other(
    origin: Origin, nodes: list[Node], count: int, part: bytes
) -> None:
    clients = [nodes[at % count].connect() for at in range(100)]
    ask_for_what_breaks_off(origin, clients, lambda: await_heard(nodes), part=part)
    assert origin.count("/x") <= count


def test_another_takes_over_when_the_node_that_fetches_is_killed(origin: Origin, nodes: list[Node]) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.read_until_end()

    origin.on("/x", never, answer(b"x", **FRESH))
    leader, other = nodes
    with Client(leader.address) as client:
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        origin.await_requests(1)
        waiting = other.connect()
        waiting.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.3)
        assert origin.count("/x") == 1
        began = time.monotonic()
        leader.kill()
        assert waiting.answer().body == b"x"
    assert time.monotonic() - began < 4
    assert origin.count("/x") == 2


def test_a_node_that_dies_while_it_receives_leaves_nothing(
    origin: Origin, nodes: list[Node], redis_server: RedisServer
) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length=400_000, **FRESH) + bytes(200_000))
        await exchange.read_until_end()

    origin.on("/half", half, answer(b"whole", **FRESH))
    leader, other = nodes
    with Client(leader.address) as client:
        client.send(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        client.read(200_000)
        leader.kill()
    assert other.get("/half").body == b"whole"
    assert keys_without_expiry(redis_server) == []


def test_a_node_that_is_stopped_does_not_hold_up_the_others_purges(origin: Origin, nodes: list[Node]) -> None:
    one, other = nodes
    origin.on("/x", answer(b"x", **FRESH))
    one.fill("/x")
    other.signal(signal.SIGTERM)
    assert other.ended() == 0
    began = time.monotonic()
    assert one.purge(url="/x")["processes"] == 1
    assert time.monotonic() - began < 1.5


def test_what_was_answered_just_before_sigterm_is_in_redis(origin: Origin, nodes: list[Node]) -> None:
    one, other = nodes
    body = random.Random(2).randbytes(2**20)
    origin.on("/x", answer(body, **FRESH))
    one.get("/x")
    one.signal(signal.SIGTERM)
    assert one.ended() == 0
    found = other.get("/x")
    assert (found.x_cache, found.body == body) == ("HIT", True)
