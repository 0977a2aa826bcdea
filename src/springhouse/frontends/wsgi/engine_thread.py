"""An engine on an event loop in a thread of its own, for servers that have threads and no loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from springhouse.engine.engine import Engine
from springhouse.frontends.options import FrontendOptions
from springhouse.frontends.serving import CONTROL_S, Control
from springhouse.observe.accesslog import AccessLog
from springhouse.service import new_event_loop

T = TypeVar("T")


class EngineThread:
    """An engine on an event loop in a thread of its own, started when first needed, once per process."""

    def __init__(self, make: Callable[[], Engine], options: FrontendOptions) -> None:
        self._make = make
        self._options = options
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._engine: Engine | None = None
        self._beside: list[Control] = []
        self.log: AccessLog | None = None

    def running(self) -> tuple[asyncio.AbstractEventLoop, Engine]:
        """Return the loop and its engine, which must be used on the loop's thread only."""
        if self._loop is None or self._engine is None or self._pid != os.getpid():
            with self._lock:
                if self._loop is None or self._pid != os.getpid():
                    self._start()
        assert self._loop is not None
        assert self._engine is not None
        return self._loop, self._engine

    def call(self, function: Callable[[Engine], T]) -> T:
        """Call a function with the engine, on its thread, and return what it returns."""
        loop, engine = self.running()
        return _in_loop(loop, lambda: function(engine))

    def serve_beside(self, serve: Callable[[Engine], Coroutine[Any, Any, Control]]) -> None:
        """Let the engine take orders of another kind on its thread, until it is closed."""
        loop, engine = self.running()
        self._beside.append(asyncio.run_coroutine_threadsafe(serve(engine), loop).result())

    def close(self) -> None:
        """Release store, log and the connections to the origin, and stop the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
            engine, self._engine = self._engine, None
            log, self.log = self.log, None
            beside, self._beside = self._beside, []
        if loop is None or engine is None or self._pid != os.getpid():
            return
        for each in beside:
            asyncio.run_coroutine_threadsafe(each.stop(CONTROL_S), loop).result()
        asyncio.run_coroutine_threadsafe(engine.aclose(), loop).result()
        if log is not None:
            _in_loop(loop, log.close)
        loop.call_soon_threadsafe(loop.stop)

    def _start(self) -> None:
        """A process that was forked has the memory of the other, but not its thread: it starts afresh."""
        engine, loop = self._make(), new_event_loop()
        threading.Thread(target=loop.run_forever, name="springhouse", daemon=True).start()
        try:
            _in_loop(loop, engine.open)
            self.log = self._options.open_log()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        self._pid = os.getpid()
        self._loop, self._engine = loop, engine


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Call a function on the thread of a loop and return what it returns."""

    async def run() -> T:
        return function()

    return asyncio.run_coroutine_threadsafe(run(), loop).result()
