"""Every front end gives the same status, fields and bytes, decides alike, and asks the origin as often."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING

import pytest
from tests.frontends.together import Process
from tests.support.answers import answer, echo, gated, head, in_parts, raw, validated
from tests.support.client import Broken, Client
from tests.support.messages import chunked, request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.frontends.together import Together
    from tests.support.messages import Answer
    from tests.support.origin import Exchange, Origin


def test_miss_then_hit(together: Together) -> None:
    together.on("/plain", answer(b"hello", content_type="text/plain", x_own="1"))
    first, second = together.get("/plain"), together.get("/plain")
    assert (first.x_cache, second.x_cache) == ("MISS", "HIT")
    assert first.body == second.body == b"hello"
    assert second["Cache-Status"].startswith("springhouse; hit; ttl=")
    assert together.count("/plain") == 1


def test_the_origin_is_asked_alike(together: Together) -> None:
    together.on("/asked", answer(b"x", cache_control="no-store"))
    together.get(
        "/asked?q=%C3%A9&&x=", accept="text/plain", cookie=["a=1", "b=2"], x_forwarded_for="6.6.6.6", te="trailers",
        connection="x-mine", x_mine="secret",
    )  # fmt: skip
    seen = together.seen("/asked?q=%C3%A9&&x=")
    assert "x-mine" not in seen
    assert seen["X-Forwarded-For"] == "127.0.0.1"


@pytest.mark.parametrize(
    "target",
    [
        "/a%2fb", "/a%2Fb", "/a/../b", "/a/./b", "//double//slash", "/semi;v=1", "/caf%C3%A9", "/%0a", "/a%00b",
        "/q?", "/q?a=b?c&d", "/q?x=%20+", "/~user/$&'()*+,;=:@!", "/%", "/trailing/", "/index.html%3Fx",
    ],
)  # fmt: skip
def test_targets_are_sent_and_stored_byte_for_byte(together: Together, target: str) -> None:
    together.on(target, answer(target.encode()))
    assert together.get(target).body == target.encode()
    assert together.get(target).x_cache == "HIT"
    assert together.count(target) == 1


def test_targets_that_differ_are_not_one(together: Together) -> None:
    targets = ["/t", "/t?", "/t/", "//t", "/t%2f", "/%74", "/T"]
    for target in targets:
        together.on(target, answer(target.encode()))
    for target in targets:
        assert together.get(target).x_cache == "MISS"
        assert together.get(target).body == target.encode()


def test_options_for_the_server_itself(together: Together) -> None:
    together.on("*", answer(allow="GET"))
    assert together.ask("OPTIONS", "*")["Allow"] == "GET"


def test_head_is_answered_from_what_get_stored(together: Together) -> None:
    together.on("/head", answer(b"12345"))
    together.get("/head")
    reply = together.ask("HEAD", "/head")
    assert (reply.x_cache, reply["Content-Length"], reply.body) == ("HIT", "5", b"")


def test_head_goes_to_the_origin(together: Together) -> None:
    together.on("/head-first", answer(b"12345"))
    assert together.ask("HEAD", "/head-first")["Content-Length"] == "5"
    assert together.seen("/head-first").method == "HEAD"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_unsafe_methods_pass_through(together: Together, method: str) -> None:
    together.on("/echo", echo)
    reply = together.ask(method, "/echo", b'{"title": "New Post"}', content_type="application/json")
    assert (reply.x_cache, reply.body) == ("BYPASS", b'{"title": "New Post"}')
    assert together.seen("/echo").method == method


def test_an_unsafe_method_invalidates(together: Together) -> None:
    together.on("/item", answer(b"x"))
    together.get("/item")
    assert together.get("/item").x_cache == "HIT"
    together.ask("DELETE", "/item")
    assert together.get("/item").x_cache == "MISS"


def test_chunked_content_goes_up(together: Together) -> None:
    together.on("/up", echo)
    body = bytes(range(256)) * 1000
    pieces = [body[at : at + 7000] for at in range(0, len(body), 7000)]
    assert together.ask("POST", "/up", chunked(*pieces), transfer_encoding="chunked").body == body
    assert together.seen("/up")["Transfer-Encoding"] == "chunked"


def test_content_is_sent_on_while_it_comes(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin = together.origins[name]
        origin.on("/slow-up", echo)
        with Client(proxy.address) as client:
            client.send(request("POST", "/slow-up", transfer_encoding="chunked") + b"5\r\nfirst\r\n")
            origin.await_that(lambda origin=origin: bool(origin.seen("/slow-up")))
            client.send(b"4\r\nlast\r\n0\r\n\r\n")
            assert client.answer("POST").body == b"firstlast", name


def test_expect_continue(together: Together) -> None:
    together.on("/expect", echo)
    for name, proxy in together.proxies.items():
        with Client(proxy.address) as client:
            client.send(request("POST", "/expect", content_length=5, expect="100-continue"))
            if name != "native":  # there it is the origin's word, and this origin says nothing
                assert client.head().status == 100, name
            client.send(b"hello")
            assert client.answer("POST").body == b"hello", name


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_large_answers_stream(together: Together, framing: str) -> None:
    body = bytes(range(256)) * 4096 * 4
    together.on(f"/large-{framing}", answer(body, framing=framing))  # type: ignore[arg-type]
    assert together.get(f"/large-{framing}").body == body


def test_a_slow_client_holds_the_origin_back(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin, sent = together.origins[name], []

        async def flood(exchange: Exchange, sent: list[int] = sent) -> None:
            await exchange.send(head(content_length=64 << 20, cache_control="no-store"))
            for _ in range(1024):
                await exchange.send(bytes(64 << 10))
                sent.append(64 << 10)

        origin.on("/flood", flood)
        with Client(proxy.address, receive_buffer=64 << 10) as client:
            client.send(request("GET", "/flood"))
            client.head()
            before = -1
            while before != len(sent):
                before = len(sent)
                time.sleep(0.3)
            assert sum(sent) < 24 << 20, name


def test_the_head_does_not_wait_for_the_content(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin = together.origins[name]
        gate = origin.gate()
        origin.on("/early", in_parts(b"", gate, b"late", cache_control="no-store"))
        with Client(proxy.address) as client:
            client.send(request("GET", "/early"))
            assert client.head().status == 200, name
            gate.open()
            assert client.read(4) == b"late"


def test_vary(together: Together) -> None:
    together.on("/vary", answer(b"en", vary="Accept-Language"), answer(b"de", vary="Accept-Language"))
    assert together.get("/vary", accept_language="en").body == b"en"
    assert together.get("/vary", accept_language="de").body == b"de"
    assert together.get("/vary", accept_language="en").x_cache == "HIT"
    assert together.get("/vary").x_cache == "MISS"
    assert together.count("/vary") == 3


def test_revalidation_and_conditions(together: Together) -> None:
    together.on("/valid", validated(b"body", '"v1"', cache_control="max-age=0", last_modified=LONG_AGO))
    together.get("/valid")
    confirmed = together.get("/valid")
    assert (confirmed.x_cache, confirmed.body) == ("REVALIDATED", b"body")
    reply = together.get("/valid", if_none_match='"v1"')
    assert (reply.status, reply.body, reply["ETag"], reply["Last-Modified"]) == (304, b"", '"v1"', LONG_AGO)


LONG_AGO = "Thu, 01 Jan 2015 00:00:00 GMT"


def test_ranges(together: Together) -> None:
    together.on("/range", answer(b"0123456789", etag='"r"'))
    together.get("/range")
    part = together.get("/range", range="bytes=2-5")
    assert (part.status, part.body, part["Content-Range"]) == (206, b"2345", "bytes 2-5/10")
    assert together.get("/range", range="bytes=20-").status == 416
    assert together.count("/range") == 1


def test_fifty_clients_ask_the_origin_once(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin = together.origins[name]
        gate = origin.gate()
        origin.on("/herd", gated(gate, answer(b"one for all")))

        def get(_: int, proxy: Process = proxy) -> tuple[bytes, str | None]:
            reply = proxy.get("/herd")
            return reply.body, reply.x_cache

        with ThreadPoolExecutor(50) as pool:
            replies = pool.map(get, range(50))
            origin.await_that(lambda origin=origin: bool(origin.seen("/herd")))
            time.sleep(0.3)
            gate.open()
            assert {body for body, _ in replies} == {b"one for all"}, name
    assert together.count("/herd") == 1


def test_followers_stream_along(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin = together.origins[name]
        gate = origin.gate()
        origin.on("/along", in_parts(b"begin", gate, b"end"))
        with Client(proxy.address) as leader, Client(proxy.address) as follower:
            leader.send(request("GET", "/along"))
            assert leader.head().status == 200
            assert leader.read(5) == b"begin"
            follower.send(request("GET", "/along"))
            assert follower.head().status == 200
            assert follower.read(5) == b"begin", name
            gate.open()
            assert leader.read(3) == follower.read(3) == b"end"
    assert together.count("/along") == 1


@pytest.mark.parametrize(
    ("name", "bytes_sent"),
    [
        ("length", head(content_length=100) + b"only this"),
        ("chunked", head(transfer_encoding="chunked") + b"9\r\nonly this\r\n"),
    ],
)
def test_content_that_breaks_off_does_not_look_whole(together: Together, name: str, bytes_sent: bytes) -> None:
    target = f"/broken-{name}"
    together.on(target, raw(bytes_sent, end="reset"))
    for _ in range(2):  # and nothing of it is stored
        for proxy in together.proxies.values():
            with pytest.raises(Broken) as broken:
                proxy.get(target)
            assert broken.value.body == b"only this"
    assert together.count(target) == 2


def test_an_origin_that_is_broken(together: Together) -> None:
    together.on("/nonsense", raw(b"what?\r\n\r\n"))
    reply = together.get("/nonsense")
    assert (reply.status, reply["Content-Type"]) == (502, "application/problem+json")
    assert reply["Proxy-Status"].startswith("springhouse; error=http_protocol_error")


def test_only_if_cached(together: Together) -> None:
    assert together.get("/never", cache_control="only-if-cached").status == 504


def test_a_client_that_leaves_ends_what_only_it_wanted(together: Together) -> None:
    for name, proxy in together.proxies.items():
        origin = together.origins[name]

        async def endless(exchange: Exchange) -> None:
            await exchange.send(head(transfer_encoding="chunked", cache_control="no-store"))
            while True:
                await exchange.send(chunked(b"x" * 1000, end=b""))
                await asyncio.sleep(0.01)

        origin.on("/endless", endless)
        with Client(proxy.address) as client:
            client.send(request("GET", "/endless"))
            client.head()
        origin.await_that(lambda origin=origin: origin.open_connections == 0 or not _is_busy(origin), 10)


def _is_busy(origin: object) -> bool:
    return bool(origin._at_once)  # type: ignore[attr-defined]


REFUSED_BY_OTHERS = {("fastapi", request("CONNECT", "elsewhere.test:443")): 400}
"""Where another server refuses a request before it reaches us, by a status of its own."""


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, request("GET", "/x", host=None)),
        (400, request("GET", "/x", host="a b")),
        (400, request("GET", "/x", host="user@cache.test")),
        (400, request("GET", "/x", host="x/..?")),
        (400, b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, request("GET", "/x#fragment")),
        (400, request("POST", "/x", content_length="1, 1")),
        (400, request("POST", "/x", content_length=1, transfer_encoding="chunked")),
        (413, request("POST", "/x", content_length=2 << 20)),
        (421, request("GET", "http://elsewhere.test/x")),
        (431, request("GET", "/x", **{f"x{n}": "1" for n in range(200)})),
        (501, request("CONNECT", "elsewhere.test:443")),
        (405, request("TRACE", "/x")),
    ],
)
def test_what_is_refused(together: Together, status: int, sent: bytes) -> None:
    method = sent.partition(b" ")[0].decode()
    for name, proxy in together.proxies.items():
        with Client(proxy.address) as client:
            client.send(sent)
            reply = client.answer("GET" if method == "CONNECT" else method)
        assert reply.status == REFUSED_BY_OTHERS.get((name, sent), status), name
    assert together.count("/x") == 0


def test_chunked_content_beyond_the_limit(together: Together) -> None:

    async def read_on(exchange: Exchange) -> None:
        with contextlib.suppress(ValueError):  # it ends in the middle of a chunk
            await echo(exchange)

    together.on("/too-much", read_on)
    for name, proxy in together.proxies.items():
        with Client(proxy.address) as client:
            client.send(request("POST", "/too-much", transfer_encoding="chunked"))
            with contextlib.suppress(OSError):
                for _ in range(40):
                    client.send(chunked(bytes(64 << 10), end=b""))
            with contextlib.suppress(OSError, Broken):  # it may close while bytes are on their way
                assert client.answer("POST").status == 413, name
    for origin in together.origins.values():
        assert sum(len(seen.body) for seen in origin.seen("/too-much")) <= 1 << 20


def test_absolute_form_for_this_proxy(together: Together) -> None:
    together.on("/absolute", answer(b"ours"))
    for name, proxy in together.proxies.items():
        assert proxy.get(f"http://127.0.0.1:{proxy.port}/absolute").body == b"ours", name


@pytest.mark.parametrize("frontend", ["native", "fastapi", "flask"])
def test_the_access_log(origin: Origin, frontend: str, tmp_path: Path) -> None:
    origin.on("/logged", answer(b"12345"))
    path = tmp_path / "access.log"
    proxy = Process(
        "--frontend", frontend, "--origin", origin.url, "--access-log", str(path), "--access-log-format", "json"
    )
    proxy.get("/logged?q")
    proxy.get("/logged?q")
    proxy.get("/x", host="a b")
    proxy.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    told = [(line["method"], line["target"], line["status"], line["bytes"], line["x_cache"]) for line in lines[:2]]
    assert told == [("GET", "/logged?q", 200, 5, "MISS"), ("GET", "/logged?q", 200, 5, "HIT")]
    assert lines[2]["status"] == 400


def test_later_versions_of_http_1_are_read_as_1_1(together: Together) -> None:
    together.on("/version", answer(b"x", cache_control="no-store"))
    for version in ("1.0", "1.1", "1.2"):
        assert together.get("/version", version=version, connection="close").body == b"x"
        assert together.seen("/version")["Via"] == f"{version} springhouse"


def test_other_versions_are_refused(together: Together) -> None:
    for version in ("2.0", "2.1", "3.0", "9.9"):
        for name, proxy in together.proxies.items():
            with Client(proxy.address) as client:
                client.send(request("GET", "/other-version", version=version))
                assert client.rest().split(b" ")[1] in (b"400", b"505"), (name, version)
            assert not together.origins[name].seen("/other-version")


@pytest.mark.parametrize("options", ["host", "close, Content-Length", "Transfer-Encoding"])
def test_what_connection_may_not_name(together: Together, options: str) -> None:
    for name, proxy in together.proxies.items():
        assert proxy.get("/named", connection=options).status == 400, name
        assert not together.origins[name].seen("/named")


def test_a_uri_of_the_host_that_is_asked_is_its_path(together: Together) -> None:
    together.on("/of-host", answer(b"x"))
    replies = [together.get(target) for target in ("http://cache.test/of-host", "/of-host")]
    assert [reply.x_cache for reply in replies] == ["MISS", "HIT"]
    assert together.get("http://other.test/of-host").status == 421


def test_who_closes_leaves_nothing_behind(together: Together) -> None:
    """Neither before an answer has come, nor in the middle of a stream in which nothing happens."""
    at_work = dict.fromkeys(together.proxies, 0)

    def silent(name: str, before: bytes):
        async def handler(exchange: Exchange) -> None:
            at_work[name] += 1
            if before:
                await exchange.send(before)
            await exchange.read_until_end()
            at_work[name] -= 1
            exchange.close()
            together.origins[name].noted()

        return handler

    events = head(transfer_encoding="chunked", content_type="text/event-stream") + chunked(b"data: 1\n\n", end=b"")
    targets = {"/closed/no-answer": b"", "/closed/pipelined": b"", "/closed/stream": events}
    for (name, proxy), (target, before) in product(together.proxies.items(), targets.items()):
        origin = together.origins[name]
        origin.on(target, silent(name, before))
        with Client(proxy.address) as client:
            client.send(request("GET", target) * (2 if target.endswith("pipelined") else 1))
            origin.await_that(lambda origin=origin, target=target: origin.count(target) > 0)
            if before:
                client.head()
    for name in together.proxies:
        together.origins[name].await_that(lambda name=name: at_work[name] == 0, 8)


def from_method(method: bytes) -> bytes:
    return method + request("", "/odd-method")


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (from_method(b"FOO"), "The method FOO is not one this proxy knows"),
        (from_method(b"get"), "The method get is not one this proxy knows"),
        (from_method(b"GETX"), "The method GETX is not one this proxy knows"),
        (from_method(b"A" * 64), f"The method {'A' * 64} is not one this proxy knows"),
        (from_method(b"A" * 65), "The method is not one this proxy knows"),
        (from_method(b"G@T"), "The method is not one this proxy knows"),
        (from_method(b"G\x80T"), "The method is not one this proxy knows"),
        (from_method(b""), "The method is not one this proxy knows"),
        (from_method(b" GET"), "The method is not one this proxy knows"),
    ],
)
def test_odd_methods(together: Together, sent: bytes, detail: str) -> None:
    def ask(proxy: Process) -> Answer:
        with Client(proxy.address) as client:
            client.send(sent)
            return client.answer()

    reply = together.same(ask)
    assert (reply.status, json.loads(reply.body)["detail"]) == (501, detail)
    assert together.count("/odd-method") == 0


def test_an_odd_method_behind_a_request(together: Together) -> None:
    """The refusal comes behind the answers to what was asked before, whenever those come."""
    gates = together.gates()
    for name, origin in together.origins.items():
        origin.on("/before-odd", gated(gates[name], answer(b"before")))
    for name, proxy in together.proxies.items():
        with Client(proxy.address) as client:
            client.send(request("GET", "/before-odd") + from_method(b"FOO"))
            together.origins[name].await_that(lambda name=name: together.origins[name].count("/before-odd") == 1)
            gates[name].open()
            assert (client.answer().body, client.answer().status) == (b"before", 501), name
    assert together.count("/odd-method") == 0
