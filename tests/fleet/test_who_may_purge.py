"""Who may purge, and what an order must look like."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import command
from tests.support.answers import answer
from tests.support.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.node import Node
    from tests.support.origin import Origin

    Start = Callable[..., Node]

TOKEN = "correct-horse"
FRESH = {"cache_control": "max-age=600"}
ALL = b'{"all": true}'
PURGE = "/.springhouse/purge"


@pytest.fixture
def node(origin: Origin, start: Start) -> Node:
    """Return a proxy without a token that has /x stored."""
    origin.otherwise = answer(b"x", **FRESH)
    found = start()
    found.fill("/x")
    return found


@pytest.fixture
def guarded(origin: Origin, start: Start) -> Node:
    """Return a proxy with a token that has /x stored."""
    origin.otherwise = answer(b"x", **FRESH)
    found = start(token=TOKEN)
    found.fill("/x")
    return found


def refused(node: Node, **fields: object) -> None:
    """See to it that such requests purge nothing, in either form, nor reach the origin."""
    for method, target, body in (("POST", PURGE, ALL), ("PURGE", "/x", None)):
        found = node.ask(method, target, body, **{"host": f"localhost:{node.address[1]}", **fields})
        assert (found.status, found["Content-Type"]) == (403, "application/problem+json"), fields
    assert node.get("/x").x_cache == "HIT"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "127.0.0.1"},
        {"host": "rebound.example"},
        {"forwarded": "for=127.0.0.1"},
        {"via": "1.1 other"},
        {"authorization": f"Bearer {TOKEN}"},
    ],
)
def test_on_the_port_of_clients_nobody_may_without_a_token(node: Node, fields: dict[str, object]) -> None:
    refused(node, **fields)
    found = node.ask("POST", PURGE, ALL)
    assert b"`springhouse purge`" in found.body
    assert b"--token" in found.body


def test_the_control_socket_takes_orders_and_nothing_else(node: Node, origin: Origin) -> None:
    asked = len(origin.requests)
    assert node.control("GET", "/x").status == 404
    assert node.control("GET", "/x", host="rebound.example").status == 403
    assert node.control("POST", PURGE, ALL, host="rebound.example").status == 403
    assert node.control("POST", PURGE, ALL, origin="https://evil.example").status == 403
    assert node.get("/x").x_cache == "HIT"
    assert len(origin.requests) == asked
    assert node.control("POST", PURGE, ALL).status == 200
    assert node.get("/x").x_cache == "MISS"


@pytest.mark.parametrize(
    "fields",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
)
def test_pages_of_other_sites_may_not(node: Node, guarded: Node, fields: dict[str, object]) -> None:
    refused(node, **fields)
    refused(guarded, **fields, authorization=f"Bearer {TOKEN}")


def test_who_knows_the_token_may(guarded: Node) -> None:
    relayed = {"via": "1.1 other", "host": "cache.example"}
    refused(guarded, **relayed)
    for wrong in (f"Bearer {TOKEN}x", "Bearer", f"Basic {TOKEN}", TOKEN):
        refused(guarded, **relayed, authorization=wrong)
    found = guarded.ask("POST", PURGE, ALL, **relayed, authorization=f"Bearer {TOKEN}")
    assert (found.status, json.loads(found.body)["keys"]) == (200, 1)
    guarded.fill("/x")
    assert guarded.ask("PURGE", "/x", **relayed, authorization=f"bearer {TOKEN}").status == 200


def test_another_address_than_loopback_needs_the_token(origin: Origin, start: Start) -> None:
    address = outer_address()
    origin.otherwise = answer(b"x", **FRESH)
    node = start(token=TOKEN, host="0.0.0.0")
    with Client((address, int(node.address[1]))) as client:
        assert client.ask("POST", PURGE, ALL, host=address).status == 403
        assert client.ask("POST", PURGE, ALL, host=address, authorization=f"Bearer {TOKEN}").status == 200
    at = f"http://{address}:{node.address[1]}"
    done = command("springhouse", "purge", "--all", "--at", at)
    assert (done.returncode, "token" in done.stderr, done.stdout) == (2, True, "")
    done = command("springhouse", "purge", "--all", "--at", at, "--token", TOKEN)
    assert (done.returncode, done.stdout.startswith("Purged ")) == (0, True)
    done = command("springhouse", "purge", "--all", "--at", at, env={"SPRINGHOUSE_TOKEN": TOKEN})
    assert done.returncode == 0


def outer_address() -> str:
    """Return an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        found: str = probe.getsockname()[0]
    if found.startswith("127."):
        pytest.skip("this machine has no other address")
    return found


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (b"", "Say in JSON"),
        (b"[" * 500_000, "not understood"),
        (b'{"url": ' + b"[" * 500_000, "not understood"),
        (b'{"url": "/\\ud800"}', ""),
        (b'{"tags": ["\\ud800"]}', ""),
        (b"{", "not understood"),
        (b"[]", "not understood"),
        (b'"/x"', "not understood"),
        (b'{"urls": ["/x"]}', "urls"),
        (b'{"all": true, "url": "/x"}', "exactly one"),
        (b'{"all": true, "soft": "yes"}', "soft"),
        (b"{}", "exactly one"),
        (b'{"soft": true}', "exactly one"),
        (b'{"url": 1}', "url"),
        (b'{"url": "http://elsewhere.example/x"}', "not served here"),
        (b'{"url": "ftp://localhost/x"}', "neither a path nor"),
        (b'{"url": "x"}', "neither a path nor"),
        (b'{"url": ""}', "neither a path nor"),
        (b'{"prefix": "http://elsewhere.example/"}', "not served here"),
        (b'{"url": "http://[/x"}', ""),
        (b'{"url": "/\xff"}', "not understood"),
        (b'{"all": true, "pad": "' + b"x" * 1_100_000 + b'"}', ""),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_an_order_that_makes_no_sense_is_400(node: Node, order: bytes, says: str) -> None:
    found = node.control("POST", PURGE, order)
    assert (found.status, found["Content-Type"]) == (400, "application/problem+json")
    assert says in json.loads(found.body)["detail"]
    assert node.get("/x").x_cache == "HIT"
    assert node.errors == ""


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", PURGE, 405),
        ("HEAD", PURGE, 405),
        ("DELETE", PURGE, 405),
        ("GET", "/.springhouse/", 404),
        ("POST", "/.springhouse/purge/", 404),
        ("POST", "/.springhouse/nothing", 404),
        ("POST", PURGE, 400),
    ],
)
def test_what_is_not_there_is_said_and_never_reaches_the_origin(
    guarded: Node, origin: Origin, method: str, target: str, status: int
) -> None:
    asked = len(origin.requests)
    found = guarded.ask(method, target, authorization=f"Bearer {TOKEN}")
    assert found.status == status
    assert found.get("Allow") == ("POST" if status == 405 else None)
    assert len(origin.requests) == asked


def test_urls_may_name_the_origin_or_the_proxy(guarded: Node, origin: Origin) -> None:
    here = f"127.0.0.1:{guarded.address[1]}"
    for url in ("/x", f"http://{here}/x", f"{origin.url}/x", f"{origin.url.upper()}/x", "/x#part"):
        body = json.dumps({"url": url}).encode()
        guarded.fill("/x")
        found = guarded.ask("POST", PURGE, body, host=here, authorization=f"Bearer {TOKEN}")
        assert (found.status, json.loads(found.body).get("keys")) == (200, 1), url
        guarded.fill("/x")
        assert guarded.purge(url=url)["keys"] == 1, url


def test_where_host_is_in_the_key_the_control_socket_wants_it_said(origin: Origin, start: Start) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    node = start(preserve_host=True)
    node.fill("/x", host="shop.example")
    found = node.control("POST", PURGE, b'{"url": "/x"}')
    assert (found.status, "Which host?" in json.loads(found.body)["detail"]) == (400, True)
    assert node.purge(prefix="http://shop.example/")["keys"] == 1
