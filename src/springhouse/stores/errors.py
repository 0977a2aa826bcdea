"""What goes wrong with a store: always counted, reported once in a while.

A store that fails never raises to its caller: a failed lookup is a miss, a failed put is dropped. So that this is not
silent, every failure is counted by kind, and reported when it first occurs and at most once a minute after that.
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
    """Write a line to standard error."""
    print(f"springhouse: {text}", file=sys.stderr, flush=True)


class StoreErrors:
    """Counts errors by kind and reports them through `say`, on any thread."""

    def __init__(self, say: Callable[[str], None] = to_stderr) -> None:
        self.counts: Counter[str] = Counter()
        self._say = say
        self._silent_until: dict[str, float] = {}
        self._lock = Lock()

    def report(self, kind: str, text: str) -> None:
        """Count and report a failure. `kind`: one word of few; `text`: what happened, for the operator."""
        now = monotonic()
        with self._lock:
            self.counts[kind] += 1
            if now < self._silent_until.get(kind, 0.0):
                return
            self._silent_until[kind] = now + EVERY_S
            count = self.counts[kind]
        self.note(text if count == 1 else f"{text} ({count} times so far)")

    def note(self, text: str) -> None:
        """Report an event that is no error of a kind that repeats: a store set aside, a format brought up to date."""
        with suppress(OSError, ValueError):  # standard error is closed: no reason to end the thread that reports
            self._say(text)
