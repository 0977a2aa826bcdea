"""Stores that cannot be used, or not wholly: the proxy says clearly what is wrong, or starts and answers."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from itertools import count, cycle
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import SPRINGHOUSE, Load, command
from tests.support.answers import answer
from tests.support.processes import await_that

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.origin import Exchange, Origin

    Start = Callable[..., Node]

FRESH = {"cache_control": "max-age=600"}


@pytest.mark.parametrize("damage", ["no database", "cut off", "overwritten"])
def test_a_corrupt_database_is_set_aside(origin: Origin, start: Start, tmp_path: Path, damage: str) -> None:
    origin.otherwise = answer(b"x" * 1000, **FRESH)
    node = start(store=f"disk:{tmp_path}")
    for n in range(20):
        node.get(f"/{n}")
    node.signal(15)
    assert node.ended() == 0
    damage_it(tmp_path / "entries.sqlite", damage)
    node = start(store=f"disk:{tmp_path}")
    for n in range(20):
        found = node.get(f"/{n}")
        assert (found.status, found.body) == (200, b"x" * 1000)
    assert node.errors != "", "it says so"
    node.fill("/0")
    node.signal(15)
    node.ended()
    node = start(store=f"disk:{tmp_path}")
    assert node.get("/19").x_cache == "HIT", "it is as good as new"
    assert node.errors == ""


def damage_it(path: Path, damage: str) -> None:
    """Spoil a file."""
    data = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"nonsense" * 1000)
    elif damage == "cut off":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:4096] + bytes(4096) + os.urandom(len(data) - 8192))


def test_a_database_of_the_future_is_not_touched_or_set_aside(origin: Origin, start: Start, tmp_path: Path) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    node = start(store=f"disk:{tmp_path}")
    node.get("/x")
    node.signal(15)
    node.ended()
    with closing(sqlite3.connect(tmp_path / "entries.sqlite")) as database:
        database.execute("PRAGMA user_version = 999")
    node = start(store=f"disk:{tmp_path}")
    assert node.get("/x").status == 200
    assert node.errors != ""


@pytest.mark.parametrize("where", ["/proc/springhouse", "/dev/null/cache", "{file}", "{file}/below"])
def test_a_folder_that_cannot_be_used_is_said_at_the_start(origin: Origin, tmp_path: Path, where: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    folder = where.format(file=file)
    for more in ([], ["--workers", "2"], ["--frontend", "fastapi"], ["--frontend", "flask"]):
        done = command(
            "springhouse", "serve", "--origin", origin.url, "--port", "0", "--store", f"disk:{folder}", *more
        )
        assert done.returncode == 2, (more, done)
        assert folder in done.stderr
        assert "Traceback" not in done.stderr, more
        assert "listens on" not in done.stdout


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("disc", "is no store"),
        ("disk:", "which folder"),
        ("redis", "--store"),
        ("redis://", "needs a host"),
        ("redis://h:99999999", "--store"),
        ("redis://h/zero", "'zero' is no number"),
        ("redis://h?x=1", "no option 'x'"),
        ("redis+cluster://h/1", "only database 0"),
        ("unix://", "path of a socket"),
        ("http://localhost", "is no store"),
        ("", "is no store"),
    ],
)
def test_a_store_that_makes_no_sense_is_said_at_the_start(origin: Origin, value: str, says: str) -> None:
    done = command("springhouse", "serve", "--origin", origin.url, "--port", "0", "--store", value)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prefix_that_redis_cluster_would_misread_is_said(origin: Origin) -> None:
    done = command(
        "springhouse", "serve", "--origin", origin.url, "--port", "0", "--store", "redis://h", "--store-prefix", "{a}"
    )
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_full_disk_costs_hits_not_answers(origin: Origin, start: Start, tmp_path: Path) -> None:
    """No file of the process may grow beyond a megabyte, which is as good as a full disk."""
    first = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))"
    origin.otherwise = answer(b"x" * 200_000, **FRESH)
    node = start("-c", f"{first}; {SPRINGHOUSE[1]}", "serve", store=f"disk:{tmp_path}", memory="2MiB")
    origin.on("/large", answer(b"y" * 900_000, **FRESH))
    for _ in range(3):
        for n in range(30):
            found = node.get(f"/{n}")
            assert (found.status, len(found.body)) == (200, 200_000)
    origin.otherwise = answer(b"z" * 20_000, **FRESH)
    for n in range(30, 150):
        assert node.get(f"/{n}").status == 200
    await_that(lambda: node.errors != "", "it says that it cannot write")
    assert "Traceback" not in node.errors
    for n in range(150):
        assert node.get(f"/{n}").status == 200
    assert node.purge(all=True)["processes"] == 1
    origin.otherwise = answer(b"new", **FRESH)
    assert node.get("/149").body == b"new"


def test_a_folder_that_is_removed_under_load_is_made_anew(origin: Origin, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    numbers = count()

    async def each_its_own(exchange: Exchange) -> None:
        await answer(b"%d " % next(numbers) * 2000, **FRESH)(exchange)

    origin.otherwise = each_its_own
    node = start(store=f"disk:{folder}", workers=2)
    asked = cycle(range(40))

    def ask() -> None:
        assert node.get(f"/{next(asked)}").status == 200

    with Load(ask):
        for _ in range(3):
            before = node.fill("/0").body
            shutil.rmtree(folder, ignore_errors=True)
            assert node.purge(url="/0")["processes"] == 2
            assert node.get("/0").body != before
            shutil.rmtree(folder, ignore_errors=True)
            assert node.purge(all=True)["processes"] == 2
            await_that((folder / "entries.sqlite").exists, "the folder is made anew")
    stored = node.fill("/0").body
    shutil.rmtree(folder)
    began = time.monotonic()
    node.signal(15)
    assert node.ended() == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in node.errors
    node = start(store=f"disk:{folder}")
    assert node.get("/0").body != stored
    assert node.fill("/0").x_cache == "HIT"


@pytest.mark.parametrize("kind", ["disk", "redis"])
def test_what_was_signed_with_another_secret_is_a_miss(
    origin: Origin, start: Start, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    origin.otherwise = answer(b"x" * 100_000, **FRESH)
    if kind == "redis":
        where: dict[str, object] = {"store": request.getfixturevalue("shared_redis").url, "store_prefix": "hmac:"}
    else:
        where = {"store": f"disk:{tmp_path}"}

    def asked_with(secret: str) -> str | None:
        node = start(**where, store_secret=secret)
        for _ in range(40):  # until it is connected
            word = node.get(f"/{kind}").x_cache
            if word == "HIT":
                break
        node.signal(15)
        assert node.ended() == 0
        return word

    counts = []
    for secret in ("one", "one", "two", "two", "one"):
        before = origin.count(f"/{kind}")
        assert asked_with(secret) == "HIT"
        counts.append(origin.count(f"/{kind}") - before)
    if kind == "disk":
        assert counts == [1, 0, 1, 0, 1]
    else:
        assert counts[2] > 0
        assert counts[4] > 0
