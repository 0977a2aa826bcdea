"""URLs of Redis: what they mean, what is refused, and that no password is ever said."""

from __future__ import annotations

import pytest

from springhouse.stores.redis.address import Address, BadAddress

GOOD = [
    ("redis://localhost", Address(hosts=(("localhost", 6379),))),
    ("redis://h:1/2", Address(hosts=(("h", 1),), database=2)),
    ("redis://h?db=3", Address(hosts=(("h", 6379),), database=3)),
    ("redis://[::1]:7", Address(hosts=(("::1", 7),))),
    ("redis://:p%40ss@h", Address(hosts=(("h", 6379),), password="p@ss")),
    ("redis://me:p:w@h", Address(hosts=(("h", 6379),), username="me", password="p:w")),
    ("unix:///run/r.sock?db=1", Address(path="/run/r.sock", database=1)),
    ("unix://:pw@/run/r.sock", Address(path="/run/r.sock", password="pw")),
    ("redis+cluster://a:1,b:2,[::2]:3", Address(hosts=(("a", 1), ("b", 2), ("::2", 3)), is_cluster=True)),
    (
        "rediss://h?ca=/ca.pem&cert=/c&key=/k",
        Address(
            hosts=(("h", 6379),),
            is_encrypted=True,
            files=(("ssl_ca_certs", "/ca.pem"), ("ssl_certfile", "/c"), ("ssl_keyfile", "/k")),
        ),
    ),
    ("rediss+cluster://h", Address(hosts=(("h", 6379),), is_encrypted=True, is_cluster=True)),
]


@pytest.mark.parametrize(("url", "address"), GOOD)
def test_a_url_is_an_address(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "begins with one of"),
        ("redis://", "needs a host"),
        ("redis://a,b", "more than one host"),
        ("redis://h:x", "needs a host"),
        ("redis://h:99999", "needs a host"),
        ("redis://h/x", "no number of a Redis database"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis://h?ca=/x", "no option 'ca'"),
        ("redis://h?nonsense", "cannot be read"),
        ("unix://", "needs the path"),
    ],
)
def test_what_is_no_address_is_refused_in_words(url: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        Address.parse(url)


@pytest.mark.parametrize(
    "url", ["redis://me:secret@h", "redis+cluster://me:secret@a:1,b:2", "unix://me:secret@/run/r.sock"]
)
def test_no_password_is_said(url: str) -> None:
    address = Address.parse(url)
    assert "secret" not in str(address) + repr(address)


@pytest.mark.parametrize("url", ["redis://me:secret@h:x", "redis://me:secret@h?x=1", "redix://me:secret@h"])
def test_no_password_is_said_of_what_is_no_address(url: str) -> None:
    with pytest.raises(BadAddress) as refused:
        Address.parse(url)
    assert "secret" not in str(refused.value)
