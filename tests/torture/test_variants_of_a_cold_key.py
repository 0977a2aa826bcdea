"""Many clients ask for one cold key and are different: none of them queues behind the others (laws 10 and 12).

Queues would take as many turns of the origin as there are clients; here each takes one, two or three.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head
from tests.support.client import Broken
from tests.support.messages import request
from tests.support.processes import Running
from tests.support.redis_server import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.client import Client
    from tests.support.origin import Exchange, Handler, Origin

__all__ = ["redis_server"]

TURN_S = 0.3
FRESH = {"cache_control": "max-age=600"}


@pytest.fixture(params=["memory", "disk, 2 workers", "redis", "redis, 2 nodes"])
def nodes(request: pytest.FixtureRequest, origin: Origin, tmp_path: Path) -> Iterator[list[Running]]:
    """Start proxies that share a store."""
    store, _, count = request.param.partition(", ")
    options: dict[str, object] = {"origin": origin.url, "store": store}
    if store == "disk":
        options |= {"store": f"disk:{tmp_path}", "workers": 2}
    elif store == "redis":
        options["store"] = request.getfixturevalue("redis_server").url
    started = [Running(**options) for _ in range(2 if count == "2 nodes" else 1)]
    for node in started:
        node.started()
    time.sleep(0.3 if store == "redis" else 0)  # until they are connected
    yield started
    for node in started:
        node.close()


def varied(*names: str, **fields: str) -> Handler:
    """Answer after a turn with what was chosen by these fields."""

    async def handler(exchange: Exchange) -> None:
        await asyncio.sleep(TURN_S)
        body = "|".join(exchange.request.get(name, "-") for name in names).encode()
        await answer(body, vary=", ".join(names), **{**FRESH, **fields})(exchange)

    return handler


def ask_all(nodes: list[Running], target: str, fields: list[dict[str, str]]) -> list[Client]:
    clients = [nodes[at % len(nodes)].connect() for at in range(len(fields))]
    for client, more in zip(clients, fields, strict=True):
        client.send(request("GET", target, **more))
    return clients


def got(client: Client) -> bytes | int:
    """Return what a client is answered: the content, the status of an error, or -1 when it is broken off."""
    try:
        found = client.answer()
    except Broken:
        return -1
    return found.body if found.status == 200 else found.status


@pytest.mark.parametrize(("name", "count", "each"), [("User-Agent", 1000, 1), ("Cookie", 400, 1), ("Cookie", 400, 4)])
def test_different_clients_are_answered_side_by_side(
    origin: Origin, nodes: list[Running], name: str, count: int, each: int
) -> None:
    origin.on("/a", varied(name))
    values = [f"n={at // each}" for at in range(count)]
    began = time.monotonic()
    clients = ask_all(nodes, "/a", [{name.lower().replace("-", "_"): value} for value in values])
    assert [got(client) for client in clients] == [value.encode() for value in values]
    took = time.monotonic() - began
    assert took < 8, f"{took:.1f} s, {origin.count('/a')} requests"
    assert origin.count("/a") <= 2 * (count // each + 1), "once for each variant, and process, at most"
    assert origin.most_at_once > count // each // 4


@pytest.mark.parametrize("part", [b"", b"half"])
@pytest.mark.parametrize("vary", [{}, {"vary": "Cookie"}], ids=str)
def test_an_answer_that_breaks_off_is_not_retried_one_after_the_other(
    origin: Origin, nodes: list[Running], part: bytes, vary: dict[str, str]
) -> None:
    async def truncated(exchange: Exchange) -> None:
        await asyncio.sleep(TURN_S)
        await exchange.send(head(content_length=1000, **FRESH, **vary) + part)
        exchange.close()

    origin.on("/a", truncated)
    began = time.monotonic()
    clients = ask_all(nodes, "/a", [{"cookie": f"n={at}"} for at in range(200)])
    assert {got(client) for client in clients} <= {-1, 502}
    assert time.monotonic() - began < 10 * TURN_S, f"{origin.count('/a')} requests"
    assert origin.count("/a") <= 200


def test_fewer_variants_may_be_stored_than_there_are(origin: Origin) -> None:
    origin.on("/a", varied("Cookie"))
    values = [f"n={at // 2}" for at in range(400)]
    with Running(origin=origin.url, max_variants=2) as node:
        node.started()
        for _ in range(2):
            began = time.monotonic()
            clients = ask_all([node], "/a", [{"cookie": value} for value in values])
            assert [got(client) for client in clients] == [value.encode() for value in values]
            assert time.monotonic() - began < 10 * TURN_S
    assert origin.count("/a") <= 2 * 200
