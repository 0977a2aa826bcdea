"""`WSGICacheMiddleware`: caches the WSGI application it wraps, with one call of it per key that is not stored.

The application runs in a pool of threads of its own, so that a call can go on when the client it began for has gone,
and can be made when none waits.
"""

from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

from springhouse.engine.engine import Engine
from springhouse.frontends.app_origin import AppOrigin, AppRequest
from springhouse.frontends.options import frontend_options
from springhouse.frontends.purging import PurgeCounts, counts_of, selections_named
from springhouse.frontends.wsgi.bridge import Environ, StartResponse, WSGIApp
from springhouse.frontends.wsgi.proxy import SpringhouseWSGI, wsgi_target
from springhouse.frontends.wsgi.upstream import APP_THREADS, WSGIUpstream
from springhouse.rules.purging import Everything, Purge, Receipt, Selection
from springhouse.service import engine_over, forwarding_of
from springhouse.settings import Settings, load_settings
from springhouse.wire.admission import Refusal

CACHE_IN_ENVIRON = "springhouse.cache"
"""Where an application finds the middleware that caches it."""


class WSGICacheMiddleware:
    """Caches the WSGI application it wraps; `springhouse.wsgi.CacheMiddleware` to applications.

    Options are settings by name, or come in `settings`. `ttl` is 0 unless it is given, so that only what the
    application itself allows is kept. `threads`: how many calls of the application run at once. The application finds
    this object in `environ["springhouse.cache"]`. Raises BadSettings.
    """

    def __init__(
        self, app: WSGIApp, settings: Settings | None = None, *, threads: int = APP_THREADS, **options: Any
    ) -> None:
        self.app = app
        self._settings = settings if settings is not None else load_settings({"ttl": 0, **options})
        self._threads = threads
        self._lasting: Environ = {}
        self._front = SpringhouseWSGI(self._make_engine, frontend_options(self._settings))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request from the cache or the application."""
        environ[CACHE_IN_ENVIRON] = self
        admitted = self._front.admit(environ, wsgi_target(environ, keeps_prefix=True))
        request = admitted if isinstance(admitted, Refusal) else AppRequest(admitted, environ)
        self._lasting = environ
        bridge = self._front.answer(environ, request)
        assert bridge.reply is not None
        if isinstance(request, AppRequest) and request.error is not None and bridge.reply.status == 500:
            bridge.close()
            raise request.error  # for what shows or reports errors outside of here
        return bridge.send_reply(start_response)

    def purge(
        self, *, url: str | None = None, prefix: str | None = None, tag: str | None = None, soft: bool = False
    ) -> PurgeCounts:
        """Purge one URL, all that begin with a prefix, or what has a tag; `soft`: only mark it stale.

        A path is one of the host whose request is being answered. Any thread may call this. Once it returns, no request
        that starts later sees what was purged. Raises ValueError unless exactly one is named, PurgeFailed if it is not
        certain.
        """
        return counts_of([self._receipt(what, soft=soft) for what in selections_named(url, prefix, tag)])

    def clear(self) -> int:
        """Purge everything; return how many responses there were. Raises PurgeFailed."""
        return counts_of([self._receipt(Everything())]).entries

    def close(self) -> None:
        """Stop the engine and its threads. A later request starts them again."""
        self._front.close()

    def _receipt(self, what: Selection, *, soft: bool = False) -> Receipt:
        received: SimpleQueue[Receipt] = SimpleQueue()

        def purge(engine: Engine) -> None:
            engine.cache.purge(Purge(what, engine.clock() if soft else None), received.put)

        self._front.thread.call(purge)
        return received.get()

    def _make_engine(self) -> Engine:
        upstream = WSGIUpstream(
            self.app, forwarding_of(self._settings), lambda: self._lasting,
            threads=self._threads, unattended=self._settings.unattended_timeout,
        )  # fmt: skip
        engine = engine_over(self._settings, upstream, AppOrigin.named())
        upstream.wall = engine.clock
        return engine
