"""Purges under load, and the law they are held to: who asks after the answer never sees what was purged."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from tests.fleet.node import Load
from tests.support.answers import answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fleet.node import Node
    from tests.support.client import Client
    from tests.support.origin import Exchange, Origin

TARGETS = ("/a/1", "/a/2", "/b")
ORDERS: list[dict[str, object]] = [
    {"url": "/a/1"},
    {"prefix": "/a/"},
    {"tag": "shop"},
    {"all": True},
    {"tags": ["shop", "other"], "soft": True},
    {"url": "/a/1", "soft": True},
]
"""All of them purge /a/1."""


class Editions:
    """An origin whose every answer is the number of its present edition, and takes a moment to make."""

    def __init__(self, origin: Origin) -> None:
        self.current = 1
        self.purged_up_to = 0
        """What is older than this edition was purged, and the purge was answered."""
        origin.otherwise = self._answer

    async def _answer(self, exchange: Exchange) -> None:
        edition = self.current
        await asyncio.sleep(0.003)  # so that there is always something under way
        await answer(b"%d" % edition, cache_control="max-age=600", surrogate_key="shop")(exchange)

    def look(self, client: Client, target: str = "/a/1") -> str:
        """Ask, and see to it that what comes is not older than what had been purged when it was asked for."""
        least = self.purged_up_to
        found = client.get(target)
        assert found.status == 200
        if target == "/a/1":
            assert int(found.body) >= least, f"edition {found.body!r} after a purge of all before {least}: {found}"
        return found.x_cache or ""


def purge_under_load(
    origin: Origin, nodes: Sequence[Node], *, connections: list[Client], rounds: int = 30
) -> list[dict[str, object]]:
    """Purge in all ways, through each node in turn, while clients ask over all connections; return the receipts."""
    editions = Editions(origin)
    free = list(connections)
    mine = threading.local()
    words: set[str] = set()

    def work() -> None:
        if not hasattr(mine, "client"):
            mine.client = free.pop()
        for target in TARGETS:
            words.add(editions.look(mine.client, target))

    receipts = []
    with Load(work, threads=len(connections)) as load:
        for turn in range(rounds):
            enough = load.done + 2 * len(connections)
            while load.done < enough and not load.wrong:
                threading.Event().wait(0.001)
            editions.current += 1
            receipts.append(nodes[turn % len(nodes)].purge(**ORDERS[turn % len(ORDERS)]))
            editions.purged_up_to = editions.current
            for node in nodes:
                with node.connect() as client:
                    editions.look(client)
    assert {"HIT", "MISS"} <= words
    return receipts
