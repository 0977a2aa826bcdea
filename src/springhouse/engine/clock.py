"""The one place that reads clocks, and notices when the wall clock is put back. Tests put their own in place of `wall`.

Entries carry instants of the wall clock, for they go to disks and other machines. When it is put back they seem younger
than they are (decision 0034).
"""

from collections.abc import Callable
from time import monotonic, time
from typing import Final

Clock = Callable[[], float]

wall: Clock = time
"""Seconds since 1970."""
steady: Clock = monotonic
"""Seconds since whenever; nobody puts it back."""
LOOK_S: Final = 1.0
"""How often to look whether the wall clock was put back."""
TOLERANCE_S: Final = 2.0
"""By how much it may be, in all, without consequences: a leap second, a small step."""


class Setbacks:
    """Compares a wall clock with a steady one."""

    def __init__(self, wall: Clock, steady: Clock) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = wall() - steady()
        """How far the wall clock was ahead of the steady one at most, since it was last put back."""

    def look(self) -> float:
        """Return by how many seconds the wall clock has been put back, 0.0 if not by much; say each setback once."""
        ahead = self._wall() - self._steady()
        back = self._ahead - ahead
        if 0.0 <= back <= TOLERANCE_S:
            return 0.0
        self._ahead = ahead
        return max(0.0, back)


def steady_beside(clock: Clock) -> Clock:
    """Return the steady clock to compare with: one of a test's own is only put back where the test says so."""
    return steady if clock is wall else getattr(clock, "steady", clock)
