"""Where the proxy listens and where its origin is: IPv4, IPv6, Unix sockets, and the names it answers to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer
from tests.support.origin import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.proxy import Proxy


def has_ipv6() -> bool:
    """Say whether this machine has ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@needs_ipv6
def test_an_ipv6_origin(serve: Serve) -> None:
    with Origin(host="::1") as origin:
        origin.on("/a", answer(b"x", cache_control="max-age=60"))
        proxy = serve(origin.url)
        assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
        assert origin.last["Host"] == f"[::1]:{origin.port}"


@needs_ipv6
def test_listening_on_ipv6(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    proxy = serve(host="::1")
    assert proxy.get("/a").status == 200
    assert origin.last["X-Forwarded-For"] == "::1"
    assert origin.last["Forwarded"] == 'for="[::1]";proto=http'
    assert proxy.get(f"http://[::1]:{proxy.port}/a").status == 200


@needs_ipv6
def test_trusting_an_ipv6_proxy(origin: Origin, serve: Serve) -> None:
    origin.on("/a", answer(b"x"))
    serve(host="::1", trusted_proxy=("::1/128",)).get("/a", x_forwarded_for="10.1.1.1")
    assert ", ".join(origin.last.all("X-Forwarded-For")) == "10.1.1.1, ::1"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_listening_on_a_unix_socket(origin: Origin, serve: Serve, tmp_path: Path) -> None:
    origin.on("/a", answer(b"x", cache_control="max-age=60"))
    proxy = serve(unix_socket=tmp_path / "proxy.socket")
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert origin.last["Forwarded"].startswith("for=unknown")
    assert proxy.get("/a", version="1.0").body == b"x"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]", socket.gethostname()])
def test_an_absolute_target_that_names_the_proxy(origin: Origin, proxy: Proxy, name: str) -> None:
    origin.on("/a?b", answer(b"x", cache_control="max-age=60"))
    proxy.get("/a?b")
    got = proxy.get(f"http://{name}:{proxy.port}/a?b")
    assert (got.x_cache, got.body) == ("HIT", b"x")


def test_an_absolute_target_that_names_the_origin(origin: Origin, proxy: Proxy) -> None:
    origin.on("/", answer(b"x"))
    assert proxy.get(origin.url).body == b"x"
    assert origin.last.target == "/"


def test_an_absolute_target_on_another_port_is_not_ours(origin: Origin, proxy: Proxy) -> None:
    assert proxy.get(f"http://localhost:{proxy.port + 1}/a").status == 421
    assert proxy.get("http://localhost/a").status == 421
    assert not origin.requests
