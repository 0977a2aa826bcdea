"""Purging over HTTP: `POST /.springhouse/purge` with JSON, and the method PURGE for one URL, on every front end.

    {"url": "/a"} | {"prefix": "/a/"} | {"tag": "x"} | {"tags": ["x", "y"]} | {"all": true},  and "soft", "dry_run"

The answer is a receipt, sent when the purge holds everywhere. Everything under /.springhouse/ belongs to this proxy and
never goes to the origin.

An endpoint answers either on the port that clients reach, or on the control socket, where it is all there is: nothing
goes to the origin there, and `GET /.springhouse/` says which proxy this is. `control.access` says who may ask.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import DecodeError, Struct, ValidationError, json

from springhouse.control.access import Objection
from springhouse.control.replies import ANSWERED, NO_STORE_FIELD, send_reply
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Answering
from springhouse.engine.sinks import Sink
from springhouse.exchange.reply import BYPASS, Reply, problem, proxy_lines
from springhouse.http.headers import first
from springhouse.http.messages import REASON_PHRASES, Request
from springhouse.rules.keys import parts_of_url
from springhouse.rules.purging import Everything, Keys, Prefix, Purge, Receipt, Selection, Tags
from springhouse.transport.content import RequestContent

NAMESPACE = b"/.springhouse/"
CONTENT_MAX = 1024 * 1024


class Order(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client wants purged: exactly one of the first five. `soft`: mark stale instead of removing."""

    url: str | None = None
    prefix: str | None = None
    tag: str | None = None
    tags: tuple[str, ...] | None = None
    all: bool = False
    soft: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyIdentity:
    """Which proxy this is: where clients reach it, the authorities it answers to, and what it serves."""

    listens_on: str
    names: frozenset[bytes]
    serves: str


class ControlEndpoint:
    """Answers purges of an engine. `identity` is for a control socket, and None on the clients' port."""

    def __init__(self, engine: Engine, objection: Objection, identity: ProxyIdentity | None = None) -> None:
        self.engine = engine
        self.objection = objection
        self.identity = identity

    @property
    def targets(self) -> tuple[bytes, ...]:
        """What the targets of its requests begin with."""
        return (NAMESPACE,)

    def takes(self, request: Request) -> bool:
        """Return whether the request is for this proxy itself."""
        return request.method == b"PURGE" or request.target.startswith(NAMESPACE)

    def handle(self, request: Request, content: RequestContent | None, sink: Sink) -> Answering:
        """Answer it, once its content is here and the purge holds."""
        why_not = self.objection(request)
        if why_not is not None:
            send_reply(sink, self._problem(403, why_not))
        elif request.method == b"PURGE":
            is_soft = (first(request.fields, b"soft-purge") or b"0") not in (b"0", b"")
            self._purge(Order(url=request.target.decode("latin-1"), soft=is_soft), request, sink)
        elif request.target == NAMESPACE and request.method == b"GET" and self.identity is not None:
            send_reply(sink, _json({"listens_on": self.identity.listens_on, "serves": self.identity.serves}))
        elif request.target != NAMESPACE + b"purge":
            send_reply(sink, self._problem(404, "There is nothing here"))
        elif request.method != b"POST":
            reply = self._problem(405, "Purge with POST")
            reply.fields.append((b"Allow", b"POST"))
            send_reply(sink, reply)
        elif content is None:
            send_reply(sink, self._problem(400, 'Say in JSON what to purge, as in {"url": "/products"}'))
        else:
            content.attach(_Gathered(lambda data: self._ordered(data, request, sink)))
        return ANSWERED

    def close(self) -> None:
        """Nothing to release."""

    def _ordered(self, data: bytes, request: Request, sink: Sink) -> None:
        try:
            order = json.decode(data, type=Order)
        except (ValidationError, DecodeError, UnicodeDecodeError, RecursionError) as error:
            send_reply(sink, self._problem(400, f"The order is not understood: {error}"))
            return
        self._purge(order, request, sink)

    def _purge(self, order: Order, request: Request, sink: Sink) -> None:
        try:
            what = self._selection(order, request)
        except ValueError as error:
            send_reply(sink, self._problem(400, str(error)))
            return
        purge = Purge(what, stale_from=self.engine.clock() if order.soft else None)

        def purged(receipt: Receipt) -> None:
            uncertain = (
                f"{receipt.entries} responses were purged. It is not certain that these are all: {receipt.failure}"
            )
            send_reply(sink, self._problem(503, uncertain) if receipt.failure else _receipt(receipt, order))

        self.engine.cache.purge(purge, purged, dry_run=order.dry_run)

    def _problem(self, status: int, detail: str) -> Reply:
        return problem(status, detail, at=self.engine.clock(), x_cache=BYPASS)

    def _selection(self, order: Order, request: Request) -> Selection:
        """Return what an order selects; ValueError says what is wrong with it."""
        tags = order.tags if order.tags is not None else None if order.tag is None else (order.tag,)
        given = [order.url is not None, order.prefix is not None, tags is not None, order.all]
        if given.count(True) != 1:
            raise ValueError("Name exactly one of url, prefix, tag, tags and all")
        if order.url is not None:
            return Keys((self._key(order.url, request),))
        if order.prefix is not None:
            return Prefix(self._key(order.prefix, request))
        return Everything() if tags is None else Tags(tuple(tag.encode() for tag in tags))

    def _key(self, url: str, request: Request) -> bytes:
        """Return the key of a URL: a path, or one with the origin's name or one that this proxy is asked by."""
        origin, authority, scheme = self.engine.origin, request.authority, request.scheme
        target = url.partition("#")[0].encode()
        if not url.startswith("/"):
            scheme, authority, target = parts_of_url(url)
            self._check_served(authority, request)
        elif self.identity is not None and origin.preserve_host:
            raise ValueError(f"Which host? With --preserve-host, name it: http://example.com{url}")
        if not origin.holds(target):
            raise ValueError(f"{url!r} is not served here: it leads out of {origin}")
        return origin.key_prefix(authority, scheme) + target

    def _check_served(self, authority: bytes, request: Request) -> None:
        """Raise ValueError for an authority that is not served here."""
        origin = self.engine.origin
        ours = self.identity.names if self.identity is not None else (request.authority,)
        if not origin.preserve_host and authority != origin.authority and authority not in ours:
            raise ValueError(f"{authority.decode()} is not served here: this proxy serves {origin}")


class _Gathered:
    """Gathers a request's content, up to CONTENT_MAX bytes; what is more makes it unreadable."""

    def __init__(self, done: Callable[[bytes], None]) -> None:
        self._data: list[bytes] = []
        self._size = 0
        self._done = done

    def content(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= CONTENT_MAX:
            self._data.append(data)

    def content_end(self) -> None:
        self._done(b"".join(self._data) if self._size <= CONTENT_MAX else b"")


def _receipt(receipt: Receipt, order: Order) -> Reply:
    return _json({
        "keys": receipt.keys,
        "entries": receipt.entries,
        "bytes": receipt.size,
        "processes": receipt.processes,
        "soft": order.soft,
        "dry_run": order.dry_run,
    })  # fmt: skip


def _json(value: dict[str, object]) -> Reply:
    body = json.encode(value)
    fields = [(b"Content-Type", b"application/json"), NO_STORE_FIELD]
    return Reply(200, REASON_PHRASES[200], fields, proxy_lines(BYPASS), body + b"\n", len(body) + 1, BYPASS, None)
