"""Law 8: a `kill -9` at any moment loses at most what was being written, and leaves half of nothing.

A couple of dozen rounds by default; CRASH_ROUNDS in the environment asks for more.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.stores.audit import audit
from tests.stores.backends import Loop, Tiered, content_of, disk
from tests.stores.crash.victim import KEYS, LIMITS, content

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "24"))
ROOT = Path(__file__).resolve().parents[3]

State = dict[bytes, int]
"""For each key that is stored the stamp of what is stored."""


def run_and_kill(folder: Path, seed: int, stamp: int, seconds: float) -> list[str]:
    """Let a victim work for a while, kill it, and return what it said."""
    said = folder.with_name("said")
    with said.open("wb") as out:
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.crash.victim", str(folder), str(seed), str(stamp)],
            cwd=ROOT,
            stdout=out,
        )
    try:
        deadline = time.monotonic() + 20
        while not said.stat().st_size:
            assert victim.poll() is None, "The victim died by itself"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(seconds)
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
    return said.read_text().splitlines()[1:]


def possible(before: State, said: list[str]) -> list[State]:
    """Return what may be stored: all that was done, and of what was under way the first so many things."""
    assert not [line for line in said if line.startswith("trouble")]
    certain = max((n + 1 for n, line in enumerate(said) if line == "done"), default=0)
    states, state = [], dict(before)
    for number, line in enumerate([*said, "done"]):
        if number >= certain:
            states.append(dict(state))
        if line == "done":
            continue
        what, key, stamp = line.split()
        state.pop(key.encode(), None)
        if what == "put":
            state[key.encode()] = int(stamp)
    return states


def found_in(store: Tiered, loop: Loop) -> State:
    """Return what is stored, all of it whole."""
    found: State = {}
    for key in KEYS:
        for entry in store.lookup(key):
            found[key] = int(entry.received_at)
            assert content_of(entry, loop) == content(key, found[key], entry.length or 0), "half a body"
    assert store.tier.troubles.counts["damaged"] == 0
    return found


def sweep(store: Tiered, loop: Loop) -> None:
    """Sweep now instead of in a second."""
    tier = store.tier
    loop.result(lambda done: tier._readers.submit(lambda db: (tier._sweep(db), loop.deliver(done, None))))


def test_a_kill_loses_at_most_what_was_being_written(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    chance = random.Random(20_260)
    state: State = {}
    stamp = losses = 0
    for number in range(ROUNDS):
        said = run_and_kill(folder, number, stamp, chance.uniform(0.0, 0.2))
        stamp += len(said) + 1_000
        loop = Loop()
        store = Tiered(disk(folder, loop, LIMITS), loop)
        found = found_in(store, loop)
        states = possible(state, said)
        assert found in states, f"round {number}: {found.items() ^ states[0].items()}"
        losses += found != states[-1]
        state = found
        sweep(store, loop)
        store.close()
        assert audit(folder) == []
    assert state, "nothing was ever stored"
    if ROUNDS >= 20:
        assert losses, "nothing was ever under way: the test tests nothing"
