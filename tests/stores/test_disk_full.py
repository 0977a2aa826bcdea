"""A disk that is full, for real: requests are still answered, and what was purged does not come back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]

_SCRIPT = """
import os, resource, sys
from pathlib import Path
from springhouse.stores.disk.parts import DiskLimits
from springhouse.rules.purging import Everything, Keys, Purge
from tests.stores.backends import Loop, Tiered, content_of, disk, make_entry

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
loop = Loop()
store = Tiered(disk(folder, loop, DiskLimits(inline_max=20_000, whole_max=30_000, budget=10**9)), loop)
key = b"http://a.test/%d"

def flush():
    loop.result(lambda done: store.tier.flush(lambda: done(None)))

for n in range(20):
    store.put(make_entry(key % n, os.urandom(10_000)))
flush()
if limit:  # no file may grow beyond it: as good as a full disk, for every file that grows
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for n in range(20, 400):
    store.put(make_entry(key % n, os.urandom(10_000 if n % 2 else 100_000)))
    if n % 10 == 0:
        flush()
flush()
counts = store.tier.errors.counts
assert counts["write"] > 0, "the disk never was full"
assert counts["bug"] == counts["damaged"] == 0, counts
for n in range(400):  # all of them are answered, with what was stored or nothing
    for entry in store.lookup(key % n):
        assert len(content_of(entry, loop)) == entry.length

receipt = store.purge(Purge(Keys(tuple(key % n for n in range(10)))))
assert receipt.failure == "", receipt
for n in range(10):
    assert store.lookup(key % n) == (), "it was purged"

if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    (folder.parent / "ballast").unlink()
store.news()
for n in range(10):
    assert store.lookup(key % n) == (), "it was purged"
store.put(make_entry(key % 1, b"x" * 10_000))  # the first finds out that there is room again
flush()
store.news()
store.put(make_entry(key % 1, b"x" * 10_000))
assert store.lookup(key % 1), "it does not come back to normal"
store.close()
print("fine", dict(counts))
"""


def run(folder: Path, limit: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder), str(limit)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("limit", [300_000, 1_000_000, 3_000_000])
def test_files_that_cannot_grow_cost_hits_not_answers(tmp_path: Path, limit: int) -> None:
    assert run(tmp_path / "store", limit).startswith("fine")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 6 MB, if this machine lets us, and nearly fill it."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(where)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system")
    (where / "ballast").write_bytes(bytes(3_000_000))
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_costs_hits_not_answers(small_disk: Path) -> None:
    assert run(small_disk / "store", 0).startswith("fine")
