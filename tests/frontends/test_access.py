"""Who may change the proxy's state over HTTP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from springhouse.control.access import by_control, by_token, by_token_or_here
from springhouse.http.messages import Request

if TYPE_CHECKING:
    from springhouse.control.access import Objection

PORTS = {8000}
classic = partial(by_token_or_here, ports=PORTS)
RIGHT = "Bearer secret"


def asked_by(peer: str = "127.0.0.1", host: str = "localhost:8000", **fields: str) -> Request:
    """Return a request to clear."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    request = Request(b"DELETE", b"/cache", pairs, authority=host.encode())
    request.peer = peer
    return request


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", ""])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "shop.example", ""])
def test_purging_needs_the_token_whoever_asks(peer: str, host: str) -> None:
    assert "--token" in (by_token(asked_by(peer, host), "") or "")
    assert by_token(asked_by(peer, host, authorization=RIGHT), "") is not None
    assert "Authorization" in (by_token(asked_by(peer, host), "secret") or "")
    assert by_token(asked_by(peer, host, authorization=RIGHT), "secret") is None
    assert by_token(asked_by(peer, host, authorization=RIGHT, via="1.1 other"), "secret") is None


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_this_machine_may_clear(peer: str, host: str) -> None:
    assert classic(asked_by(peer, host), "") is None
    assert classic(asked_by(peer, host), "secret") is None


def test_the_port_may_be_left_out_if_it_is_80() -> None:
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert by_token_or_here(asked_by(host=host), "", {80}) is None
        assert by_token_or_here(asked_by(host=host), "", {443, 8000}) is not None
    assert by_token_or_here(asked_by(), "", ()) is not None, "it does not listen on any port: a Unix socket"


@pytest.mark.parametrize(
    "peer",
    ["10.0.0.1", "192.168.1.5", "8.8.8.8", "2606:4700::1", "::ffff:10.0.0.1", "fe80::1%eth0", "", "testclient"],
)
def test_others_need_the_token(peer: str) -> None:
    assert "--token" in (classic(asked_by(peer), "") or "")
    assert "Authorization" in (classic(asked_by(peer), "secret") or "")
    assert classic(asked_by(peer, authorization=RIGHT), "secret") is None


@pytest.mark.parametrize("objection", [by_token, classic])
def test_the_token_is_compared_whole(objection: partial[str | None]) -> None:
    assert objection(asked_by("10.0.0.1", authorization="bearer  secret"), "secret") is None
    for given in ("Bearer wrong", "Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer", "Bearer "):
        assert objection(asked_by("10.0.0.1", authorization=given), "secret") is not None
        assert objection(asked_by("10.0.0.1", authorization=given), "") is not None


@pytest.mark.parametrize("claim", ["x_forwarded_for", "forwarded", "x_real_ip", "via", "true_client_ip", "x_client_ip"])
def test_claims_open_nothing(claim: str) -> None:
    assert classic(asked_by("10.0.0.1", **{claim: "127.0.0.1"}), "") is not None
    assert classic(asked_by("127.0.0.1", **{claim: "127.0.0.1"}), "") is not None


@pytest.mark.parametrize(
    "host",
    [
        "evil.test:8000", "localhost.evil.test:8000", "127.0.0.1.evil.test:8000", "2130706433:8000", "0.0.0.0:8000",
        "[::ffff:127.0.0.1]:8000", "localhost", "localhost:", "localhost:8001", "x.localhost:8000", "localhost.:8000",
    ],
)  # fmt: skip
def test_a_name_that_leads_here(host: str) -> None:
    assert classic(asked_by(host=host), "") is not None


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:1", ""])
def test_the_control_socket_is_localhost(host: str) -> None:
    assert by_control(asked_by("", host)) is None


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "0.0.0.0", "127.1", "evil.test:localhost"])
def test_the_control_socket_has_no_other_name(host: str) -> None:
    assert by_control(asked_by("", host)) is not None


EVERY_WAY: list[Objection] = [
    by_control,
    *(partial(way, token=token) for way in (by_token, classic) for token in ("", "secret")),
]


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "nonsense"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://localhost:9"},
        {"origin": "file://"},
    ],
)
def test_pages_of_other_sites_may_not(fields: dict[str, str]) -> None:
    for objection in EVERY_WAY:
        assert "another site" in (objection(asked_by(**fields)) or "")
        assert "another site" in (objection(asked_by(authorization=RIGHT, **fields)) or "")


@pytest.mark.parametrize(
    "fields", [{"sec_fetch_site": "none"}, {"sec_fetch_site": "same-origin"}, {"origin": "http://localhost:8000"}]
)
def test_a_page_of_this_site_may(fields: dict[str, str]) -> None:
    assert classic(asked_by(**fields), "") is None
    assert by_control(asked_by(**fields)) is None
