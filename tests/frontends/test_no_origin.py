"""`GET /proxy` without an origin: any public URL, behind the guard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.frontends.together import FRONTENDS, Process
from tests.support.answers import answer, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.origin import Origin


@pytest.fixture(scope="module", params=FRONTENDS)
def guarded(request: pytest.FixtureRequest) -> Iterator[Process]:
    """Start a proxy without an origin."""
    running = Process("--classic", "--frontend", request.param)
    yield running
    running.close()


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("http://127.0.0.1:{port}/", 403, "forbidden_target"),
        ("http://localhost:{port}/", 403, "forbidden_target"),
        ("http://[::1]:{port}/", 403, "forbidden_target"),
        ("http://[::ffff:127.0.0.1]:{port}/", 403, "forbidden_target"),
        ("http://0.0.0.0:{port}/", 403, "forbidden_target"),
        ("http://2130706433:{port}/", 403, "forbidden_target"),
        ("http://0177.0.0.1:{port}/", 403, "forbidden_target"),
        ("http://0x7f000001:{port}/", 403, "forbidden_target"),
        ("http://127.1:{port}/", 403, "forbidden_target"),
        ("http://169.254.169.254/latest/meta-data/", 403, "forbidden_target"),
        ("file:///etc/passwd", 403, "forbidden_scheme"),
        ("//evil", 400, "bad_url"),
        ("%5C@evil", 400, "bad_url"),
        ("products", 400, "bad_url"),
    ],
)
def test_nobody_reaches_inside(guarded: Process, origin: Origin, url: str, status: int, code: str) -> None:
    origin.on("/", answer(b"inside"))
    reply = guarded.get("/proxy?url=" + url.replace("{port}", str(origin.port)))
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)
    assert not origin.requests


def test_nothing_else_is_here(guarded: Process) -> None:
    for method in ("GET", "POST"):
        reply = guarded.ask(method, "/products")
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (404, "no_origin")


def test_a_request_that_leads_back_here() -> None:
    proxy = Process("--classic", "--allow-private")
    try:
        here = f"http://127.0.0.1:{proxy.port}"
        reply = proxy.get(f"/proxy?url={here}/proxy%3Furl={here}/docs")
        assert reply.status in (502, 508)
    finally:
        proxy.close()


def test_private_addresses_if_allowed(origin: Origin) -> None:
    origin.on("/", answer(b'"inside"', content_type="application/json"))
    origin.on("/moved", raw(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))
    proxy = Process("--classic", "--allow-private")
    try:
        for source in ("upstream", "cache"):
            reply = proxy.get(f"/proxy?url={origin.url}/")
            assert json.loads(reply.body) == {"success": True, "source": source, "data": "inside"}
        reply = proxy.get(f"/proxy?url={origin.url}/moved")
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (502, "redirect")
        assert origin.count("/") == 1
    finally:
        proxy.close()


def test_named_hosts_and_the_token(origin: Origin) -> None:
    origin.on("/", answer(b'"inside"', content_type="application/json"))
    proxy = Process("--classic", "--allow-host", f"localhost:{origin.port}", "--token", "secret")
    try:
        assert proxy.get(f"/proxy?url=http://localhost:{origin.port}/").status == 200
        assert proxy.get(f"/proxy?url=http://127.0.0.1:{origin.port}/").status == 403
        assert proxy.ask("DELETE", "/cache", host="evil.test").status == 403
        assert proxy.ask("DELETE", "/cache", host="evil.test", authorization="Bearer secret").status == 200
    finally:
        proxy.close()
