"""Which URLs of a client lead somewhere, and which addresses count as public."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from springhouse.upstream.guard import ForbiddenAddress, Rejected, Target, find_target, is_public, public_addresses
from springhouse.upstream.routing import Origin

OWN = Origin.parse("http://origin.test")
BASED = Origin.parse("https://origin.test/api")


@pytest.mark.parametrize(
    ("url", "own", "target"),
    [
        ("products", OWN, b"/products"),
        ("/products", OWN, b"/products"),
        ("products?limit=2&skip=1", OWN, b"/products?limit=2&skip=1"),
        ("?q", OWN, b"/?q"),
        ("../../x", OWN, b"/x"),
        ("a b", OWN, b"/a%20b"),
        ("caf\u00e9?q=\u00fc", OWN, b"/caf%C3%A9?q=%C3%BC"),
        ("a%2fb", OWN, b"/a%2fb"),
        ("/a//b;c", OWN, b"/a//b;c"),
        ("x#fragment", OWN, b"/x"),
        ("products", BASED, b"/products"),
        ("http://origin.test", OWN, b"/"),
        ("HTTP://Origin.Test:80/x", OWN, b"/x"),
        ("//origin.test/x", OWN, b"/x"),
        ("https://origin.test/api/x", BASED, b"/x"),
        ("https://origin.test/api", BASED, b"/"),
        ("https://origin.test/api?q", BASED, b"/?q"),
    ],
)
def test_the_origins_own(url: str, own: Origin, target: bytes) -> None:
    assert find_target(url, own, ()) == Target(own, target, is_own=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://origin.test/", "http://origin.test:81/", "http://origin.test.evil/", "http://evil/origin.test",
        "//evil/", "http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://0x7f000001/", "http://127.1/",
        "http://0/", "http://\u2460\u2461\u2466.0.0.1/", "file:///etc/passwd", "ftp://origin.test/", "data:,x",
    ],
)  # fmt: skip
def test_forbidden_with_an_origin(url: str) -> None:
    found = find_target(url, OWN, ())
    assert isinstance(found, Rejected)
    assert found.status == 403


def test_outside_of_the_base() -> None:
    for url in (
        "https://origin.test/", "https://origin.test/apix", "https://origin.test/api/../secret", "%2e%2e/secret",
        "/%2e%2e/secret", "a/..%2f..%2fsecret", "..%5csecret", "%252e%252e/secret", "..;/secret",
        "https://origin.test/api/%2e%2e/secret", "//origin.test/api/..%2fsecret",
    ):  # fmt: skip
        found = find_target(url, BASED, ())
        assert isinstance(found, Rejected), url
        assert (found.status, found.code) == (403, "forbidden_target")
    for url, target in (("a/../b", b"/b"), ("a/..%2fb?../..", b"/a/..%2fb?../.."), ("../x", b"/x")):
        assert find_target(url, BASED, ()) == Target(BASED, target, is_own=True)


@pytest.mark.parametrize(
    "url",
    ["\\@evil", "/\\evil", "http:\\\\evil", "http://a\\@b/", "http://origin.test@evil/", "http://a%2eb/", " x", "x\t",
     "http:///x", "http:x", "http://a b/", "http://a\uff0fb/", "http://[::1/", "http://a:b/", "http://a:70000/"],
)  # fmt: skip
def test_malformed(url: str) -> None:
    for own in (OWN, None):
        found = find_target(url, own, ())
        assert isinstance(found, Rejected)
        assert found.status == 400


def test_without_an_origin() -> None:
    found = find_target("http://example.test:8080/x?q", None, ())
    assert isinstance(found, Target)
    assert (str(found.origin), found.target) == ("http://example.test:8080", b"/x?q")
    assert not found.is_own
    assert not found.is_named
    for url in ("products", "//evil", "?q"):
        assert isinstance(find_target(url, None, ()), Rejected)


def test_named_hosts() -> None:
    found = find_target("http://friend.test/x", OWN, ("friend.test",))
    assert isinstance(found, Target)
    assert found.is_named
    assert isinstance(find_target("http://friend.test:81/x", OWN, ("friend.test",)), Rejected)
    assert isinstance(find_target("http://other.test/x", None, ("friend.test",)), Rejected)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.0.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
        "2001::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_only_addresses_that_were_checked_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def resolve(self: object, host: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in ("127.0.0.1", "8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    assert asyncio.run(public_addresses("mixed.test", 80)) == ["8.8.8.8"]
    assert asked == ["mixed.test"]


def test_a_name_of_this_machine() -> None:
    with pytest.raises(ForbiddenAddress):
        asyncio.run(public_addresses("localhost", 80))
