"""The classic endpoints (`--classic`): /proxy, /cache, /clear-cache, /docs and /openapi.json, on every front end.

The engine asks this endpoint before it starts an exchange, and never on a hit: what it answers is never stored under
the paths it takes. Fetches for `/proxy` are exchanges of the same engine, with keys and a TTL of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from springhouse.control import api_docs
from springhouse.control.access import by_token_or_here
from springhouse.control.envelope import Envelope, ExactTtl, Room
from springhouse.control.replies import ANSWERED, classic_reply, failure_body, send_reply
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Answering, Upstream
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import HIT, MISS, REVALIDATED, STALE, Reply
from springhouse.http.fields import Field
from springhouse.http.headers import fields_of, lines_of
from springhouse.http.messages import Request
from springhouse.rules.purging import Everything, Purge, Receipt
from springhouse.transport.content import RequestContent
from springhouse.upstream.guard import Rejected, Target, find_target
from springhouse.upstream.pool import Pool
from springhouse.upstream.routing import Origin

_GET = frozenset({b"GET", b"HEAD"})
_METHODS: Final = {
    b"/proxy": _GET, b"/clear-cache": frozenset({b"GET"}), b"/cache": frozenset({b"DELETE"}),
    **dict.fromkeys(api_docs.PATHS, _GET),
}  # fmt: skip
_CLEARED: Final = b'{"success":true,"message":"Cache cleared successfully"}'
_WORDS: Final = {STALE: HIT, REVALIDATED: MISS}
_FIELDS: Final[list[Field]] = [(b"Accept", b"*/*"), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"springhouse")]
_GUESTS_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicOptions:
    """`ttl`: seconds; `named`: authorities to fetch from besides the origin; `token`: what allows clearing."""

    ttl: int
    named: tuple[str, ...] = ()
    allows_private: bool = False
    token: str = ""
    has_origin: bool = True


class ClassicEndpoint:
    """Answers the classic endpoints of an engine."""

    def __init__(
        self, engine: Engine, options: ClassicOptions, pool_for: Callable[[Origin, bool], Pool], size_max: int
    ) -> None:
        """`pool_for` makes the pool of an origin; its second argument says whether addresses are checked."""
        self.engine = engine
        self.options = options
        self._pool_for = pool_for
        self._room = Room(size_max)
        self._rules = replace(engine.options, ttl=options.ttl, force_ttl=False, set_cookie="refuse")
        self._own = self._beside(engine.upstream, engine.origin)
        self._guests: dict[tuple[str, bytes], tuple[Engine, Pool]] = {}
        """By scheme and authority, the one used last at the end."""

    @property
    def targets(self) -> tuple[bytes, ...]:
        """What the targets of its requests begin with."""
        return tuple(_METHODS) if self.options.has_origin else (b"",)

    def takes(self, request: Request) -> bool:
        """Return whether the request is for this endpoint, by its path alone; without an origin, all requests are."""
        return request.target.partition(b"?")[0] in _METHODS or not self.options.has_origin

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> Answering:
        """Answer the request."""
        path, _, query = request.target.partition(b"?")
        methods = _METHODS.get(path)
        if methods is None:
            nothing_here = "There is nothing here: the proxy was started without --origin"
            reply = classic_reply(404, failure_body("no_origin", nothing_here))
        elif request.method not in methods:
            allow = b", ".join(sorted(methods))
            reply = classic_reply(
                405, failure_body("method_not_allowed", f"Only {allow.decode()} is answered here"), (b"Allow", allow)
            )
        elif path == b"/proxy":
            found = self._find(query)
            if isinstance(found, Target):
                return self._fetch(found, sink)
            reply = classic_reply(found.status, failure_body(found.code, found.message))
        elif path in api_docs.PATHS:
            media, page = api_docs.page(path)
            policy = (b"Content-Security-Policy", api_docs.POLICY)
            reply = classic_reply(200, page, (b"Cache-Control", b"no-cache"), policy, media=media)
        else:
            self._clear(request, sink)
            return ANSWERED
        send_reply(sink, reply, is_head=request.method == b"HEAD")
        return ANSWERED

    def translate(self, reply: Reply) -> Reply:
        """Return the reply with one of three words in X-Cache: HIT, MISS (confirmed ones, too), BYPASS."""
        word = _WORDS.get(reply.x_cache)
        if word is not None:
            reply.x_cache = word
            ours = fields_of(reply.proxy_lines)
            reply.proxy_lines = lines_of([(name, word if name == b"X-Cache" else value) for name, value in ours])
        return reply

    def close(self) -> None:
        """Release the connections to all that was fetched from."""
        for _, pool in self._guests.values():
            pool.close()
        self._guests.clear()

    def _clear(self, request: Request, sink: Sink) -> None:
        why_not = by_token_or_here(request, self.options.token, self.engine.ports)
        if why_not is not None:
            send_reply(sink, classic_reply(403, failure_body("forbidden", why_not)))
            return

        def cleared(receipt: Receipt) -> None:
            uncertain = failure_body("not_cleared", f"It is not certain that everything was cleared: {receipt.failure}")
            send_reply(sink, classic_reply(503, uncertain) if receipt.failure else classic_reply(200, _CLEARED))

        self.engine.cache.purge(Purge(Everything()), cleared)

    def _find(self, query: bytes) -> Target | Rejected:
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            return Rejected(400, "bad_query", "The query is not valid: percent-encode it as UTF-8")
        urls = [value for name, value in pairs if name == "url"]
        if len(urls) != 1 or not urls[0]:
            return Rejected(422, "missing_url", "Say once what to fetch: /proxy?url=products")
        own = self.engine.origin if self.options.has_origin else None
        return find_target(urls[0], own, self.options.named)

    def _fetch(self, found: Target, sink: Sink) -> Answering:
        """Fetch through the cache anonymously: no field and no address of a client reaches what is shared."""
        engine = self._own if found.is_own else self._guest(found)
        asked = Request(b"GET", found.target, list(_FIELDS), authority=found.origin.authority)
        asked.scheme = found.origin.scheme.encode()
        key = b"proxy-json:" + found.origin.key(asked)
        return engine.answer_under(key, asked, Envelope(sink))

    def _guest(self, found: Target) -> Engine:
        """Return the engine for an origin that is not ours; only so many are remembered."""
        name = (found.origin.scheme, found.origin.authority)
        guest = self._guests.pop(name, None)
        if guest is None:
            pool = self._pool_for(found.origin, not (found.is_named or self.options.allows_private))
            guest = self._beside(pool, found.origin), pool
        self._guests[name] = guest
        self._forget_guests()
        return guest[0]

    def _beside(self, upstream: Upstream, origin: Origin) -> Engine:
        """Return an engine that shares the cache, and stores for exactly the TTL what `upstream` answers."""
        exact = ExactTtl(upstream, ttl=self.options.ttl, room=self._room)
        return Engine(self.engine.cache, exact, origin, self._rules)

    def _forget_guests(self) -> None:
        for name, (_, pool) in list(self._guests.items())[:-1]:
            if len(self._guests) <= _GUESTS_MAX:
                return
            if not pool.calls:
                pool.close()
                del self._guests[name]
