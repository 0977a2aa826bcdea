"""Heads are admitted or refused by their parts alone, whoever parsed them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.reading import LIMITS, Requests

from springhouse.http.fields import UPGRADE
from springhouse.http.messages import Request
from springhouse.wire.admission import Head, Refusal, admit, host_apart, is_plain_line

PLAIN = Head(
    method=b"GET", target=b"/a", version="1.1", fields=[(b"Accept", b"*/*")], bits=0, host=b"A.test", peer="192.0.2.1",
    scheme=b"http",
)  # fmt: skip


def ours(authority: bytes) -> bool:
    return authority == b"ours.test"


def head(*fields: tuple[bytes, bytes], **parts: object) -> Head:
    """Return a plain head but for these fields and parts."""
    given, bits, host = host_apart(fields)
    return replace(PLAIN, fields=given, bits=bits, **{"host": host or PLAIN.host, **parts})


def admitted(*fields: tuple[bytes, bytes], **parts: object) -> Request:
    request = admit(head(*fields, **parts), LIMITS, ours)
    assert isinstance(request, Request)
    return request


def test_a_plain_head_is_taken_as_it_is() -> None:
    request = admitted()
    assert (request.method, request.target, request.authority, request.minor_version) == (b"GET", b"/a", b"a.test", 1)
    assert not request.has_content


REFUSED = [
    (head(version="2.0"), 505),
    (head(version="3"), 400),
    (head(version="1.x"), 400),
    (head(version="1."), 400),
    (replace(PLAIN, host=None), 400),
    (head(host=b"user@a.test"), 400),
    (head((b"Host", b"a"), (b"Host", b"a")), 400),
    (head(target=b"/" + b"a" * 200), 414),
    (head(*[(b"A", b"b")] * 21), 431),
    (head((b"A", b"b" * 1000)), 431),
    (head((b"Content-Length", b"101")), 413),
    (head((b"Content-Length", b"1"), (b"Content-Length", b"1")), 400),
    (head((b"Transfer-Encoding", b"chunked"), version="1.0"), 400),
    (head((b"Transfer-Encoding", b"gzip, chunked")), 501),
    (head((b"Transfer-Encoding", b"gzip")), 400),
    (head((b"Connection", b"close, content_length")), 400),
    (head((b"Expect", b"a miracle")), 417),
    (head(method=b"TRACE"), 405),
    (head(method=b"CONNECT", target=b"a.test:443"), 501),
    (head(target=b"/a#b"), 400),
    (head(target=b"*"), 400),
    (head(target=b"http://other.test/"), 421),
]


@pytest.mark.parametrize(("refused", "status"), REFUSED)
def test_what_is_not_taken_is_answered_with_a_status(refused: Head, status: int) -> None:
    refusal = admit(refused, LIMITS, ours)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status


@pytest.mark.parametrize(
    ("target", "method", "expected"),
    [
        (b"http://OURS.test", b"GET", (b"ours.test", b"/")),
        (b"http://ours.test?q", b"GET", (b"ours.test", b"/?q")),
        (b"http://a.test:80/b", b"GET", (b"a.test", b"/b")),
        (b"http://ours.test", b"OPTIONS", (b"ours.test", b"*")),
        (b"*", b"OPTIONS", (b"a.test", b"*")),
    ],
)
def test_every_form_of_a_target_becomes_origin_form(
    target: bytes, method: bytes, expected: tuple[bytes, bytes]
) -> None:
    request = admitted(target=target, method=method)
    assert (request.authority, request.target) == expected


@pytest.mark.parametrize(
    ("fields", "may_switch", "is_kept"),
    [
        ([(b"Upgrade", b"websocket")], True, True),
        ([(b"Upgrade", b"websocket")], False, False),
        ([(b"Upgrade", b"H2C")], True, False),
        ([(b"Upgrade", b"websocket"), (b"Content-Length", b"1")], True, False),
    ],
)
def test_a_wish_to_upgrade_is_kept_only_where_it_can_be_tunnelled(
    fields: list[tuple[bytes, bytes]], may_switch: bool, is_kept: bool
) -> None:
    request = admitted(*fields, may_switch=may_switch)
    assert bool(request.bits & UPGRADE) is is_kept
    assert (fields[0] in request.fields) is is_kept


NAMES = st.sampled_from([b"Host", b"host", b"Connection", b"Content-Length", b"Accept", b"X_Forwarded_For", b"Range"])
VALUES = st.sampled_from([b"1", b"close", b"keep-alive, x", b"a.test"])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_fields_of_another_server_are_told_apart_as_those_that_llhttp_reads(fields: list[tuple[bytes, bytes]]) -> None:
    reader = Requests()
    reader.on_message_begin()
    for name, value in fields:
        reader.on_header(name, value)
    read, bits, host = host_apart(fields)
    assert (read, bits, host or b"") == (reader.fields, reader.bits, reader.host)


@given(
    st.sampled_from([b"GET", b"HEAD", b"TRACE", b"CONNECT"]),
    st.sampled_from([b"/", b"/a?b", b"/a#b", b"*", b"http://ours.test/", b"/" + b"a" * 200]),
    st.sampled_from([b"A.test", b"a.test:80", b"", b"a b", b"u@a"]),
)
def test_the_short_way_takes_nothing_that_admission_would_not(method: bytes, target: bytes, host: bytes) -> None:
    if is_plain_line(method, target, host, LIMITS):
        request = admitted(method=method, target=target, host=host)
        assert (request.target, request.authority) == (target, host.lower())
