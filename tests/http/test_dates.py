"""HTTP-date in its three forms (RFC 9110 §5.6.7)."""

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.http import dates

IN_2026 = datetime(2026, 7, 1, tzinfo=UTC).timestamp()
EXAMPLE = 784111777  # the RFC's own: Sun, 06 Nov 1994 08:49:37 GMT

VALID = [
    (b"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE, "IMF-fixdate"),
    (b"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE, "rfc850-date"),
    (b"Sun Nov  6 08:49:37 1994", EXAMPLE, "asctime-date"),
    (b"Sun Nov 16 08:49:37 1994", EXAMPLE + 10 * 86400, "asctime-date, day of two digits"),
    (b"sUN, 06 nOV 1994 08:49:37 gmt", EXAMPLE, "RFC 9111 §4.2: without regard to case"),
    (b"SUNDAY, 06-NOV-94 08:49:37 GMT", EXAMPLE, "case"),
    (b"sun nov  6 08:49:37 1994", EXAMPLE, "case"),
    (b"Thu, 01 Jan 1970 00:00:00 GMT", 0, "epoch"),
    (b"Fri, 31 Dec 1999 23:59:60 GMT", 946684800, "a leap second"),
    (b"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800, "leap year"),
    (b"Wednesday, 01-Jul-76 00:00:00 GMT", 3360787200 + 0, "50 years ahead: still the future"),
    (b"Friday, 01-Jul-77 00:00:00 GMT", 236563200, "more than 50 years ahead: the past"),
    (b"Saturday, 01-Jan-00 00:00:00 GMT", 946684800, "two digits"),
    (b"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799, "far future"),
]


@pytest.mark.parametrize(("value", "expected", "why"), VALID)
def test_valid(value: bytes, expected: int, why: str) -> None:
    assert dates.parse_date(value, IN_2026) == expected, why


INVALID = [
    b"", b"0", b"-1", b"now", b"1994-11-06T08:49:37Z", b"784111777",
    b"Sun, 06 Nov 1994 08:49:37 EST", b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37 +0000",
    b"Sun, 06 Nov 1994 08:49:37", b"Sun, 6 Nov 1994 08:49:37 GMT", b"Sun,  06 Nov 1994 08:49:37 GMT",
    b"Sun 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 94 08:49:37 GMT", b"Sunday, 06-Nov-1994 08:49:37 GMT",
    b"Sun, 06 Foo 1994 08:49:37 GMT", b"Sun, 31 Feb 1994 08:49:37 GMT", b"Sun, 00 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:00 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT",
    b"Sun, 06 Nov 1994 8:49:37 GMT", b"Sun, 06 Nov 1994 08.49.37 GMT", b"Sun, 06 Nov 0000 08:49:37 GMT",
    b" Sun, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 0\u0666 Nov 1994 08:49:37 GMT".encode(), b"Sun Nov 6 08:49:37 1994",
]  # fmt: skip


@pytest.mark.parametrize("value", INVALID)
def test_invalid(value: bytes) -> None:
    assert dates.parse_date(value, IN_2026) is None


def test_absent() -> None:
    assert dates.parse_date(None, IN_2026) is None


@given(st.integers(0, 253402300799))
def test_encode_writes_what_parse_reads(instant: int) -> None:
    written = dates.encode(instant)
    assert written == formatdate(instant, usegmt=True).encode()
    assert dates.parse_date(written, IN_2026) == instant
