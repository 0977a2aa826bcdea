"""Several engines over one cache: each asks its own origin, and all of them see what is stored, fetched and purged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.clients import Client
from tests.support.heads import NOW, get, ok

from springhouse.engine.cache import Cache
from springhouse.engine.engine import Engine
from springhouse.rules.options import Options
from springhouse.rules.purging import Everything, Keys, Purge, Receipt
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.upstream.routing import Forwarding, Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from springhouse.exchange.reply import Reply
    from springhouse.http.fields import Field
    from springhouse.http.messages import Request
    from springhouse.transport.content import RequestContent
    from springhouse.upstream.call import Receiver

OPTIONS = Options()


class Browser(Client):
    """A client that keeps the head of its reply."""

    reply: Reply

    def start(self, reply: Reply) -> None:
        self.reply = reply


class Call:
    """A request that has come to its origin."""

    requested_at = NOW

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def answer(self, content: bytes) -> None:
        self.receiver.answered(ok("Cache-Control: max-age=60"), len(content))
        self.receiver.content(content)
        self.receiver.content_end()

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def unattended(self) -> None: ...
    def attended(self) -> None: ...
    def cancel(self) -> None: ...
    def carry(self, content: RequestContent) -> None: ...


class OneOrigin:
    """An upstream that keeps its calls until the test answers them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.forwarding = Forwarding(b"test")
        self.is_closed = False

    def send(
        self, _request: Request, _fields: list[Field], _content: RequestContent | None, receiver: Receiver
    ) -> Call:
        self.calls.append(Call(receiver))
        return self.calls[-1]

    def close(self) -> None:
        self.is_closed = True


class Neighbours:
    """The other processes: they apply a purge when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Purge, Callable[[Receipt, int], None]]] = []

    def purge(self, purge: Purge, done: Callable[[Receipt, int], None], *, dry_run: bool = False) -> None:
        assert not dry_run
        self.asked.append((purge, done))


def cache_of(peers: Neighbours | None = None) -> Cache:
    return Cache(store=Store(Memory(2**20, OPTIONS)), clock=lambda: NOW, peers=peers)


def engine_on(cache: Cache, name: str = "a.test") -> tuple[Engine, OneOrigin]:
    upstream = OneOrigin()
    return Engine(cache, upstream, Origin.parse(f"http://{name}"), OPTIONS), upstream


def asked(engine: Engine) -> Browser:
    browser = Browser()
    engine.handle(get(), None, browser)
    return browser


def test_what_one_engine_stores_another_answers_with() -> None:
    cache = cache_of()
    (first, origin), (second, idle) = engine_on(cache), engine_on(cache)
    asked(first)
    origin.calls[0].answer(b"spring")
    assert asked(second).got == b"spring"
    assert idle.calls == []


def test_engines_of_two_origins_keep_apart_what_they_store() -> None:
    cache = cache_of()
    engines = [engine_on(cache, name) for name in ("a.test", "b.test")]
    for (engine, origin), content in zip(engines, (b"a", b"b"), strict=True):
        asked(engine)
        origin.calls[0].answer(content)
    assert [asked(engine).got for engine, _ in engines] == [b"a", b"b"]


def test_clients_of_two_engines_wait_for_one_fetch() -> None:
    cache = cache_of()
    (first, origin), (second, idle) = engine_on(cache), engine_on(cache)
    clients = [asked(first), asked(second)]
    origin.calls[0].answer(b"spring")
    assert [client.got for client in clients] == [b"spring", b"spring"]
    assert idle.calls == []


def test_a_purge_reaches_what_any_engine_is_fetching() -> None:
    cache = cache_of()
    (first, origin), (second, other) = engine_on(cache), engine_on(cache)
    asked(first)
    cache.purge(Purge(Everything()), lambda _: None)
    origin.calls[0].answer(b"old")
    assert cache.store.records == {}
    asked(second)
    assert len(other.calls) == 1


def test_a_purge_has_answered_only_when_the_other_processes_have() -> None:
    peers = Neighbours()
    cache = cache_of(peers)
    engine, origin = engine_on(cache)
    asked(engine)
    origin.calls[0].answer(b"spring")
    receipts: list[Receipt] = []
    cache.purge(Purge(Keys((b"http://a.test/",))), receipts.append)
    assert receipts == []
    ((_, done),) = peers.asked
    done(Receipt(keys=1, entries=2, size=30), 3)
    assert cache.store.records == {}
    assert (receipts[0].keys, receipts[0].entries, receipts[0].processes) == (2, 3, 4)


def test_closing_an_engine_closes_its_own_upstream_alone() -> None:
    cache = cache_of()
    (first, origin), (_, other) = engine_on(cache), engine_on(cache)
    first.close()
    assert (origin.is_closed, other.is_closed) == (True, False)
