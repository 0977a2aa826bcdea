"""Origins behind https: believed when their certificate is, with --origin-ca where nobody else knows it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, echo, whole
from tests.support.certificates import Authority
from tests.support.client import Broken
from tests.support.origin import Origin

from springhouse.settings import BadSettings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.origin import Exchange

FRESH = "max-age=60"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority of our own."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(authority: Authority) -> Iterator[Origin]:
    """Start an https origin with a certificate of that authority."""
    with Origin(tls=authority.server("127.0.0.1", "localhost")) as origin:
        origin.otherwise = answer(b"secret", cache_control=FRESH)
        yield origin


def test_an_origin_with_a_known_certificate(secure: Origin, serve: Serve, authority: Authority) -> None:
    proxy = serve(secure.url, origin_ca=authority.pem)
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert proxy.get("/a").body == b"secret"
    assert secure.last["Host"] == secure.authority
    assert secure.last["X-Forwarded-Proto"] == "http"  # how the client came


def test_its_connections_are_kept_too(secure: Origin, serve: Serve, authority: Authority) -> None:
    proxy = serve(secure.url, origin_ca=authority.pem)
    secure.on("/echo", echo)
    body = bytes(range(256)) * 10_000
    for _ in range(3):
        assert proxy.ask("POST", "/echo", body).body == body
    assert secure.connections == 1


def test_a_large_answer_over_tls(secure: Origin, serve: Serve, authority: Authority) -> None:
    proxy = serve(secure.url, origin_ca=authority.pem)
    body = bytes(range(256)) * 40_000
    secure.on("/large", answer(body, framing="chunked", cache_control=FRESH))
    assert [proxy.get("/large").body == body for _ in range(2)] == [True, True]


def test_a_name_is_checked_as_well_as_an_address(secure: Origin, serve: Serve, authority: Authority) -> None:
    proxy = serve(secure.url.replace("127.0.0.1", "localhost"), origin_ca=authority.pem)
    assert proxy.get("/a").status == 200


def test_a_certificate_that_nobody_knows(secure: Origin, serve: Serve) -> None:
    got = serve(secure.url).get("/a")
    assert got.status == 502
    assert got["Proxy-Status"].startswith("springhouse; error=tls_certificate_error; ")
    assert not secure.requests


def test_a_certificate_for_another_name(authority: Authority, serve: Serve) -> None:
    with Origin(tls=authority.server("elsewhere.test")) as other:
        got = serve(other.url, origin_ca=authority.pem).get("/a")
    assert got.status == 502
    assert "error=tls_certificate_error" in got["Proxy-Status"]
    assert not other.requests


def test_a_certificate_that_has_expired(authority: Authority, serve: Serve) -> None:
    with Origin(tls=authority.server("127.0.0.1", expires_in=-timedelta(days=1))) as expired:
        got = serve(expired.url, origin_ca=authority.pem).get("/a")
    assert got.status == 502
    assert "error=tls_certificate_error" in got["Proxy-Status"]
    assert "expired" in got.body.decode()


def test_https_to_a_port_that_speaks_http(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answering() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.sendall(whole(b"What is this?", 400))
                connection.recv(1 << 16)

        server = threading.Thread(target=answering)
        server.start()
        got = serve(f"https://127.0.0.1:{plain.getsockname()[1]}").get("/a")
        server.join()
    assert got.status == 502
    assert "error=tls_protocol_error" in got["Proxy-Status"]


def test_http_to_a_port_that_speaks_https(secure: Origin, serve: Serve) -> None:
    got = serve(secure.url.replace("https:", "http:")).get("/a")
    assert got.status == 502


def test_content_until_close_ends_with_the_alert_that_ends_tls(
    secure: Origin, serve: Serve, authority: Authority
) -> None:
    proxy = serve(secure.url, origin_ca=authority.pem)
    secure.on("/a", answer(b"x" * 1000, framing="close", cache_control=FRESH))
    assert [proxy.get("/a").body for _ in range(2)] == [b"x" * 1000] * 2


def test_content_until_close_without_that_alert_has_been_cut_off(
    secure: Origin, serve: Serve, authority: Authority
) -> None:
    async def cut_off(exchange: Exchange) -> None:
        await exchange.send(whole(b"x" * 1000, framing="close", cache_control=FRESH))
        await asyncio.sleep(0.05)
        exchange.cut()

    proxy = serve(secure.url, origin_ca=authority.pem)
    secure.on("/a", cut_off, answer(b"whole", cache_control=FRESH))
    with proxy.connect() as client, pytest.raises(Broken):
        client.get("/a")
    assert proxy.get("/a").body == b"whole"


def test_a_ca_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="origin-ca"):
        load_settings({"origin": "https://localhost", "origin_ca": str(tmp_path / "none.pem")})


def test_a_ca_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(BadSettings, match="origin-ca"):
        load_settings({"origin": "https://localhost", "origin_ca": str(tmp_path / "empty.pem")})
