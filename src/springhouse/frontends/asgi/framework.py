"""The engine in a FastAPI application, and uvicorn to serve it (`--frontend fastapi`).

Everything that no route of the application takes goes to the engine: `router.default` comes after all routes, however
late they are added, and sees the target before anything has decoded it.
"""

import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from springhouse import control_socket
from springhouse.binding import listening, listening_on_path
from springhouse.control import api_docs as apidoc
from springhouse.frontends.asgi.proxy import SpringhouseASGI
from springhouse.frontends.asgi.server import Protocol
from springhouse.frontends.front import CONTROL_S, Control, ServeControl, front_of
from springhouse.frontends.intake import is_worth_logging
from springhouse.service import engine_of, where
from springhouse.settings import Settings, load

BACKLOG = 2048


def create_app(settings: Settings | None = None, **options: Any) -> FastAPI:
    """Return a FastAPI application that serves an origin through the cache; `options` are settings by name.

    It may be mounted under a prefix of another application, which is not part of the target then. Mounted applications
    get no lifespan events: call `app.state.springhouse.close()` when the outer one ends. Raises BadSettings.
    """
    settings = settings if settings is not None else load(options)
    cache = SpringhouseASGI(engine_of(settings), front_of(settings))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        cache.enter_loop()
        yield
        await cache.aclose()

    app = FastAPI(
        title="Springhouse", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.springhouse = cache
    app.router.default = cache
    if settings.classic:
        app.openapi = apidoc.document  # type: ignore[method-assign]
    return app


def run(settings: Settings, announce: Callable[[str], None], serve_control: ServeControl) -> None:
    """Serve with uvicorn until SIGTERM or SIGINT. Raises CannotListen."""
    if settings.unix_socket is not None:
        listener = listening_on_path(settings.unix_socket, BACKLOG)
    else:
        listener = listening(settings.host, settings.port, BACKLOG)
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    logging.getLogger("uvicorn.error").addFilter(is_worth_logging)
    app = create_app(settings)
    control = control_socket.opened(where(settings, settings.port))

    async def begin() -> list[Control]:
        cache: SpringhouseASGI = app.state.springhouse
        cache.enter_loop()  # what is wrong with a store shows now
        beside = [await serve_control(cache.engine, control.listener, settings, settings.port)] if control else []
        announce(where(settings, settings.port))
        return beside

    server = _Server(_config_of(settings, app), begin)
    # uvicorn raises the signal that ended it once more, when it has shut down in good order: that is no failure.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn raises it again after it has shut down
    finally:
        if control is not None:
            control.close()
        if settings.unix_socket is not None:
            settings.unix_socket.unlink(missing_ok=True)


def _config_of(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(Protocol, settings=settings, refuse=app.state.springhouse.refuse),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=settings.max_connections + 1,
        timeout_keep_alive=int(settings.idle_timeout),
        timeout_graceful_shutdown=int(settings.drain_timeout),
    )


class _Server(uvicorn.Server):
    """uvicorn that calls a function in its loop before it begins, and ends beside it what that returns.

    What the function raises ends it.
    """

    def __init__(self, config: uvicorn.Config, begin: Callable[[], Awaitable[list[Control]]]) -> None:
        super().__init__(config)
        self._begin = begin
        self._beside: list[Control] = []

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it."""
        self._beside = await self._begin()
        await super().serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down, the application last."""
        for each in self._beside:
            await each.stop(CONTROL_S)
        await super().shutdown(sockets)
