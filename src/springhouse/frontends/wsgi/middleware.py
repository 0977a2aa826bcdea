"""`WSGICacheMiddleware`: caches the WSGI application it wraps, with one call of it per key that is not stored.

The application runs in a pool of threads of its own, so that a call can go on when the client it began for has gone,
and can be made when none waits.
"""

from collections.abc import Iterable
from queue import SimpleQueue

from springhouse.engine.engine import Engine
from springhouse.frontends.app_origin import AppOrigin, AppRequest
from springhouse.frontends.options import frontend_options
from springhouse.frontends.wsgi.bridge import Environ, StartResponse, WSGIApp, wsgi_fields
from springhouse.frontends.wsgi.proxy import SpringhouseWSGI, wsgi_target
from springhouse.frontends.wsgi.upstream import WSGIUpstream
from springhouse.rules.purging import Everything, Purge, Receipt
from springhouse.service import engine_over, forwarding_of
from springhouse.settings import Settings
from springhouse.wire.admission import Refusal


class WSGICacheMiddleware:
    """The WSGI application that caches another."""

    def __init__(self, app: WSGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._lasting: Environ = {}
        self._front = SpringhouseWSGI(self._make, frontend_options(settings))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request from the cache or the application."""
        admitted = self._front.admit(environ, wsgi_target(environ, keeps_prefix=True))
        request = admitted if isinstance(admitted, Refusal) else AppRequest(admitted, environ)
        self._lasting = environ
        bridge = self._front.answer(environ, request)
        assert bridge.reply is not None
        if isinstance(request, AppRequest) and request.error is not None and bridge.reply.status == 500:
            bridge.close()
            raise request.error  # for whoever shows or reports errors outside of here
        return bridge.send(start_response, bridge.status, wsgi_fields(bridge.reply))

    def clear(self) -> int:
        """Forget everything; return how many responses there were."""
        receipts: SimpleQueue[Receipt] = SimpleQueue()
        self._front.thread.call(lambda engine: engine.cache.purge(Purge(Everything()), receipts.put))
        return receipts.get().entries

    def close(self) -> None:
        """Stop the engine and its threads."""
        self._front.close()

    def _make(self) -> Engine:
        upstream = WSGIUpstream(
            self._app,
            forwarding_of(self._settings),
            lambda: self._lasting,
            unattended=self._settings.unattended_timeout,
        )
        engine = engine_over(self._settings, upstream, AppOrigin.parse("http://app.localhost", preserve_host=True))
        upstream.wall = engine.clock
        return engine
