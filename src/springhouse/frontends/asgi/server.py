"""uvicorn for the FastAPI front end (`--frontend fastapi`)."""

import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import uvicorn
from fastapi import FastAPI

from springhouse import control_socket
from springhouse.frontends.asgi.framework import create_fastapi_app
from springhouse.frontends.asgi.protocol import UvicornProtocol
from springhouse.frontends.asgi.proxy import SpringhouseASGI
from springhouse.frontends.broken_off import is_worth_logging
from springhouse.frontends.serving import CONTROL_S, Control, ServeControl, open_for
from springhouse.settings import Settings


def serve_with_uvicorn(settings: Settings, announce: Callable[[str], None], serve_control: ServeControl) -> None:
    """Serve with uvicorn until SIGTERM or SIGINT. Raises CannotListen."""
    endpoint, settings = open_for(settings)
    logging.getLogger("uvicorn.error").addFilter(is_worth_logging)
    app = create_fastapi_app(settings)
    control = control_socket.opened(endpoint.url)

    async def begin() -> list[Control]:
        cache: SpringhouseASGI = app.state.springhouse
        cache.enter_loop()  # what is wrong with a store shows now
        beside = [await serve_control(cache.engine, control, settings, endpoint)] if control else []
        announce(endpoint.url)
        return beside

    server = _Server(_config_of(settings, app), begin)
    # uvicorn raises the signal that ended it once more, when it has shut down in good order: that is no failure.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        server.run(sockets=list(endpoint.sockets))
    except KeyboardInterrupt:
        pass  # uvicorn raises it again after it has shut down
    finally:
        if control is not None:
            control.close()
        endpoint.remove()


def _config_of(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(UvicornProtocol, settings=settings, refuse=app.state.springhouse.refuse),  # type: ignore[arg-type]
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
