"""Springhouse in ASGI applications: `CacheMiddleware` around your own, or an origin behind the cache as a part of it.

    from springhouse.asgi import CacheMiddleware

    app.add_middleware(CacheMiddleware, ttl=60)            # FastAPI, Starlette
    app = CacheMiddleware(app, ttl=60)                     # any ASGI application
    await scope["springhouse"].purge(url="/products")      # within it; `request.scope` in FastAPI

`create_asgi_app` and `create_fastapi_app` return applications that serve an origin. `springhouse.wsgi` is the same for
WSGI. Options are settings by name, or one `springhouse.Settings`.
"""

from typing import TYPE_CHECKING

from springhouse.frontends.asgi.middleware import ASGICacheMiddleware as CacheMiddleware
from springhouse.frontends.asgi.proxy import SpringhouseASGI, create_asgi_app
from springhouse.frontends.broken_off import BrokenOff
from springhouse.frontends.purging import PurgeCounts, PurgeFailed

if TYPE_CHECKING:
    from springhouse.frontends.asgi.framework import create_fastapi_app

__all__ = [
    "BrokenOff",
    "CacheMiddleware",
    "PurgeCounts",
    "PurgeFailed",
    "SpringhouseASGI",
    "create_asgi_app",
    "create_fastapi_app",
]


def __getattr__(name: str) -> object:
    """Import FastAPI only for applications that use it."""
    if name != "create_fastapi_app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from springhouse.frontends.asgi import framework  # noqa: PLC0415

    return framework.create_fastapi_app
