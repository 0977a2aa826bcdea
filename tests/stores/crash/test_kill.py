"""Law 8: a `kill -9` at any moment loses at most what was being written, and leaves half of nothing.

As many rounds as fit in a few seconds by default; CRASH_ROUNDS in the environment asks for more.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.stores.audit import audit
from tests.stores.backends import Loop, Tiered, content_of, disk
from tests.stores.crash.victim import KEYS, LIMITS, content

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "50"))
ROOT = Path(__file__).resolve().parents[3]

State = dict[bytes, tuple[int, float]]
"""For each key that is stored the stamp of what is stored, and until when it is fresh."""


class Nursery:
    """Where victims come from: a process that has all they need, and forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stores.crash.victim"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run_and_kill(self, folder: Path, seed: int, stamp: int, seconds: float) -> list[str]:
        """Let a victim work for a while, kill it, and return what it said."""
        said = folder.with_name("said")
        said.write_bytes(b"")
        victim = int(self._asked(f"{folder} {seed} {stamp} {said}"))
        try:
            deadline = time.monotonic() + 20
            while not said.stat().st_size:
                assert time.monotonic() < deadline, "The victim does nothing"
                time.sleep(0.001)
            time.sleep(seconds)
        finally:
            os.kill(victim, signal.SIGKILL)
            how = self._answer()
        assert how == f"ended {signal.SIGKILL:d}", "The victim died by itself"
        return said.read_text().splitlines()[1:]

    def _asked(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=20)


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    running = Nursery()
    yield running
    running.close()


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
        what, name, number_said = line.split()
        key, stamp = name.encode(), int(number_said)
        before_it = state.pop(key, None)
        if what == "put":
            state[key] = (stamp, stamp + 59.75)
        elif what == "soften" and before_it is not None:
            state[key] = (before_it[0], min(before_it[1], stamp))
    return states


def found_in(store: Tiered, loop: Loop) -> State:
    """Return what is stored, all of it whole."""
    found: State = {}
    for key in KEYS:
        for entry in store.lookup(key):
            stamp = int(entry.received_at)
            found[key] = (stamp, entry.fresh_until)
            assert content_of(entry, loop) == content(key, stamp, entry.length or 0), "half a body"
    assert store.tier.errors.counts["damaged"] == 0
    return found


def sweep(store: Tiered, loop: Loop) -> None:
    """Sweep now instead of in a second."""
    tier = store.tier
    loop.result(lambda done: tier._readers.submit(lambda db: (tier._sweep(db), loop.deliver(done, None))))


def test_a_kill_loses_at_most_what_was_being_written(tmp_path: Path, nursery: Nursery) -> None:
    folder = tmp_path / "store"
    chance = random.Random(20_260)
    state: State = {}
    stamp = losses = 0
    for number in range(ROUNDS):
        said = nursery.run_and_kill(folder, number, stamp, chance.uniform(0.0, 0.06))
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
