"""`ASGICacheMiddleware`: caches the ASGI application it wraps, with one call of it per key that is not stored.

A call of the application is a task: it is the origin here. Put the middleware outermost: what a middleware outside of
it decides for one client would be stored for all.
"""

import asyncio
from typing import Any

from springhouse.frontends.app_origin import AppOrigin, AppRequest
from springhouse.frontends.asgi.bridge import ASGIApp, ASGIMessage, ASGIReceive, ASGIScope, ASGISend
from springhouse.frontends.asgi.proxy import SpringhouseASGI, asgi_target
from springhouse.frontends.asgi.upstream import ASGIUpstream
from springhouse.frontends.options import frontend_options
from springhouse.frontends.purging import PurgeCounts, counts_of, selections_named
from springhouse.rules.purging import Everything, Purge, Receipt
from springhouse.service import engine_over, forwarding_of
from springhouse.settings import Settings, load_settings
from springhouse.wire.admission import Refusal

CACHE_IN_SCOPE = "springhouse"
"""Where an application finds the middleware that caches it."""
_LASTING = ("asgi", "server", "root_path", "state", "app", "extensions")


class ASGICacheMiddleware:
    """Caches the ASGI application it wraps; `springhouse.asgi.CacheMiddleware` to applications.

    Options are settings by name, or come in `settings`. `ttl` is 0 unless it is given, so that only what the
    application itself allows is kept. The application finds this object in `scope["springhouse"]`. Raises BadSettings.
    """

    def __init__(self, app: ASGIApp, settings: Settings | None = None, **options: Any) -> None:
        settings = settings if settings is not None else load_settings({"ttl": 0, **options})
        self.app = app
        self._upstream = ASGIUpstream(app, forwarding_of(settings), unattended=settings.unattended_timeout)
        self._upstream.added = {CACHE_IN_SCOPE: self}
        self.engine = engine_over(settings, self._upstream, AppOrigin.named())
        self._upstream.wall = self.engine.clock
        self._front = SpringhouseASGI(self.engine, frontend_options(settings))

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer a request from the cache or the application; anything else is the application's."""
        if scope["type"] != "http":
            await self.app({**scope, CACHE_IN_SCOPE: self}, receive, send)
            if scope["type"] == "lifespan":
                await self.aclose()
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
                raise request.error  # for what shows or reports errors outside of here
            await send(message)

        await self._front.answer(request, receive, send_or_raise)

    async def purge(
        self, *, url: str | None = None, prefix: str | None = None, tag: str | None = None, soft: bool = False
    ) -> PurgeCounts:
        """Purge one URL, all that begin with a prefix, or what has a tag; `soft`: only mark it stale.

        A path is one of the host whose request is being answered. Once this returns, no request that starts later sees
        what was purged. Raises ValueError unless exactly one is named, PurgeFailed if it is not certain.
        """
        selections = selections_named(url, prefix, tag)
        self._front.enter_loop()
        stale_from = self.engine.clock() if soft else None
        return counts_of([await self._receipt(Purge(what, stale_from)) for what in selections])

    async def clear(self) -> int:
        """Purge everything; return how many responses there were. Raises PurgeFailed."""
        self._front.enter_loop()
        return counts_of([await self._receipt(Purge(Everything()))]).entries

    async def aclose(self) -> None:
        """Release the store. The end of the application's lifespan does this; a later request opens it again."""
        await self._front.aclose()

    async def _receipt(self, purge: Purge) -> Receipt:
        received: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self.engine.cache.purge(purge, lambda receipt: None if received.done() else received.set_result(receipt))
        return await received
