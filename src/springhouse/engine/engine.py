"""Answers requests for one origin, from a cache that it may share with other engines."""

from collections.abc import Callable

from springhouse.engine.cache import Cache
from springhouse.engine.driver import Exchange, answer_options, refuse
from springhouse.engine.ports import Answering, LocalEndpoint, Upstream
from springhouse.engine.sinks import NOWHERE, Sink
from springhouse.exchange.flow import refresh, respond
from springhouse.exchange.reply import Reply
from springhouse.http.fields import CDN_LOOP, MAX_FORWARDS
from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.options import Options
from springhouse.transport.content import RequestContent
from springhouse.transport.outbox import Outbox
from springhouse.upstream.routing import SCREENED, Origin, is_last_hop

_PORTS_MAX = 16


class Engine:
    """The upstream and the options of one origin, over a cache.

    `store`, `flights`, `fence` and `clock` are the cache's own: exchanges use them for every request, and are spared
    a look-up each time.
    """

    __slots__ = (
        "_endpoints", "_has_base", "_local_targets", "cache", "clock", "fence", "flights", "options", "origin",
        "outbox", "ports", "store", "translate", "upstream",
    )  # fmt: skip

    def __init__(
        self, cache: Cache, upstream: Upstream, origin: Origin, options: Options, outbox: Outbox | None = None
    ) -> None:
        self.cache = cache
        self.store = cache.store
        self.flights = cache.flights
        self.fence = cache.fence
        self.clock = cache.clock
        self.upstream = upstream
        self.origin = origin
        self.options = options
        self.outbox = outbox or Outbox()
        self.ports: set[int] = set()
        """Those that clients reach this proxy at; see `reached_at`."""
        self.translate: Callable[[Reply], Reply] | None = None
        """Turns each reply into the form that clients of the classic endpoints expect."""
        self._has_base = bool(origin.base)
        self._endpoints: list[LocalEndpoint] = []
        self._local_targets: tuple[bytes, ...] = ()
        """What targets for an endpoint begin with: most requests are for none, and are only compared with this."""

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> Answering:
        """Start answering a request; the sink gets the reply, perhaps before this returns."""
        key = self.origin.key(request)
        exchange = Exchange(self, request, key, content, sink)
        if request.bits & (CDN_LOOP | MAX_FORWARDS) and self._ends_here(request, sink):
            return exchange
        if self._has_base and not self.origin.holds(request.target):
            refuse(sink, 400, f"The target leads out of {self.origin.base.decode()}, or could be read so")
            return exchange
        if request.target.startswith(self._local_targets) or request.method == b"PURGE":
            for endpoint in self._endpoints:
                if endpoint.takes(request):
                    return endpoint.handle(request, content, sink)
        if request.bits & SCREENED:
            self.upstream.forwarding.screen(request)
        if not exchange.go_straight():
            exchange.run(respond(request, key, self.options))
        return exchange

    def _ends_here(self, request: Request, sink: Sink) -> bool:
        """Answer a request that is not forwarded any more; True when it was one."""
        if request.bits & CDN_LOOP and self.upstream.forwarding.is_loop(request):
            refuse(sink, 508, "The request has come through this proxy before: its origin leads back here")
            return True
        if request.bits & MAX_FORWARDS and request.method == b"OPTIONS" and is_last_hop(request):
            answer_options(sink)
            return True
        return False

    def answer_under(self, key: bytes, request: Request, sink: Sink) -> Answering:
        """Answer a request without content under another key than its own."""
        exchange = Exchange(self, request, key, None, sink)
        exchange.run(respond(request, key, self.options))
        return exchange

    def refresh(self, request: Request, key: bytes, entry: Entry) -> None:
        """Revalidate an entry that is served stale meanwhile, for no client."""
        Exchange(self, request, key, None, NOWHERE).run(refresh(request, key, entry, self.options))

    def reached_at(self, port: int) -> None:
        """Record a port that clients reach this proxy at. Only so many: some servers believe what clients say of it."""
        if len(self.ports) < _PORTS_MAX:
            self.ports.add(port)

    def add_endpoint(self, endpoint: LocalEndpoint) -> None:
        """Let an endpoint answer requests for this proxy itself; the first that takes a request answers it."""
        self._endpoints.append(endpoint)
        self._local_targets += endpoint.targets

    def open(self) -> None:
        """Open the cache, on the thread of the running loop; see there."""
        self.cache.open()

    def close(self) -> None:
        """Release all connections to origins, and the cache. It may be opened again."""
        self._disconnect()
        self.cache.close()

    async def aclose(self) -> None:
        """Do as `close`, and return when the store has been written."""
        self._disconnect()
        await self.cache.aclose()

    def _disconnect(self) -> None:
        self.upstream.close()
        for endpoint in self._endpoints:
            endpoint.close()
