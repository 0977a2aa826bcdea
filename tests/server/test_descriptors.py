"""Too few file descriptors for all clients: the limit is raised, or fewer are let in, and origins are reached."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.client import Client
from tests.support.processes import Running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.origin import Origin

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at limits by /proc")
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))"
FRESH = {"cache_control": "max-age=600"}


def limits_of(pid: int) -> tuple[int, int]:
    """Return how many files a process may have open: the soft and the hard limit."""
    found = re.search(r"^Max open files +(\d+) +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]), int(found[2])


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def held(proxy: Running, count: int) -> Iterator[list[Client]]:
    """Hold so many connections open that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(proxy.address)) for _ in range(count)]


@pytest.mark.parametrize(
    "options", [{}, {"store": "disk"}, {"workers": 2}, {"frontend": "fastapi"}], ids=lambda o: "-".join(o) or "native"
)
def test_clients_do_not_take_what_the_origin_needs(origin: Origin, options: dict[str, object], tmp_path: Path) -> None:
    origin.otherwise = answer(b"x" * 100_000, **FRESH)
    options = {name: f"disk:{tmp_path}" if name == "store" else value for name, value in options.items()}
    with Running(LIMITED.format(soft=300, hard=300), origin=origin.url, idle_timeout=60, **options) as proxy:
        proxy.started()
        healthy = proxy.connect()
        healthy.get("/hit")
        with held(proxy, 400 if "workers" not in options else 800):
            for pid in proxy.workers or [proxy.process.pid]:
                assert len(os.listdir(f"/proc/{pid}/fd")) < 290
            assert healthy.get("/hit").x_cache == "HIT"
            assert [healthy.get(f"/{n}").status for n in range(5)] == [200] * 5
            before = cpu_of(proxy.process.pid)
            time.sleep(0.3)
            assert cpu_of(proxy.process.pid) - before < 0.15, "nobody tries again and again to take a connection"
        said = re.fullmatch(
            r"springhouse: only 300 files may be open \(ulimit -n\), \d+ are wanted: serving (\d+) clients at once "
            r"instead of 10000, with \d+ connections to the origin\n",
            proxy.errors,
        )
        assert said is not None, proxy.errors
        assert 50 < int(said[1]) < 200


def test_the_limit_is_raised_without_a_word(origin: Origin) -> None:
    origin.otherwise = answer(b"x")
    options = {"max_connections": 300, "origin_connections": 50, "workers": 2}
    with Running(LIMITED.format(soft=64, hard=4000), origin=origin.url, **options) as proxy:
        proxy.started()
        for pid in proxy.workers:
            assert limits_of(pid) == (478, 4000)
        with held(proxy, 200):
            assert proxy.connect().get("/").status == 200
        assert proxy.errors == ""


def test_a_limit_that_is_large_enough_is_left_alone(origin: Origin) -> None:
    options = {"max_connections": 300, "origin_connections": 50}
    with Running(LIMITED.format(soft=1000, hard=4000), origin=origin.url, **options) as proxy:
        proxy.started()
        assert limits_of(proxy.process.pid) == (1000, 4000)
        assert proxy.errors == ""
