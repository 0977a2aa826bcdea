"""`--workers 2` with every store: purges under load, and invalidation by what passes through another worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.fleet.editions import purge_under_load
from tests.support.answers import answer
from tests.support.processes import await_that

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]


@pytest.fixture(params=["memory", "disk", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return each kind of store."""
    if request.param == "redis":
        return str(request.getfixturevalue("redis_server").url)
    return f"disk:{tmp_path / 'cache'}" if request.param == "disk" else "memory"


def test_thirty_purges_under_load(origin: Origin, start: Start, store: str) -> None:
    node = start(store=store, workers=2)
    connections = [*node.connect_to_each().values(), *node.connect_to_each().values()]
    receipts = purge_under_load(origin, [node], connections=connections)
    assert {receipt["processes"] for receipt in receipts} == {2}
    # Under load a purge may come while what it purges is still on its way to the store, where receipts are counted.
    assert sum(bool(receipt["entries"]) for receipt in receipts) >= 20
    assert len(node.workers) == 2
    assert node.errors == ""


def test_an_unsafe_request_invalidates_in_the_other_worker_before_its_answer(
    origin: Origin, start: Start, store: str
) -> None:
    node = start(store=store, workers=2)
    one, other = node.connect_to_each().values()
    for turn in range(20):
        new = b"%d" % turn
        origin.on("/x", answer(new, cache_control="max-age=600"))
        asked, told = (one, other) if turn % 2 else (other, one)
        assert asked.ask("POST", "/x", b"change").status == 200
        assert told.get("/x").body == new
        for client in (one, other):
            await_that(lambda client=client: client.get("/x").x_cache == "HIT", "it is stored")
