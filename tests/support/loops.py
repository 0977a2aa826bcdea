"""An event loop in a thread of its own, driven from blocking test code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
PATIENCE_S = 10.0
"""How long anything may take that should happen at once."""
STEP_S = 0.05
"""Seconds by which a clock that stands is moved at once."""


def uvloop_or_asyncio() -> asyncio.AbstractEventLoop:
    """Return the loop the proxy itself would choose."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class StandingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands until a test moves it.

    A deadline comes when the test says so: no test waits for one, nor misses it where the machine is slow.
    """

    now = 1000.0

    def time(self) -> float:
        return self.now

    async def pass_time(self, seconds: float) -> None:
        """Do what there is to be done, then let time pass in small steps: timers go off in order."""
        end = self.now + seconds
        await _turns()
        while self.now < end:
            self.now = min(self.now + STEP_S, end)
            await _turns(3)
        await _turns()


async def _turns(count: int = 20) -> None:
    """Let the loop look at its sockets and do what that calls for, over and over."""
    for _ in range(count):
        await asyncio.sleep(0)


class LoopThread:
    """A running loop. What goes wrong in it unseen is kept in `errors`."""

    def __init__(self, factory: LoopFactory = asyncio.new_event_loop) -> None:
        self.loop = factory()
        self.errors: list[str] = []
        self.loop.set_exception_handler(self._note)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = PATIENCE_S) -> T:
        """Run a coroutine in the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in the loop's thread and return what it returns."""

        async def calling() -> T:
            return function(*args)

        return self.run(calling())

    def close(self) -> None:
        """Cancel what still runs, end the loop and its thread."""
        self.run(self._cancel_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

    async def _cancel_tasks(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)  # transports that were aborted close now

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context['message']}: {context.get('exception')!r}")
