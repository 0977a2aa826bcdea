"""`--workers 2` with every store: purges under load, and invalidation by what passes through another worker."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
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
    node = start(store=store, workers=2, store_timeout=10)
    connections = [*node.connect_to_each().values(), *node.connect_to_each().values()]
    receipts = purge_under_load(origin, [node], connections=connections)
    assert {receipt["processes"] for receipt in receipts} == {2}
    assert all(receipt["entries"] for receipt in receipts), receipts
    assert len(node.workers) == 2
    assert node.errors == ""


def test_what_the_other_worker_has_not_written_is_counted(origin: Origin, start: Start, tmp_path: Path) -> None:
    node = start(store=f"disk:{tmp_path}", workers=2, token="t")
    origin.on("/x", answer(b"x", cache_control="max-age=600"))
    asked, other = node.connect_to_each().values()
    with closing(sqlite3.connect(tmp_path / "entries.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # nobody writes meanwhile
        assert [other.get("/x").x_cache for _ in range(2)] == ["MISS", "HIT"]
        asked.send(b"PURGE /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n")
        await_that(lambda: other.get("/x").x_cache != "HIT", "the other worker has heard of it")
        database.execute("ROLLBACK")
    assert json.loads(asked.answer().body)["entries"] == 1


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
