"""The engine in a FastAPI application.

Everything that no route of the application takes goes to the engine: `router.default` comes after all routes, however
late they are added, and sees the target before anything has decoded it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from springhouse.control import api_docs as apidoc
from springhouse.frontends.asgi.proxy import create_asgi_app
from springhouse.settings import Settings, load_settings


def create_fastapi_app(settings: Settings | None = None, **options: Any) -> FastAPI:
    """Return a FastAPI application that serves an origin through the cache; `options` are settings by name.

    It may be mounted under a prefix of another application, which is not part of the target then. Mounted applications
    get no lifespan events: call `app.state.springhouse.close()` when the outer one ends. Raises BadSettings.
    """
    settings = settings if settings is not None else load_settings(options)
    cache = create_asgi_app(settings)

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
