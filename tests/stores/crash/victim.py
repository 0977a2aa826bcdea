"""A process that stores, freshens and purges as fast as it can, and says what it does, until it is killed.

It says `put KEY STAMP`, `purge KEY STAMP` or `soften KEY STAMP` before it does it, and `done` when all it has said is
committed. Content can be told to be whole by itself: see `content`.

As a program: for each line `FOLDER SEED STAMP SAID` that it is given it forks such a process, which says what it does
in the file SAID; it says `PID`, and when that has ended `ended STATUS`. To start Python each time would take longest.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from tests.stores.backends import Loop, Tiered, disk, make_entry, nobody

from springhouse.rules.purging import Keys, Purge
from springhouse.stores.disk.parts import DiskLimits

LIMITS = DiskLimits(inline_max=2_000, whole_max=3_000, budget=60_000_000)
LENGTHS = [10, 900, 2_500, 50_000, 700_000]
KEYS = [b"http://a.test/%d" % number for number in range(40)]


def content(key: bytes, stamp: int, length: int) -> bytes:
    """Return content that says of every part of itself where it belongs."""
    line = b"%s %d %d\n" % (key, stamp, length)
    return (line * (length // len(line) + 1))[:length]


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def store_one(store: Tiered, chance: random.Random, key: bytes, stamp: int) -> None:
    data = content(key, stamp, chance.choice(LENGTHS))
    if chance.random() < 0.7:
        store.put(make_entry(key, data, at=stamp))
        return
    arriving = store.tier.arrive(key, nobody)
    if arriving is None:
        return
    for start in range(0, len(data), 100_000):
        arriving.write(data[start : start + 100_000])
    arriving.commit(make_entry(key, at=stamp))


def freshen(store: Tiered, key: bytes) -> None:
    for old in store.lookup(key):
        new = make_entry(key, at=old.received_at)
        new.fields = [(b"ETag", old.etag or b""), (b"X-Freshened", b"yes")]
        new.content, new.length, new.fresh_until = old.content, old.length, old.fresh_until
        store.replace(old, new)


def main(folder: Path, seed: int, stamp: int) -> None:
    chance = random.Random(seed)
    loop = Loop()
    store = Tiered(disk(folder, loop, LIMITS), loop)
    say("ready")
    while True:
        for _ in range(chance.randrange(1, 12)):
            stamp += 1
            key, what = chance.choice(KEYS), chance.random()
            if what < 0.8:
                say(f"put {key.decode()} {stamp}")
                store_one(store, chance, key, stamp)
            elif what < 0.88:
                freshen(store, key)
            elif what < 0.94:
                say(f"soften {key.decode()} {stamp}")
                store.purge(Purge(Keys((key,)), stale_from=float(stamp)))
            else:
                say(f"purge {key.decode()} {stamp}")
                store.purge(Purge(Keys((key,))))
        loop.result(lambda answer: store.tier.flush(lambda: answer(None)))
        if store.tier.errors.counts:
            say(f"trouble {dict(store.tier.errors.counts)}")
        say("done")


def fork(folder: Path, seed: int, stamp: int, said: Path) -> int:
    """Fork such a process; return its number."""
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(said, os.O_WRONLY), 1)
            main(folder, seed, stamp)
        finally:
            os._exit(1)
    return child


if __name__ == "__main__":
    for line in sys.stdin:
        folder, seed, stamp, said = line.split()
        pid = fork(Path(folder), int(seed), int(stamp), Path(said))
        say(str(pid))
        say(f"ended {os.waitpid(pid, 0)[1]}")
