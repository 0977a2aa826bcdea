"""Fetches that no client waits for: they go on because what arrives may become an entry, but not without end.

Their clients have left, or have had what they wanted of it; or there was none, as when a stale entry is refreshed in
the background. Each has so many seconds to be complete, and is the first to go where there are too few connections
or threads for those that clients do wait for.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class Unattended(Generic[C]):
    """Calls without a client, the one that has been so for longest first.

    `seconds`: 0 for no limit; `are_in_the_way`: whether others wait for what these take.
    """

    __slots__ = ("_are_in_the_way", "_break_off", "_seconds", "_timer", "ends")

    def __init__(
        self, seconds: float, break_off: Callable[[C], object], are_in_the_way: Callable[[], object] = lambda: False
    ) -> None:
        self._seconds = seconds
        self._break_off = break_off
        self._are_in_the_way = are_in_the_way
        self._timer: asyncio.TimerHandle | None = None
        self.ends: dict[C, float] = {}
        """When each must be over, on the loop's clock."""

    def add(self, call: C) -> None:
        """Begin to count a call's time: no client waits for it."""
        loop = asyncio.get_running_loop()
        self.ends[call] = loop.time() + self._seconds
        if self._seconds and self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)
        self.give_way()

    def remove(self, call: C) -> None:
        """Stop counting: a client waits for the call again, or it is over."""
        self.ends.pop(call, None)
        if not self.ends:
            self.clear()

    def give_way(self) -> None:
        """Break off the call that has been without a client for longest, if there is one and it is in the way."""
        if self.ends and self._are_in_the_way():
            self._end(next(iter(self.ends)))

    def clear(self) -> None:
        """Forget all calls."""
        self.ends.clear()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _end(self, call: C) -> None:
        self.remove(call)
        self._break_off(call)

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for call, end in list(self.ends.items()):
            if end > now:
                self._timer = loop.call_later(end - now, self._look)
                return
            self._end(call)
