"""Cache-Control is read leniently, and once (RFC 9111 §5.2, §1.2.2, §4.2.1)."""

import pytest

from springhouse.http.directives import SECONDS_MAX, delta_seconds, listed_names, parse_directives, seconds

PARSED = [
    # value, directives, anchor
    (None, {}, "§5.2"),
    (b"", {}, "§5.2"),
    (b"no-store", {b"no-store": None}, "§5.2"),
    (b"max-age=60", {b"max-age": b"60"}, "§5.2"),
    (b"MAX-AGE=60, No-Store", {b"max-age": b"60", b"no-store": None}, "§5.2: names without case"),
    (b'max-age="60"', {b"max-age": b"60"}, "§5.2: both token and quoted-string"),
    (b'private="Set-Cookie, X-A", max-age=5', {b"private": b"Set-Cookie, X-A", b"max-age": b"5"}, "§5.2.2.7"),
    (b'x="a\\"b, no-store", max-age=1', {b"x": b'a"b, no-store', b"max-age": b"1"}, "9110 §5.6.4: escapes"),
    (b'x="unterminated, no-store', {b"x": b'"unterminated, no-store'}, "9110 §5.6.4"),
    (b"max-age=1, max-age=2", {b"max-age": b"1"}, "§4.2.1: the first occurrence"),
    (b"no-store, no-store=1", {b"no-store": None}, "§4.2.1"),
    (b',, ,max-age=3,,\t"no-store",', {b"max-age": b"3"}, "9110 §5.6.1.2: empty members; a string is no directive"),
    (b"max-age =3", {}, "§5.2: no white space within a directive"),
    (b"max-age=", {b"max-age": b""}, "§5.2"),
    (b"community=UCI, no-cache", {b"community": b"UCI", b"no-cache": None}, "§5.2.3: unknown ones do no harm"),
    (b"a=b=c", {b"a": b"b=c"}, "§5.2"),
]


@pytest.mark.parametrize(("value", "expected", "anchor"), PARSED)
def test_parse(value: bytes | None, expected: dict[bytes, bytes | None], anchor: str) -> None:
    assert parse_directives(value) == expected, anchor


FIELD_NAMES = [
    # Cache-Control, what private must be read as; the more restrictive reading of two wins (§4.2.1)
    (b'private="A", private', None),
    (b'private, private="A"', None),
    (b'private="A", private="B"', b"A,B"),
    (b'private="A,B"', b"A,B"),
]


@pytest.mark.parametrize(("value", "argument"), FIELD_NAMES)
def test_repeated_private_is_read_restrictively(value: bytes, argument: bytes | None) -> None:
    assert parse_directives(value)[b"private"] == argument
    assert parse_directives(value.replace(b"private", b"no-cache"))[b"no-cache"] == argument


SECONDS = [
    # argument, seconds (§1.2.2); None: it is not delta-seconds
    (b"0", 0),
    (b"007", 7),
    (b"2147483647", 2147483647),
    (b"2147483648", SECONDS_MAX),
    (b"2147483649", SECONDS_MAX),
    (b"9" * 11, SECONDS_MAX),
    (b"9" * 5000, SECONDS_MAX),
    (b"", None),
    (None, None),
    (b"-1", None),
    (b"+1", None),
    (b"1.5", None),
    (b"1s", None),
    (b" 1", None),
    (b"0x10", None),
    (b"1_000", None),
    ("\u0661".encode(), None),
]


@pytest.mark.parametrize(("argument", "expected"), SECONDS)
def test_delta_seconds(argument: bytes | None, expected: int | None) -> None:
    assert delta_seconds(argument) == expected


def test_seconds_that_make_no_sense_are_zero_and_absent_ones_none() -> None:
    directives = parse_directives(b"max-age=nonsense, s-maxage, min-fresh=-1, max-stale=9")
    assert [seconds(directives, name) for name in (b"max-age", b"s-maxage", b"min-fresh", b"max-stale", b"x")] == [
        0, 0, 0, 9, None,
    ]  # fmt: skip


def test_names() -> None:
    assert listed_names(b"Set-Cookie, x-a ,, b c, Y") == (b"set-cookie", b"x-a", b"y")
    assert listed_names(None) == listed_names(b"") == ()
