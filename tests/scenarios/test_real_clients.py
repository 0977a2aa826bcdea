"""Programs people use: curl, wget and Python's own client, through the proxy."""

from __future__ import annotations

import http.client
import re
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, validated, whole
from tests.support.command import tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.origin import Exchange, Origin
    from tests.support.proxy import Proxy

BODY = bytes(range(256)) * 400
FRESH = "max-age=60"


@pytest.fixture(autouse=True)
def _answering(origin: Origin) -> None:
    origin.on("/a", validated(BODY, '"v1"', cache_control=FRESH, last_modified="Fri, 20 Nov 2026 10:00:00 GMT"))
    origin.on("/echo", echo)


def url(proxy: Proxy, target: str = "/a") -> str:
    """Return a URL of the proxy."""
    return f"http://{proxy.authority}{target}"


def curl(*arguments: object) -> str:
    """Run curl, and return what it prints."""
    command = [tool("curl"), "--silent", "--show-error", "--max-time", "10", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.decode("latin-1")


def x_caches(said: str) -> list[str]:
    """Return what X-Cache says in each answer that was printed."""
    return re.findall(r"^X-Cache: (\w+)\r?$", said, re.MULTILINE)


def test_curl_gets_the_bytes(proxy: Proxy, tmp_path: Path) -> None:
    for x_cache in ("MISS", "HIT"):
        file = tmp_path / "a"
        assert x_caches(curl("-D", "-", "-o", file, url(proxy))) == [x_cache]
        assert file.read_bytes() == BODY


def test_curl_keeps_its_connection(origin: Origin, proxy: Proxy) -> None:
    said = curl("-i", "-o", "-", url(proxy, "/a"), url(proxy, "/a"), "-w", "connects=%{num_connects}\n")
    assert re.findall(r"connects=(\d)", said) == ["1", "0"]


def test_curl_resumes_and_asks_for_parts(proxy: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(BODY[:1000])
    curl("-o", file, url(proxy))
    file.write_bytes(BODY[:1000])
    said = curl("-D", "-", "-C", "-", "-o", file, url(proxy))
    assert "206 Partial Content" in said
    assert file.read_bytes() == BODY
    assert curl("-r", "0-3", url(proxy)).encode("latin-1") == BODY[:4]


def test_curl_asks_whether_it_has_changed(proxy: Proxy, tmp_path: Path) -> None:
    tags, file = tmp_path / "tag", tmp_path / "a"
    curl("--etag-save", tags, "-o", file, url(proxy))
    said = curl("-i", "--etag-compare", tags, url(proxy))
    assert said.startswith("HTTP/1.1 304 ")
    assert x_caches(said) == ["HIT"]


def test_curl_uploads(origin: Origin, proxy: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(BODY * 30)
    for options in ((), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect:")):
        got = tmp_path / "got"
        curl("-T", file, "-o", got, *options, url(proxy, "/echo"))
        assert got.read_bytes() == BODY * 30
    assert curl("-d", "hello", url(proxy, "/echo")) == "hello"


@pytest.mark.parametrize("options", [(), ("-H", "Expect:"), ("-H", "Expect:", "-H", "Transfer-Encoding: chunked")])
def test_curl_is_told_that_its_upload_is_not_wanted(
    origin: Origin, proxy: Proxy, tmp_path: Path, options: tuple[str, ...]
) -> None:
    async def refusing(exchange: Exchange) -> None:
        await exchange.send(whole(b"no", 403))
        exchange.close()

    origin.on("/closed", refusing)
    file = tmp_path / "large"
    file.write_bytes(bytes(30_000_000))
    said = curl("-T", file, *options, "-w", " %{http_code}", url(proxy, "/closed"))
    assert said == "no 403"


def test_curl_wishes_for_http_2_and_gets_http_1(origin: Origin, proxy: Proxy) -> None:
    assert curl("--http2", "-d", "hello", url(proxy, "/echo")) == "hello"
    said = curl("--http2", "-i", "-o", "-", url(proxy), url(proxy))
    assert x_caches(said) == ["MISS", "HIT"]
    assert "Upgrade" not in origin.last


def test_curl_speaks_http_1_0(proxy: Proxy) -> None:
    for _ in range(2):
        assert curl("--http1.0", url(proxy)).encode("latin-1") == BODY


def test_curl_asks_for_a_head(proxy: Proxy) -> None:
    said = curl("-I", url(proxy), "--next", "-s", "-o", "-", url(proxy), "--next", "-s", "-I", url(proxy))
    assert said.count(f"Content-Length: {len(BODY)}") == 2
    assert x_caches(said) == ["MISS", "HIT"]


def test_curl_through_a_proxy_setting_reaches_the_origin_only(origin: Origin, proxy: Proxy) -> None:
    through = ("-x", f"http://{proxy.authority}")
    assert curl(*through, f"{origin.url}/a").encode("latin-1") == BODY
    assert curl(*through, "http://elsewhere.test/a").encode("latin-1") == BODY, "as if it had asked us for /a"
    assert {seen["Host"] for seen in origin.requests} == {origin.authority}
    other = curl(*through, "-H", "Host: a", "-o", "-", "-w", "%{http_code}", "http://elsewhere.test/")
    assert other.endswith("421")


def test_wget_gets_the_bytes_and_what_is_new(proxy: Proxy, tmp_path: Path) -> None:
    wget = tool("wget")
    for said in ("200", "304"):
        ran = subprocess.run(
            [wget, "--server-response", "--timestamping", "--tries=1", "--timeout=10", url(proxy)],
            capture_output=True, text=True, cwd=tmp_path, check=True,
        )  # fmt: skip
        assert f"HTTP/1.1 {said} " in ran.stderr
        assert (tmp_path / "a").read_bytes() == BODY


def test_pythons_client_keeps_its_connection(origin: Origin, proxy: Proxy) -> None:
    client = http.client.HTTPConnection(*proxy.address, timeout=10)  # type: ignore[misc]
    try:
        found = []
        for _ in range(5):
            client.request("GET", "/a", headers={"Accept-Encoding": "identity"})
            response = client.getresponse()
            found.append((response.status, response.getheader("X-Cache"), response.read() == BODY))
            client.request("POST", "/echo", body=iter([b"one", b"two"]), encode_chunked=True, headers={"A": "b"})
            assert client.getresponse().read() == b"onetwo"
        assert found == [(200, "MISS", True)] + [(200, "HIT", True)] * 4
    finally:
        client.close()


def test_pythons_urlopen(proxy: Proxy) -> None:
    for x_cache in ("MISS", "HIT"):
        with urllib.request.urlopen(url(proxy), timeout=10) as response:
            assert (response.headers["X-Cache"], response.read()) == (x_cache, BODY)


async def page(exchange: Exchange) -> None:
    """Answer with a redirect, as applications do."""
    await answer(b"", 302, location="/a")(exchange)


def test_redirects_are_the_clients_to_follow(origin: Origin, proxy: Proxy) -> None:
    origin.on("/old", page)
    assert curl("-L", url(proxy, "/old")).encode("latin-1") == BODY
    assert [seen.target for seen in origin.requests] == ["/old", "/a"]
