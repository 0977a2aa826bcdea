"""The tasks of a store: what is done about one key is done in the order in which it was asked for."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from springhouse.stores.errors import StoreErrors

Work = Coroutine[object, object, None]
Spawn = Callable[[Work], object]
"""Runs a coroutine as a task to which a reference is kept until it ends."""
InOrder = Callable[[bytes, Work], object]
"""Does something about a key after all that was asked for it before."""


class KeyedTasks:
    """Runs coroutines, on the running loop. What they raise is reported as a bug of the store."""

    def __init__(self, errors: StoreErrors) -> None:
        self._errors = errors
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._apart: set[asyncio.Task[None]] = set()
        """Those of them that write nothing others wait for."""
        self._last: dict[bytes, asyncio.Task[None]] = {}
        """The last thing to do about a key."""

    def spawn(self, work: Work) -> "asyncio.Task[None]":
        """Run something at once."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._errors.report("bug", f"the store in Redis failed: {task.exception()!r}")

    def spawn_apart(self, work: Work) -> "asyncio.Task[None]":
        """Run something at once that `writes` does not count."""
        task = self.spawn(work)
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)
        return task

    def in_order(self, key: bytes, work: Work) -> None:
        """Do something about a key after all that was asked for it before."""
        task = self.spawn(_after(self._last.get(key), work))
        self._last[key] = task

        def forget(_: object) -> None:
            if self._last.get(key) is task:
                del self._last[key]

        task.add_done_callback(forget)

    def last_about(self, key: bytes) -> "asyncio.Task[None] | None":
        """Return what is done last about a key; None if nothing is to be done."""
        return self._last.get(key)

    def about(self, keys: Iterable[bytes] | None) -> "list[asyncio.Task[None]]":
        """Return what is done last about some keys, or about all."""
        if keys is None:
            return list(self._last.values())
        return [self._last[key] for key in set(keys) if key in self._last]

    def writes(self) -> "tuple[asyncio.Task[None], ...]":
        """Return all that may write something."""
        return tuple(self._tasks - self._apart)

    async def finish(self, timeout: float) -> None:
        """Wait for everything, for some seconds at most, and cancel the rest."""
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _after(before: "asyncio.Task[None] | None", work: Work) -> None:
    try:
        if before is not None:
            await asyncio.wait({before})
        await work
    finally:
        work.close()
