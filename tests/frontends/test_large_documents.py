"""`GET /proxy` of large documents: streamed, from one copy for all, alike on every front end."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head
from tests.support.messages import request

from springhouse.http.memo import held

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.frontends.together import Together
    from tests.support.origin import Exchange, Origin

MIB = 1 << 20
DOCUMENT = json.dumps([{"id": i, "name": "é", "is": True} for i in range(60_000)]).encode()
KINDS = {
    "JSON": (DOCUMENT, {"content_type": "application/json"}, json.loads(DOCUMENT)),
    "broken JSON": (DOCUMENT[:-1], {"content_type": "application/json"}, DOCUMENT[:-1].decode()),
    "text": (b"text\n" * 400_000, {"content_type": "text/plain"}, "text\n" * 400_000),
    "bytes": (
        bytes(range(256)) * 8_000,
        {"content_type": "image/png"},
        {"content_type": "image/png", "base64": base64.b64encode(bytes(range(256)) * 8_000).decode()},
    ),
    "gzip": (
        gzip.compress(DOCUMENT),
        {"content_type": "application/json", "content_encoding": "gzip"},
        json.loads(DOCUMENT),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_document(classics: Together, kind: str) -> None:
    content, fields, data = KINDS[kind]
    target = f"/large-{kind.replace(' ', '-')}"
    classics.on(target, answer(content, framing="chunked" if kind == "text" else "length", **fields))
    for source, word in (("upstream", "MISS"), ("cache", "HIT")):
        got = classics.get(f"/proxy?url={target}")
        assert (got.status, got.x_cache, got["Content-Type"]) == (200, word, "application/json")
        assert json.loads(got.body) == {"success": True, "source": source, "data": data}
    assert classics.count(target) == 1


@pytest.mark.parametrize("control", ["max-age=60", "no-store"])
@pytest.mark.parametrize("ttl", [60, 0])
def test_clients_that_do_not_read_a_large_document_share_it(
    origin: Origin, serve: Serve, ttl: int, control: str
) -> None:
    proxy = serve(classic=True, ttl=ttl)
    document = json.dumps(["x" * 1000] * 12_000).encode()
    origin.on("/large", answer(document, content_type="application/json", cache_control=control))
    origin.on("/small", answer(b"small", cache_control="max-age=60"))
    clients = [proxy.connect(receive_buffer=32 * 1024) for _ in range(6)]
    for client in clients:
        client.send(request("GET", "/proxy?url=large"))
    proxy.await_that(lambda: sum(c.writer.paused for c in proxy.server.connections) == len(clients))
    assert proxy.get("/small").body == b"small"
    assert max(proxy.held_back().values()) < 5 * MIB
    for client in clients:
        assert json.loads(client.answer().body)["data"] == json.loads(document)


def test_what_is_fetched_for_the_envelope_is_bounded(origin: Origin, serve: Serve) -> None:
    proxy = serve(classic=True, memory=8 * MIB)
    for target, size in (("/fits", 2 * MIB - 10), ("/large", 2 * MIB + 10)):
        origin.on(target, answer(b'"%b"' % (b"x" * (size - 2)), content_type="application/json"))
    assert len(proxy.get("/proxy?url=fits").body) > 2 * MIB - 10
    for _ in range(2):
        got = proxy.get("/proxy?url=large")
        assert (got.status, json.loads(got.body)["error"]["code"]) == (502, "too_large")


def test_only_so_much_is_gathered_at_once(origin: Origin, serve: Serve) -> None:
    """And what was counted is given back, however it ends."""
    proxy = serve(classic=True, memory=8 * MIB)
    gate = origin.gate()

    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length=2 * MIB, content_type="application/json") + bytes(3 * MIB // 2))
        await gate.passed()
        exchange.close()

    for i in range(4):
        origin.on(f"/{i}", half, answer(b"1", content_type="application/json"))
    clients = [proxy.connect() for _ in range(4)]
    for i, client in enumerate(clients):
        client.send(request("GET", f"/proxy?url={i}"))
        origin.await_requests(i + 1)
    first = [client for client in clients if not client.is_silent(0.5)]
    assert len(first) == 2, "there is room for two"
    for client in first:
        got = client.answer()
        assert (got.status, json.loads(got.body)["error"]["code"]) == (503, "overloaded")
    gate.open()
    for client in clients:
        if client not in first:
            assert client.answer().status == 502
    assert [proxy.get(f"/proxy?url={i}").status for i in range(4)] == [200] * 4
    assert held()["answers for /proxy"] == 0
