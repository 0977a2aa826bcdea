"""The classic endpoints, alike on every front end."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, head, raw, validated
from tests.support.client import Client

if TYPE_CHECKING:
    from tests.frontends.together import Together
    from tests.support.messages import Answer

JSON = {"content_type": "application/json"}
HERE = "localhost:{port}"


def read(reply: Answer) -> dict[str, object]:
    """Return the JSON of an answer, which must say that it is JSON."""
    assert reply["Content-Type"] == "application/json"
    found: dict[str, object] = json.loads(reply.body)
    return found


def code(reply: Answer) -> object:
    """Return the code of an error in the one shape."""
    said = read(reply)
    assert said.keys() == {"success", "error"}
    assert said["success"] is False
    error = said["error"]
    assert isinstance(error, dict)
    assert error.keys() == {"code", "message"}
    assert error["message"]
    return error["code"]


def test_proxy_from_upstream_then_from_the_cache(classics: Together) -> None:
    classics.on("/products?limit=2", answer(b'{"id": 1, "big": 12345678901234567890}', **JSON))
    first = classics.get("/proxy?url=products%3Flimit%3D2")
    again = classics.get("/proxy?url=/products?limit%3D2")
    data = {"id": 1, "big": 12345678901234567890}
    assert read(first) == {"success": True, "source": "upstream", "data": data}
    assert read(again) == {"success": True, "source": "cache", "data": data}
    assert (first.x_cache, again.x_cache) == ("MISS", "HIT")
    assert classics.count("/products?limit=2") == 1
    seen = classics.seen("/products?limit=2")
    assert (seen["X-Forwarded-For"], "cookie" in seen) == ("unknown", False)


def test_proxy_takes_nothing_from_its_client(classics: Together) -> None:
    classics.on("/anonymous", answer(b"1", **JSON))
    classics.get(
        "/proxy?url=anonymous", cookie="a=1", authorization="Basic eDp5", range="bytes=0-0", cache_control="no-store"
    )
    seen = classics.seen("/anonymous")
    assert not {"cookie", "authorization", "range", "cache-control"} & {
        name.decode().lower() for name, _ in seen.fields
    }
    assert read(classics.get("/proxy?url=anonymous"))["source"] == "cache"


def test_an_absolute_url_of_the_origin(classics: Together) -> None:
    classics.on("/mine", answer(b"1", **JSON))
    for name, proxy in classics.proxies.items():
        assert proxy.get(f"/proxy?url={classics.origins[name].url}/mine").status == 200


@pytest.mark.parametrize(
    ("content", "media", "data"),
    [
        (b"plain", "text/plain", "plain"),
        ("é".encode("latin-1"), "text/plain; charset=iso-8859-1", "é"),
        (b"<p>", "text/html", "<p>"),
        (b"{not json", "application/json", "{not json"),
        (b'{"a": [1, 2.5, null]}', "application/problem+json", {"a": [1, 2.5, None]}),
        (b"\xff\xfe", "text/plain", {"content_type": "text/plain", "base64": "//4="}),
        (b"\x89PNG", "image/png", {"content_type": "image/png", "base64": base64.b64encode(b"\x89PNG").decode()}),
        (b"", "text/plain", None),
        (b"[" * 5000, "application/json", "[" * 5000),
    ],
)
def test_data(classics: Together, content: bytes, media: str, data: object) -> None:
    classics.on("/data", answer(content, content_type=media))
    assert read(classics.get("/proxy?url=data"))["data"] == data
    classics.ask("DELETE", "/cache", host=HERE)


def test_content_codings_nobody_asked_for(classics: Together) -> None:
    classics.on("/gzipped", answer(gzip.compress(b'{"a": 1}'), content_encoding="gzip", **JSON))
    assert read(classics.get("/proxy?url=gzipped"))["data"] == {"a": 1}
    classics.on("/odd", answer(b"??", content_encoding="br", **JSON))
    assert code(classics.get("/proxy?url=odd")) == "bad_gateway"
    classics.on("/bomb", answer(gzip.compress(bytes(80 << 20)), content_encoding="gzip", **JSON))
    assert code(classics.get("/proxy?url=bomb")) == "bad_gateway"


@pytest.mark.parametrize("control", ["no-store", "max-age=0", "private", "max-age=99999"])
def test_proxy_keeps_for_exactly_the_ttl(classics: Together, control: str) -> None:
    target = f"/kept-{control}"
    classics.on(target, answer(b"1", cache_control=control, set_cookie="a=1", age=50, expires="0", **JSON))
    classics.get(f"/proxy?url={target}")
    reply = classics.get(f"/proxy?url={target}")
    assert read(reply)["source"] == "cache"
    assert reply["Cache-Status"] in ("springhouse; hit; ttl=60", "springhouse; hit; ttl=59")
    assert "set-cookie" not in reply


def test_what_proxy_keeps_is_not_what_the_path_gets(classics: Together) -> None:
    classics.on("/apart", answer(b"1", cache_control="no-store", **JSON))
    classics.get("/proxy?url=apart")
    assert classics.get("/apart").x_cache == "MISS"
    assert classics.get("/apart").x_cache == "MISS"


@pytest.mark.parametrize(
    ("theirs", "ours", "why"),
    [
        (404, 404, "upstream_status"),
        (500, 502, "upstream_status"),
        (302, 502, "redirect"),
        (418, 418, "upstream_status"),
    ],
)
def test_only_success_is_kept(classics: Together, theirs: int, ours: int, why: str) -> None:
    target = f"/status-{theirs}"
    classics.on(target, answer(b"{}", theirs, cache_control="max-age=60", location="http://127.0.0.1:1/", **JSON))
    for count in (1, 2):
        reply = classics.get(f"/proxy?url={target}")
        assert (reply.status, code(reply)) == (ours, why)
        assert classics.count(target) == count


def test_a_broken_origin(classics: Together) -> None:
    classics.on("/nonsense", raw(b"what?\r\n\r\n"))
    reply = classics.get("/proxy?url=nonsense")
    assert (reply.status, code(reply)) == (502, "bad_gateway")
    classics.on("/short", raw(head(content_length=100) + b"short"))
    reply = classics.get("/proxy?url=short")
    assert (reply.status, code(reply)) == (502, "bad_gateway")


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("", 422, "missing_url"),
        ("?", 422, "missing_url"),
        ("?url=", 422, "missing_url"),
        ("?uri=x", 422, "missing_url"),
        ("?url=a&url=b", 422, "missing_url"),
        ("?url=%ff", 400, "bad_query"),
        ("?url=%5C@evil", 400, "bad_url"),
        ("?url=/%5Cevil", 400, "bad_url"),
        ("?url=x%0d%0aHost:%20evil", 400, "bad_url"),
        ("?url=http://", 400, "bad_url"),
        ("?url=http://u:p@127.0.0.1/", 400, "bad_url"),
        ("?url=http://127.0.0.1:99999/", 400, "bad_url"),
        ("?url=http://x%20y/", 400, "bad_url"),
        ("?url=//evil", 403, "forbidden_target"),
        ("?url=http://evil.test/", 403, "forbidden_target"),
        ("?url=http://169.254.169.254/", 403, "forbidden_target"),
        ("?url=http://[::1]/", 403, "forbidden_target"),
        ("?url=http://2130706433/", 403, "forbidden_target"),
        ("?url=http://0177.0.0.1/", 403, "forbidden_target"),
        ("?url=http://localhost/", 403, "forbidden_target"),
        ("?url=file:///etc/passwd", 403, "forbidden_scheme"),
        ("?url=gopher://127.0.0.1:70/", 403, "forbidden_scheme"),
        ("?url=javascript:alert(1)", 403, "forbidden_scheme"),
    ],
)
def test_urls_that_are_refused(classics: Together, query: str, status: int, why: str) -> None:
    reply = classics.get(f"/proxy{query}")
    assert (reply.status, code(reply)) == (status, why)


def test_clearing(classics: Together) -> None:
    classics.on("/cleared", answer(b"1", **JSON))
    for method, target in (("GET", "/clear-cache"), ("DELETE", "/cache")):
        for host in (HERE, "127.0.0.1:{port}", "[::1]:{port}", "LOCALHOST:{port}"):
            classics.get("/cleared")
            classics.get("/proxy?url=cleared")
            assert classics.get("/cleared").x_cache == "HIT"
            reply = classics.ask(method, target, host=host)
            assert (reply.status, read(reply)) == (200, {"success": True, "message": "Cache cleared successfully"})
            assert classics.get("/cleared").x_cache == "MISS"
            assert read(classics.get("/proxy?url=cleared"))["source"] == "upstream"


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"x_forwarded_for": "127.0.0.1"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 other"},
        *(
            {"host": host}
            for host in (
                "evil.test:{port}", "localhost", "127.0.0.1", "[::1]", "localhost:1", "localhost:80",
                "localhost.:{port}", "proxy.localhost:{port}", "0.0.0.0:{port}", "[::]:{port}",
                "[::ffff:127.0.0.1]:{port}", "[0:0:0:0:0:0:0:1]:{port}", "127.1:{port}", "127.0.0.2:{port}",
                "2130706433:{port}",
            )
        ),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("where", ["GET /clear-cache", "DELETE /cache"])
def test_who_may_not_clear(classics: Together, where: str, fields: dict[str, str]) -> None:
    classics.on("/precious", answer(b"1"))
    classics.get("/precious")
    reply = classics.ask(*where.split(), **{"host": HERE, **fields})
    assert (reply.status, code(reply)) == (403, "forbidden")
    assert classics.get("/precious").x_cache == "HIT"


def test_a_request_without_host_may_not_clear(classics: Together) -> None:
    """Nothing says that it is not for another name that leads here."""
    for proxy in classics.proxies.values():
        with Client(proxy.address) as client:
            client.send(b"GET /clear-cache HTTP/1.0\r\n\r\n")
            assert client.read(12)[9:] == b"403"


@pytest.mark.parametrize("fields", [{"sec_fetch_site": "none"}, {"origin": "http://localhost:{port}"}])
def test_a_browser_of_this_machine_may_clear(classics: Together, fields: dict[str, str]) -> None:
    assert classics.get("/clear-cache", **{"host": HERE, **fields}).status == 200


def test_methods(classics: Together) -> None:
    for method, target, allowed in (
        ("GET", "/cache", "DELETE"),
        ("POST", "/proxy", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"),
        ("POST", "/clear-cache", "GET"),
        ("HEAD", "/clear-cache", "GET"),
    ):
        reply = classics.ask(method, target, host="localhost")
        assert (reply.status, reply["Allow"]) == (405, allowed)


def test_three_words(classics: Together) -> None:
    classics.on("/etag", validated(b"x", '"1"', cache_control="max-age=0"))
    classics.get("/etag")
    confirmed = classics.get("/etag")
    assert (confirmed.x_cache, "fwd-status=304" in confirmed["Cache-Status"]) == ("MISS", True)
    classics.on("/stale", answer(b"x", cache_control="max-age=0, stale-if-error=60", etag='"1"'), raw(b"?\r\n\r\n"))
    classics.get("/stale")
    assert classics.get("/stale").x_cache == "HIT"
    assert classics.ask("POST", "/etag", b"x").x_cache == "BYPASS"


def test_docs_need_nobody_else(classics: Together) -> None:
    page = classics.get("/docs")
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert b"//" not in page.body.replace(b"<!DOCTYPE", b"")
    for target, media in (("/docs/swagger-ui.css", "text/css"), ("/docs/swagger-ui-bundle.js", "text/javascript")):
        asset = classics.get(target)
        assert asset["Content-Type"].startswith(media)
        assert len(asset.body) > 100_000
    assert b"openapi.json" in classics.get("/docs/init.js").body


def test_openapi(classics: Together) -> None:
    document = read(classics.get("/openapi.json"))
    assert document["openapi"] == "3.1.0"
    paths = document["paths"]
    assert isinstance(paths, dict)
    assert {path: set(methods) for path, methods in paths.items()} == {
        "/proxy": {"get"}, "/cache": {"delete"}, "/clear-cache": {"get"},
    }  # fmt: skip
