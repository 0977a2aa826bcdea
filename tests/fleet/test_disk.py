"""`--store disk:FOLDER`: what survives kill -9, and two proxies on one folder."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.fleet.editions import purge_under_load
from tests.support.answers import answer, in_parts
from tests.support.client import Client
from tests.support.processes import await_that

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

MIB = 2**20
BIG = random.Random(1).randbytes(16 * MIB)


def written(folder: Path) -> int:
    """Return how many responses the database in the folder has."""
    with closing(sqlite3.connect(folder / "entries.sqlite")) as database:
        count: int = database.execute("SELECT count(*) FROM entries").fetchone()[0]
        return count


def files(folder: Path) -> list[Path]:
    """Return the files of large bodies."""
    return [path for path in (folder / "bodies").rglob("*") if path.is_file()]


def test_fifty_objects_and_a_large_one_survive_kill_9(origin: Origin, start: Start, tmp_path: Path) -> None:
    bodies = {f"/{n}": random.Random(n).randbytes(400 * n + 1) for n in range(50)} | {"/big": BIG}
    for target, body in bodies.items():
        origin.on(target, answer(body, cache_control="max-age=600", etag=f'"{target}"', x_mark=target))
    node = start(store=f"disk:{tmp_path}")
    before = {target: node.get(target) for target in bodies}
    await_that(lambda: written(tmp_path) == 51, "all is written")
    node.kill()
    node = start(store=f"disk:{tmp_path}")
    for target, body in bodies.items():
        found = node.get(target)
        assert (found.status, found.x_cache, found.body == body) == (200, "HIT", True), target
        assert (found["ETag"], found["X-Mark"]) == (before[target]["ETag"], before[target]["X-Mark"])
    assert len(origin.requests) == 51
    assert node.errors == ""


def test_a_range_of_a_large_object_is_answered_without_reading_it_whole(
    origin: Origin, start: Start, tmp_path: Path
) -> None:
    origin.on("/big", answer(BIG, cache_control="max-age=600"))
    node = start(store=f"disk:{tmp_path}")
    node.get("/big")
    await_that(lambda: written(tmp_path) == 1, "it is written")
    node.kill()
    node = start(store=f"disk:{tmp_path}")
    before = read_by(node)
    found = node.get("/big", range=f"bytes={9 * MIB + 5}-{9 * MIB + 1004}")
    assert (found.status, found.x_cache, found.body) == (206, "HIT", BIG[9 * MIB + 5 : 9 * MIB + 1005])
    assert read_by(node) - before < 2 * MIB


def read_by(node: Node) -> int:
    """Return the bytes that a process has read in all, from files and sockets."""
    lines = Path(f"/proc/{node.process.pid}/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar:")))


@pytest.mark.parametrize("size", [30_000, 4 * MIB])
def test_a_fill_that_kill_9_interrupts_leaves_nothing(origin: Origin, start: Start, tmp_path: Path, size: int) -> None:
    gate = origin.gate()
    origin.on("/half", in_parts(BIG[: size // 2], gate, BIG[size // 2 : size], cache_control="max-age=600"))
    node = start(store=f"disk:{tmp_path}")
    with Client(node.address) as client:
        client.send(b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        client.read(size // 2)
        node.kill()
    gate.open()
    node = start(store=f"disk:{tmp_path}")
    assert written(tmp_path) == 0
    await_that(lambda: files(tmp_path) == [], "what was begun is swept away")
    origin.on("/half", answer(BIG[:size], cache_control="max-age=600"))
    found = node.get("/half")
    assert (found.x_cache, found.body == BIG[:size]) == ("MISS", True)
    assert node.fill("/half").body == BIG[:size]


def test_a_lookup_may_take_as_long_as_store_timeout_says(origin: Origin, start: Start, tmp_path: Path) -> None:
    origin.otherwise = answer(BIG[: 3 * MIB], cache_control="max-age=600")
    options: dict[str, object] = {"store": f"disk:{tmp_path}", "memory": "64MiB"}
    patient, hasty = (start(**options, store_timeout=seconds) for seconds in (10, 0.05))
    with closing(sqlite3.connect(tmp_path / "entries.sqlite", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # what is put waits, and with it who looks for it
        assert [patient.get("/x").x_cache, hasty.get("/y").x_cache] == ["MISS", "MISS"]
        client = patient.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert hasty.get("/y").x_cache == "MISS"
        database.execute("ROLLBACK")
    assert client.answer().x_cache == "HIT"


def test_two_proxies_share_a_folder_and_purge_each_other(origin: Origin, start: Start, tmp_path: Path) -> None:
    one, other = start(store=f"disk:{tmp_path}"), start(store=f"disk:{tmp_path}")
    large = BIG[: 3 * MIB]
    for count, (target, body) in enumerate({"/small": b"1", "/large": large}.items(), 1):
        origin.on(target, answer(body, cache_control="max-age=600", cache_tag="all"))
        one.get(target)
        await_that(lambda count=count: written(tmp_path) == count, "it is written")
        found = other.get(target)
        assert (found.x_cache, found.body == body) == ("HIT", True)
    assert len(origin.requests) == 2
    for turn in range(20):
        purger, reader = (one, other) if turn % 2 else (other, one)
        new = b"%d" % (turn + 2)
        origin.on("/small", answer(new, cache_control="max-age=600", cache_tag="all"))
        order = [{"url": "/small"}, {"prefix": "/s"}, {"tag": "all"}, {"all": True}][turn // 2 % 4]
        receipt = purger.purge(**order)
        assert receipt["entries"] >= 1
        assert receipt["processes"] == 2
        assert reader.get("/small").body == new
        one.fill("/small")
        other.fill("/small")


def test_two_proxies_on_one_folder_under_load(origin: Origin, start: Start, tmp_path: Path) -> None:
    nodes = [start(store=f"disk:{tmp_path}") for _ in range(2)]
    purge_under_load(origin, nodes, connections=[node.connect() for node in nodes for _ in range(2)])
