"""Connections to the origin: kept, used again, limited in number, and replaced when the origin has closed them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.answers import answer, gated, head, raw, whole
from tests.support.messages import request
from tests.support.proxy import BRISK

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

PASS = "no-store"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_connection_is_used_again(origin: Origin, proxy: Proxy, framing: str) -> None:
    origin.otherwise = answer(b"x", framing=framing, cache_control=PASS)  # type: ignore[arg-type]
    for number in range(20):
        assert proxy.get(f"/{number}").status == 200
        assert proxy.ask("POST", f"/{number}", b"content").status == 200
        assert proxy.ask("HEAD", f"/{number}").status == 200
    assert origin.connections == 1


@pytest.mark.parametrize(
    "last",
    [
        raw(head(content_length=1, connection="close") + b"x", end="keep"),
        raw(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", end="keep"),
        answer(b"x", framing="close"),
        raw(whole(b"x") + b"too much", end="keep"),
    ],
    ids=["close", "HTTP/1.0", "until close", "more than announced"],
)
def test_a_connection_is_not_used_again(origin: Origin, proxy: Proxy, last) -> None:
    origin.on("/last", last)
    origin.on("/a", answer(b"a", cache_control=PASS))
    for _ in range(2):
        assert proxy.ask("POST", "/last").body == b"x"
        assert proxy.get("/a").body == b"a"
    assert [seen.connection for seen in origin.requests] == [1, 2, 2, 3]


def test_what_follows_an_answer_unasked_is_no_answer(origin: Origin, proxy: Proxy) -> None:
    """Else one client could be given what another's request brought.

    Only what comes before the next request is sent can be told from its answer.
    """
    poison = whole(b"poison", cache_control="max-age=60")
    origin.on("/a", raw(whole(b"a", cache_control=PASS) + poison, end="keep"))
    origin.on("/late", raw(whole(b"late", cache_control=PASS), poison, end="keep"))
    origin.on("/b", answer(b"b", cache_control=PASS))
    for first, body in (("/a", b"a"), ("/late", b"late")):
        for _ in range(5):
            assert proxy.get(first).body == body
            proxy.await_that(lambda: not proxy.engine.upstream.idle)
            assert proxy.get("/b").body == b"b"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_connection_that_the_origin_has_closed_is_replaced(origin: Origin, proxy: Proxy, method: str) -> None:
    origin.otherwise = answer(b"x", cache_control=PASS)
    for _ in range(3):
        assert proxy.ask(method, "/a").status == 200
        origin.drop_connections()
        proxy.await_that(lambda: not proxy.engine.upstream.idle)
    assert origin.connections == 3


def closing_on_the_second(count: list[int]):
    """Answer the first request of a connection, and close at the second without a word."""

    async def handler(exchange: Exchange) -> None:
        count.append(exchange.request.connection)
        if count.count(exchange.request.connection) > 1:
            exchange.close()
        else:
            await answer(b"x", cache_control=PASS)(exchange)

    return handler


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_that_met_a_closing_connection_is_sent_once_more(origin: Origin, proxy: Proxy, method: str) -> None:
    seen: list[int] = []
    origin.otherwise = closing_on_the_second(seen)
    assert [proxy.ask(method, "/a").status for _ in range(3)] == [200, 200, 200]
    assert seen == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(("method", "body"), [("POST", b""), ("POST", b"content"), ("PATCH", b"x"), ("PUT", b"x")])
def test_a_request_that_may_not_be_repeated_is_sent_once(
    origin: Origin, proxy: Proxy, method: str, body: bytes
) -> None:
    seen: list[int] = []
    origin.otherwise = closing_on_the_second(seen)
    assert proxy.get("/a").status == 200
    broken = proxy.ask(method, "/a", body)
    assert (broken.status, broken["Proxy-Status"].split(";")[1]) == (502, " error=connection_terminated")
    assert seen == [1, 1]


def test_a_request_is_sent_at_most_twice(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=PASS), raw())
    assert proxy.get("/a").status == 200
    assert proxy.get("/a").status == 502
    assert origin.count("/a") == 3


def test_a_new_connection_that_closes_is_not_tried_again(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", raw())
    assert proxy.get("/a").status == 502
    assert origin.count("/a") == 1


class HesitantLoop(asyncio.SelectorEventLoop):
    """Tells of a connection only when its other end has had time to close it."""

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        made = await super().create_connection(*args, **options)
        await asyncio.sleep(0.05)
        return made


@pytest.mark.parametrize("greeting", [b"", b"220 mail.example ESMTP\r\n"])
def test_a_connection_that_is_closed_before_it_is_used_gives_its_place_back(serve: Serve, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(greeting)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        proxy = serve(url, loop=HesitantLoop, origin_connections=1, first_byte_timeout=30)
        for _ in range(3):
            assert proxy.get("/a").status == 502
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert proxy.engine.upstream.open == 0


def test_an_answer_that_has_begun_is_not_asked_for_again(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control=PASS), raw(b"HTTP/1.1 2"))
    proxy.get("/a")
    assert proxy.get("/a").status == 502
    assert origin.count("/a") == 2


def test_an_unused_connection_is_closed_after_a_while(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_idle=0.1, pace=BRISK)
    origin.otherwise = answer(b"x", cache_control=PASS)
    proxy.get("/a")
    origin.await_that(lambda: origin.open_connections == 0, timeout=3)


def test_so_many_connections_at_once_and_the_rest_queues(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=3)
    gate = origin.gate()
    origin.otherwise = gated(gate, answer(b"x", cache_control=PASS))
    clients = [proxy.connect() for _ in range(10)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/{number}"))
    origin.await_requests(3)
    proxy.await_heard()
    time.sleep(0.1)
    assert (len(origin.requests), origin.connections) == (3, 3)
    gate.open()
    assert [client.answer().status for client in clients] == [200] * 10
    assert (origin.connections, origin.most_at_once) == (3, 3)


def test_a_place_in_the_queue_is_given_up_with_the_client(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=1)
    gate = origin.gate()
    origin.on("/first", gated(gate, answer(b"x", cache_control=PASS)))
    origin.otherwise = answer(b"x", cache_control=PASS)
    clients = [proxy.connect() for _ in range(3)]
    for client, method, target in zip(clients, ("GET", "POST", "GET"), ("/first", "/gone", "/last"), strict=True):
        client.send(request(method, target))
        proxy.await_heard_from(client)
    clients[1].reset()
    proxy.await_connections(2)
    gate.open()
    assert [clients[at].answer().status for at in (0, 2)] == [200, 200]
    assert [seen.target for seen in origin.requests] == ["/first", "/last"]


def test_waiting_in_the_queue_has_an_end(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=1, connect_timeout=0.2, pace=BRISK)
    gate = origin.gate()
    origin.on("/first", gated(gate, answer(b"x", cache_control=PASS)))
    first = proxy.connect()
    first.send(request("GET", "/first"))
    origin.await_requests(1)
    late = proxy.get("/second")
    assert (late.status, late["Proxy-Status"].split(";")[1]) == (503, " error=connection_limit_reached")
    gate.open()
    assert first.answer().status == 200


def test_the_queue_moves_on_when_a_connection_breaks(origin: Origin, serve: Serve) -> None:
    proxy = serve(origin_connections=1)
    gate = origin.gate()
    origin.on("/first", gated(gate, raw(end="reset")))
    origin.otherwise = answer(b"x", cache_control=PASS)
    clients = [proxy.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(request("GET", "/first" if number == 0 else f"/{number}"))
        proxy.await_heard_from(client)
    gate.open()
    assert [client.answer().status for client in clients] == [502, 200, 200]


@pytest.mark.parametrize(("limit", "statuses"), [(100, [502, 502, 502]), (1, [502, 503, 503])])
def test_what_the_pool_breaks_off_as_it_closes_is_not_sent_again(
    origin: Origin, serve: Serve, limit: int, statuses: list[int]
) -> None:
    """Else a connection is opened that nobody closes any more."""
    proxy = serve(origin_connections=limit)
    origin.on("/a", answer(b"x", cache_control=PASS))
    origin.otherwise = gated(origin.gate(), answer(b"x"))
    assert proxy.get("/a").status == 200
    clients = [proxy.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/{number}"))
    proxy.await_heard()
    origin.await_requests(1 + min(3, limit))
    connections = origin.connections
    proxy.call(proxy.engine.upstream.close)
    assert [client.answer().status for client in clients] == statuses
    assert proxy.call(lambda: proxy.engine.upstream.open) == 0
    assert origin.connections == connections
