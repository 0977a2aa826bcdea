"""What goes wrong with a store: counted always, said once in a while.

A store in trouble never raises to who asks it: a failed lookup is a miss, a failed put is dropped. So that this is
not silent, every failure is counted by kind, and a line is said at its first occurrence and at most once a minute
after that. Safe to call from any thread.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic

EVERY_S = 60.0


class Unusable(Exception):
    """What was to be opened as a store cannot be used at all; the text says why."""


def to_stderr(text: str) -> None:
    """Say a line on standard error."""
    print(f"springhouse: {text}", file=sys.stderr, flush=True)


class StoreErrors:
    """Counts troubles by kind; says them to `say`."""

    def __init__(self, say: Callable[[str], None] = to_stderr) -> None:
        self.counts: Counter[str] = Counter()
        self._say = say
        self._silent_until: dict[str, float] = {}
        self._lock = Lock()

    def report(self, kind: str, text: str) -> None:
        """Note a trouble. `kind`: one word of few; `text`: what happened, for the operator."""
        now = monotonic()
        with self._lock:
            self.counts[kind] += 1
            if now < self._silent_until.get(kind, 0.0):
                return
            self._silent_until[kind] = now + EVERY_S
            count = self.counts[kind]
        self.note(text if count == 1 else f"{text} ({count} times so far)")

    def note(self, text: str) -> None:
        """Say what is no trouble of a kind that repeats: a store set aside, a format brought up to date."""
        with suppress(OSError, ValueError):  # nobody listens any more: no reason to end the thread that has a trouble
            self._say(text)
