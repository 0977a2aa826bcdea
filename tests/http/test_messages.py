"""Heads of requests and responses (RFC 9110 §6, RFC 9112 §6.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heads import get, ok

from springhouse.http import fields as f
from springhouse.http import headers
from springhouse.http.messages import IDEMPOTENT_METHODS, SAFE_METHODS, Response, may_have_content


def test_values_are_looked_up_by_bit() -> None:
    request = get("eTAG: 1", "ETag: 2", "X: 3")
    assert request.bits == f.ETAG
    assert request.value(b"etag", f.ETAG) == b"1"
    assert request.value(b"x", f.AGE) is None, "not searched for where the bit says it is not there"
    response = ok("Age: 3")
    assert response.value(b"age", f.AGE) == b"3"
    assert response.value(b"etag", f.ETAG) is None


@pytest.mark.parametrize(
    ("status", "given", "phrase"), [(200, None, b"OK"), (200, b"", b""), (299, None, b""), (404, b"Gone", b"Gone")]
)
def test_reason_phrases(status: int, given: bytes | None, phrase: bytes) -> None:
    assert Response(status, [], reason=given).reason == phrase


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        (b"GET", 200, True), (b"GET", 404, True), (b"GET", 205, True), (b"HEAD", 200, False), (b"GET", 204, False),
        (b"GET", 304, False), (b"GET", 100, False), (b"GET", 101, False), (b"POST", 304, False), (b"POST", 201, True),
    ],
)  # fmt: skip
def test_may_have_content(method: bytes, status: int, expected: bool) -> None:
    assert may_have_content(method, status) is expected


def test_methods() -> None:
    assert {b"GET", b"HEAD", b"OPTIONS", b"TRACE"} < SAFE_METHODS < IDEMPOTENT_METHODS  # RFC 9110 §9.2.1, §9.2.2
    assert SAFE_METHODS | {b"PUT", b"DELETE"} == IDEMPOTENT_METHODS


ALONE = {name: bit for name, bit in f.BITS.items() if list(f.BITS.values()).count(bit) == 1}
"""Fields with a bit to themselves: those that may be asked for by name and bit."""
lines = st.lists(
    st.tuples(
        st.sampled_from([b"ETag", b"etag", b"Date", b"dATE", b"Age", b"Cache-Control", b"cache-control", b"TE", b"X"]),
        st.sampled_from([b"a", b"b, c", b" d\t", b""]),
    ),
    max_size=6,
)


@given(lines)
def test_values_are_those_of_the_fields(received: list[tuple[bytes, bytes]]) -> None:
    response = Response(200, received)
    for name, bit in ALONE.items():
        assert response.value(name, bit) == headers.first(received, name)
        assert response.combined(name, bit) == headers.combined_value(received, name)


@given(lines, st.sampled_from([b"close", b"Keep-Alive", b"x, close", b"keep-alive, close"]), st.integers(0, 6),
       st.integers(0, 2))  # fmt: skip
def test_bits_are_those_of_the_fields(
    received: list[tuple[bytes, bytes]], connection: bytes, at: int, repeats: int
) -> None:
    received.insert(at, (b"Connection", connection))
    received += [(b"connection", b"close")] * repeats
    expected = f.NOMINATES if b"," in connection else 0
    for name, _ in received:
        expected |= f.bit_of(name)
    assert Response(200, received).bits == headers.bits_of(received) == expected


@given(lines, st.sampled_from([[], [b"close"], [b"x, close"]]), st.sampled_from([0, f.AGE, f.DATE | f.ETAG]))
def test_fields_to_pass_on(received: list[tuple[bytes, bytes]], connections: list[bytes], also: int) -> None:
    received += [(b"Connection", value) for value in connections] + [(b"X-Cache", b"HIT"), (b"Content-Length", b"1")]
    response = Response(200, received)
    drop = also | f.X_CACHE | f.CONTENT_LENGTH
    expected = headers.end_to_end(received, headers.bits_of(received), drop)
    passed = response.end_to_end(also)
    assert passed == expected
    passed.clear()
    assert response.end_to_end(also) == expected, "each is given a list of its own"
