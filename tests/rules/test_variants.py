"""Choosing among the variants of a key by Vary (RFC 9111 §4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heads import date, get, ok, stored, table

from springhouse.http.messages import Request
from springhouse.rules import variants
from springhouse.rules.entry import Entry

F = "Cache-Control: max-age=60"


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], ()),
        (["Vary: Accept"], (b"accept",)),
        (["Vary: accept-ENCODING, Accept , accept"], (b"accept", b"accept-encoding")),
        (["Vary: B", "vary: A"], (b"a", b"b")),
        (["Vary:"], ()),
        (["Vary: A, *"], (b"*",)),
        (["Vary: A", "Vary: *"], (b"*",)),
        (["Vary: , A,, B ,"], (b"a", b"b")),
        (['Vary: "A"'], (b"*",)),
        (["Vary: A B"], (b"*",)),
        (["Vary: A, B\tC"], (b"*",)),
        (["Vary: A; q=1"], (b"*",)),
        (["Vary: A:"], (b"*",)),
        (["Vary: (A)"], (b"*",)),
        (["Vary: A/B"], (b"*",)),
        (['Vary: A, "'], (b"*",)),
        (["Vary: é"], (b"*",)),
        (["Vary: A", 'Vary: "B, C"'], (b"*",)),
    ],
)
def test_names(lines: list[str], names: tuple[bytes, ...]) -> None:
    assert variants.vary_names(ok(*lines)) == names


MATCHED = [
    # about, Vary, the stored request's fields, the presented request's fields, do they match?
    ("the same", "A", ["A: 1"], ["A: 1"], True),
    ("another value", "A", ["A: 1"], ["A: 2"], False),
    ("other fields do not count", "A", ["A: 1", "B: 1"], ["A: 1", "C: 2"], True),
    ("absent in both", "A", [], ["B: 1"], True),
    ("absent in one", "A", ["A: 1"], [], False),
    ("absent in the other", "A", [], ["A: 1"], False),
    ("empty is not absent", "A", ["A:"], [], False),
    ("all must match", "A, B", ["A: 1", "B: 1"], ["A: 1", "B: 2"], False),
    ("names have no case", "foo", ["Foo: 1"], ["FOO: 1"], True),
    ("values have case", "Foo", ["Foo: a"], ["Foo: A"], False),
    ("white space around commas", "Foo", ["Foo: 1,2"], ["Foo: 1 ,\t 2"], True),
    ("lines combine", "Foo", ["Foo: 1, 2"], ["Foo: 1", "Foo: 2"], True),
    ("order counts", "Foo", ["Foo: 1, 2"], ["Foo: 2, 1"], False),
    ("white space in a quoted string counts", "Foo", ['Foo: "1,2"'], ['Foo: "1, 2"'], False),
    ("white space within a member counts", "User-Agent", ["User-Agent: a b"], ["User-Agent: ab"], False),
    ("codings have no case", "Accept-Encoding", ["Accept-Encoding: gzip, BR"], ["Accept-Encoding: GZIP, br"], True),
    ("nor order", "Accept-Encoding", ["Accept-Encoding: gzip, br"], ["Accept-Encoding: br,gzip"], True),
    ("but weights", "Accept-Encoding", ["Accept-Encoding: gzip;q=1"], ["Accept-Encoding: gzip;q=0"], False),
    ("however spaced", "Accept-Encoding", ["Accept-Encoding: gzip;q=0.5"], ["Accept-Encoding: gzip ; q=0.5"], True),
    ("languages have no case", "Accept-Language", ["Accept-Language: en, de"], ["Accept-Language: EN,De"], True),
    ("but space within a member", "Accept-Encoding", ["Accept-Encoding: gz ip"], ["Accept-Encoding: gzip"], False),
    (
        "nor where quotes are, which do not belong",
        "Accept-Language",
        ['Accept-Language: "a,b"'],
        ['Accept-Language: b","a'],
        False,
    ),
    ("empty members stay", "Accept-Encoding", ["Accept-Encoding: gzip,,br"], ["Accept-Encoding: gzip,br"], False),
    ("wherever they are", "Accept", ["Accept: a/b"], ["Accept: a/b,"], False),
    ("however spaced, too", "Accept", ["Accept: a/b, ,c/d"], ["Accept: a/b,,c/d"], True),
    ("even if all are", "Accept", ["Accept:"], ["Accept: ,"], False),
    ("lists are known by name", "Accept", ["Accept: a/b;x=1, c/d"], ["Accept: a/b;x=1,c/d"], True),
    ("and by lines", "Prefer", ["Prefer: a=1", "Prefer: b"], ["Prefer: a=1,b"], True),
    ("cookies are no list", "Cookie", ["Cookie: a=1, b=2"], ["Cookie: a=1,b=2"], False),
    ("not even of tokens", "Cookie", ["Cookie: a, b"], ["Cookie: a,b"], False),
    ("nor are their lines", "Cookie", ["Cookie: a=1", "Cookie: b=2"], ["Cookie: a=1, b=2"], False),
    ("in their order", "Cookie", ["Cookie: a=1", "Cookie: b=2"], ["Cookie: b=2", "Cookie: a=1"], False),
    ("which are as many", "Cookie", ["Cookie: a=1", "Cookie: "], ["Cookie: a=1"], False),
    ("as they seem", "Cookie", ["Cookie: a", "Cookie: b"], ["Cookie: 1:a,1:b,"], False),
    ("the same lines", "Cookie", ["Cookie: a=1", "Cookie: b=2"], ["COOKIE:  a=1 ", "cookie: b=2"], True),
    ("credentials are no list", "Authorization", ["Authorization: D a=1, b=2"], ["Authorization: D a=1,b=2"], False),
    ("products are no list", "User-Agent", ["User-Agent: a (b, c)"], ["User-Agent: a (b,c)"], False),
    ("an address is no list", "Referer", ["Referer: http://a/?x,%20y"], ["Referer: http://a/?x, %20y"], False),
    ("a field of unknown syntax is a list of tokens", "X-List", ["X-List: a, b"], ["X-List: a,b"], True),
    ("or none", "X-List", ["X-List: a=1, b"], ["X-List: a=1,b"], False),
    ("nor with empty members", "X-List", ["X-List: a, ,b"], ["X-List: a,,b"], False),
    ("nor are its lines then", "X-List", ["X-List: a b", "X-List: c"], ["X-List: a b, c"], False),
    ("media types are compared as they are", "Accept", ["Accept: a/b"], ["Accept: a/B"], False),
    ("credentials", "Authorization", ["Authorization: a"], ["Authorization: b"], False),
    ("a field Connection names is not forwarded", "Foo", ["Foo: 1", "Connection: foo"], ["Foo: 1"], False),
    ("and as good as absent", "Foo", ["Foo: 1", "Connection: close, FOO"], [], True),
    ("connection-specific fields are not forwarded", "TE", ["TE: trailers"], [], True),
    ("fields that override the target are not forwarded", "X-Original-Url", ["X-Original-Url: /a"], [], True),
    ("what a client says of itself counts", "X-Forwarded-For", ["X-Forwarded-For: 1.1.1.1"], [], False),
]


def entry_for(vary: str, *lines: str) -> Entry:
    """Return a public entry with this Vary, fetched by a request with these fields."""
    return stored("Cache-Control: public, max-age=60", f"Vary: {vary}", request=get(*lines))


@table("about vary before now match", MATCHED)
def test_match(about: str, vary: str, before: list[str], now: list[str], match: bool) -> None:
    entry = entry_for(vary, *before)
    assert variants.matching(get(*now), [entry]) == ([entry] if match else [])


CLIENTS = [
    # about, Vary, match: 10.0.0.1 asked http://a/ before; now 10.0.0.2 asks https://a/, http://b/
    ("address", "X-Forwarded-For", False, True),
    ("address and scheme", "Forwarded", False, True),
    ("scheme", "X-Forwarded-Proto", False, True),
    ("host", "Host", True, False),
    ("forwarded host", "X-Forwarded-Host", True, False),
    ("what is forwarded for trusted proxies only, and was not sent", "X-Real-Ip", True, True),
]


@table("about vary same_for_other_client same_for_other_host", CLIENTS)
def test_what_the_origin_is_told_of_the_client_selects(
    about: str, vary: str, same_for_other_client: bool, same_for_other_host: bool
) -> None:
    def request(peer: str, scheme: bytes, authority: bytes) -> Request:
        request = Request(b"GET", b"/", [], authority=authority)
        request.peer, request.scheme = peer, scheme
        return request

    entry = stored(F, f"Vary: {vary}", request=request("10.0.0.1", b"http", b"a"))
    assert variants.matching(request("10.0.0.1", b"http", b"a"), [entry]) == [entry]
    assert bool(variants.matching(request("10.0.0.2", b"https", b"a"), [entry])) is same_for_other_client
    assert bool(variants.matching(request("10.0.0.1", b"http", b"b"), [entry])) is same_for_other_host
    assert variants.is_beyond_fields(vary.lower().encode())


@pytest.mark.parametrize("name", ["X-Real-Ip", "X-Forwarded-Port", "True-Client-IP"])
def test_what_is_forwarded_for_trusted_proxies_only_selects_with_the_peer(name: str) -> None:
    """Sent by anybody else it does not reach the origin, so that the answer is not for a trusted proxy's client."""

    def request(peer: str) -> Request:
        request = Request(b"GET", b"/", [(name.encode(), b"7")])
        request.peer = peer
        return request

    entry = stored(F, f"Vary: {name}", request=request("10.0.0.1"))
    assert variants.matching(request("10.0.0.1"), [entry]) == [entry]
    assert variants.matching(request("10.0.0.2"), [entry]) == []


def test_the_most_recent_match_comes_first() -> None:
    """§4: by Date, whatever the order they are stored in."""
    older = stored(F, "Vary: A", f"Date: {date(-20)}")
    newest = stored(F, "Vary: B", f"Date: {date(-5)}")
    middle = stored(F, "Vary: C", f"Date: {date(-10)}")
    other = stored(F, "Vary: A", f"Date: {date()}", request=get("A: 1"))
    assert variants.matching(get(), [older, other, newest, middle]) == [newest, middle, older]


def test_one_with_vary_comes_before_one_without() -> None:
    """§4.1: the default response is not chosen where a more specific one is stored."""
    default = stored(F, f"Date: {date()}")
    specific = stored(F, "Vary: A", f"Date: {date(-20)}", request=get("A: 1"))
    assert variants.matching(get("A: 1"), [default, specific]) == [specific, default]
    assert variants.matching(get(), [default, specific]) == [default]


def test_an_entry_supersedes_those_chosen_by_the_same_values() -> None:
    one = stored(F, "Vary: A", request=get("A: 1"))
    two = stored(F, "Vary: A", request=get("A: 2"))
    by_other_fields = stored(F, "Vary: B", request=get("A: 1"))
    again = stored(F, "Vary: a", request=get("A: 1"))
    kept = variants.with_entry((two, one, by_other_fields), again, 64)
    assert kept == (again, two, by_other_fields)


def test_variants_are_capped() -> None:
    kept: tuple[Entry, ...] = ()
    for i in range(10):
        kept = variants.with_entry(kept, stored(F, "Vary: A", request=get(f"A: {i}")), 4)
    assert [entry.selector for entry in kept] == [(b"9",), (b"8",), (b"7",), (b"6",)]


VALUES = st.lists(st.sampled_from(["1", "2", "1,2", '"1,2"', "", " 1", "a", "A"]), max_size=3)


@given(VALUES, VALUES)
def test_matching_is_an_equivalence(one: list[str], other: list[str]) -> None:
    """What matches one way matches the other way, too, and everything matches itself."""
    first, second = (get(*(f"Foo: {value}" for value in values)) for values in (one, other))
    there = variants.selector(first, [b"foo"]) == variants.selector(second, [b"foo"])
    back = variants.selector(second, [b"foo"]) == variants.selector(first, [b"foo"])
    assert there is back
    assert variants.selector(first, [b"foo"]) == variants.selector(get(*fields_of(first)), [b"foo"])
    if there:
        assert bool(one) is bool(other), "absent matches absent only"


def fields_of(request: Request) -> list[str]:
    return [f"{name.decode().upper()}:\t{value.decode()}" for name, value in request.fields]
