"""Springhouse in WSGI applications: `CacheMiddleware` around your own, or an origin behind the cache as a part of it.

    from springhouse.wsgi import CacheMiddleware, SpringhouseCache

    cache = SpringhouseCache(app, ttl=60)                  # Flask
    app = CacheMiddleware(app, ttl=60)                     # any WSGI application
    cache.purge(url="/products")                           # within it; `environ["springhouse.cache"]` anywhere

`create_wsgi_app` and `create_flask_app` return applications that serve an origin. `springhouse.asgi` is the same for
ASGI. Options are settings by name, or one `springhouse.Settings`.
"""

from typing import TYPE_CHECKING

from springhouse.frontends.broken_off import BrokenOff
from springhouse.frontends.purging import PurgeCounts, PurgeFailed
from springhouse.frontends.wsgi.middleware import WSGICacheMiddleware as CacheMiddleware
from springhouse.frontends.wsgi.proxy import SpringhouseWSGI, create_wsgi_app

if TYPE_CHECKING:
    from springhouse.frontends.wsgi.framework import SpringhouseCache, create_flask_app

__all__ = [
    "BrokenOff",
    "CacheMiddleware",
    "PurgeCounts",
    "PurgeFailed",
    "SpringhouseCache",
    "SpringhouseWSGI",
    "create_flask_app",
    "create_wsgi_app",
]


def __getattr__(name: str) -> object:
    """Import Flask, which is an extra, only for applications that use it."""
    if name not in ("SpringhouseCache", "create_flask_app"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from springhouse.frontends.wsgi import framework  # noqa: PLC0415

    return getattr(framework, name)
