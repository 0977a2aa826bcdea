"""`ASGICacheMiddleware`: caches the ASGI application it wraps, with one call of it per key that is not stored.

A call of the application is a task: it is the origin here. Put the middleware outermost: what a middleware outside of
it decides for one client would be stored for all.
"""

from typing import Any

from springhouse.frontends.app_origin import AppOrigin, AppRequest
from springhouse.frontends.asgi.bridge import ASGIApp, ASGIMessage, ASGIReceive, ASGIScope, ASGISend
from springhouse.frontends.asgi.proxy import SpringhouseASGI, asgi_target
from springhouse.frontends.asgi.upstream import ASGIUpstream
from springhouse.frontends.options import frontend_options
from springhouse.service import engine_over, forwarding_of
from springhouse.settings import Settings, load_settings
from springhouse.wire.admission import Refusal

_LASTING = ("asgi", "server", "root_path", "state", "app", "extensions")


class ASGICacheMiddleware:
    """Caches the application it wraps. Options are settings by name; `ttl` is 0: only what the application allows.

    Raises BadSettings.
    """

    def __init__(self, app: ASGIApp, settings: Settings | None = None, **options: Any) -> None:
        settings = settings if settings is not None else load_settings({"ttl": 0, **options})
        self.app = app
        self._upstream = ASGIUpstream(app, forwarding_of(settings), unattended=settings.unattended_timeout)
        origin = AppOrigin.parse("http://app.localhost", preserve_host=True)
        self.engine = engine_over(settings, self._upstream, origin)
        self._upstream.wall = self.engine.clock
        self._front = SpringhouseASGI(self.engine, frontend_options(settings))

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer a request from the cache or the application; anything else is the application's."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            if scope["type"] == "lifespan":
                await self._front.aclose()
            return
        self._front.enter_loop()
        admitted = self._front.admit(scope, asgi_target(scope, keeps_prefix=True))
        if isinstance(admitted, Refusal):
            await self._front.refuse(scope["method"], admitted, send)
            return
        request = AppRequest(admitted, scope)
        self._upstream.lasting = {name: scope[name] for name in _LASTING if name in scope}

        async def send_or_raise(message: ASGIMessage) -> None:
            if request.error is not None and message.get("status") == 500:
                raise request.error  # for whoever shows or reports errors outside of here
            await send(message)

        await self._front.answer(request, receive, send_or_raise)
