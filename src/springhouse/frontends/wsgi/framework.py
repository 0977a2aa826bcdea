"""The engine in a Flask application (`--frontend flask`), and around one (`SpringhouseCache`).

It answers in `before_request`, that is, before the decoded path could matter: werkzeug's routing would merge slashes,
and refuse methods it does not know. The reply goes to the server as it is, without werkzeug's own ideas about fields.
"""

from collections.abc import Iterable
from typing import Any

from flask import Flask, request
from flask import Response as FlaskResponse
from werkzeug.datastructures import Headers

from springhouse.frontends.purging import PurgeCounts
from springhouse.frontends.wsgi.bridge import Environ, StartResponse, ThreadBridge, wsgi_fields
from springhouse.frontends.wsgi.middleware import WSGICacheMiddleware
from springhouse.frontends.wsgi.proxy import create_wsgi_app
from springhouse.frontends.wsgi.upstream import APP_THREADS
from springhouse.settings import Settings, load_settings


def create_flask_app(settings: Settings | None = None, **options: Any) -> Flask:
    """Return a Flask application that serves an origin through the cache; `options` are settings by name.

    Its own `before_request` functions run first if they are registered with `app.before_request_funcs`; its
    `after_request` functions see the reply and may change its head. Raises BadSettings.
    """
    cache = create_wsgi_app(settings, **options)
    app = Flask("springhouse", static_folder=None)
    app.extensions["springhouse"] = cache

    @app.before_request
    def answer() -> FlaskResponse:
        return StreamedResponse(cache.answer(request.environ))

    return app


class StreamedResponse(FlaskResponse):
    """A reply on its way: its head may be looked at and changed, its content streams by."""

    default_mimetype = None

    def __init__(self, bridge: ThreadBridge) -> None:
        assert bridge.reply is not None
        headers = Headers(wsgi_fields(bridge.reply))
        super().__init__(status=bridge.status, headers=headers, direct_passthrough=True)
        self._bridge = bridge

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Send head and content."""
        return self._bridge.send(start_response, self.status, list(self.headers))


class SpringhouseCache:
    """A Flask extension: puts a `WSGICacheMiddleware` around the application it is given.

    Options are those of the middleware: settings by name, with `ttl` 0 unless it is given, and `threads`. Raises
    BadSettings.
    """

    def __init__(
        self,
        app: Flask | None = None,
        settings: Settings | None = None,
        *,
        threads: int = APP_THREADS,
        **options: Any,
    ) -> None:
        self._settings = settings if settings is not None else load_settings({"ttl": 0, **options})
        self._threads = threads
        self._cache: WSGICacheMiddleware | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Put the cache around the application."""
        self._cache = WSGICacheMiddleware(app.wsgi_app, self._settings, threads=self._threads)
        app.wsgi_app = self._cache  # type: ignore[method-assign]
        app.extensions["springhouse"] = self

    @property
    def cache(self) -> WSGICacheMiddleware:
        """The middleware. Raises RuntimeError before `init_app`."""
        if self._cache is None:
            raise RuntimeError("This SpringhouseCache has no application yet: call init_app")
        return self._cache

    def purge(
        self, *, url: str | None = None, prefix: str | None = None, tag: str | None = None, soft: bool = False
    ) -> PurgeCounts:
        """Purge as `WSGICacheMiddleware.purge` does."""
        return self.cache.purge(url=url, prefix=prefix, tag=tag, soft=soft)

    def clear(self) -> int:
        """Purge everything; return how many responses there were."""
        return self._cache.clear() if self._cache is not None else 0

    def close(self) -> None:
        """Stop the engine; for tests, and for applications that are made and thrown away."""
        if self._cache is not None:
            self._cache.close()
