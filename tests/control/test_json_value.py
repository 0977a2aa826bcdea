"""The JSON value that stands for content: whatever it is, and however large."""

from __future__ import annotations

import base64
import encodings
import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.control.json_value import SLICE, inflated, value_of

if TYPE_CHECKING:
    from collections.abc import Generator

MIB = 1 << 20


def value(content: bytes, media: str) -> Any:
    """Return the value, which must be JSON."""
    return json.loads(b"".join(value_of(content, media)))


def as_bytes(content: bytes, media: str) -> dict[str, str]:
    """Return what stands for content that is no text."""
    return {"content_type": media, "base64": base64.b64encode(content).decode()}


DOCUMENT = json.dumps([{"a": i, "b": "é☃", "c": [1.5, None, True]} for i in range(12_000)], ensure_ascii=False)
LARGE = {
    "JSON": (DOCUMENT.encode(), "application/json", json.loads(DOCUMENT)),
    "JSON of no type": (DOCUMENT.encode(), "", json.loads(DOCUMENT)),
    "one string": (b'"%b"' % (b"x" * SLICE * 2), "application/json", "x" * SLICE * 2),
    "JSON that ends early": (DOCUMENT.encode()[:-1], "application/json", DOCUMENT[:-1]),
    "JSON and more": (DOCUMENT.encode() + b"x", "application/json", DOCUMENT + "x"),
    "JSON in no UTF-8": (DOCUMENT.encode("utf-16"), "application/json", None),
    "text": (('é☃"\\\n\0' * SLICE).encode(), "text/plain", 'é☃"\\\n\0' * SLICE),
    "text of another charset": (("é☃" * SLICE).encode("utf-16"), "text/plain; charset=utf-16", "é☃" * SLICE),
    "text that breaks off": (("☃" * SLICE).encode()[:-1], "text/plain", None),
    "text of no charset": (b"x" * SLICE * 2, "text/plain; charset=zlib", None),
    "of a charset that would take for ever": (b"x-" * SLICE * 2, "text/plain; charset=punycode", None),
    "bytes": (bytes(range(256)) * (SLICE // 64) + b"x", "image/png", None),
}


@pytest.mark.parametrize("what", LARGE)
def test_large_content(what: str) -> None:
    content, media, expected = LARGE[what]
    assert len(content) > SLICE
    assert value(content, media) == (as_bytes(content, media) if expected is None else expected)


@given(
    st.binary(max_size=40) | st.text(max_size=20).map(str.encode),
    st.sampled_from(["application/json", "text/x", "a/b"]),
)
def test_content_of_any_kind_becomes_json(content: bytes, media: str) -> None:
    got = value(content, media)
    if not content:
        assert got is None
    elif isinstance(got, dict) and got.keys() == {"content_type", "base64"} and got["content_type"] == media:
        assert base64.b64decode(got["base64"]) == content
    elif media == "text/x":
        assert got.encode() == content
    else:
        assert got == json.loads(content) if got != content.decode() else True


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_content_coding_is_undone_a_slice_at_a_time(pack: Any) -> None:
    plain = bytes(range(256)) * 8000
    done: list[bytes | bytearray] = []

    def undo() -> Generator[bytes, None, None]:
        done.append((yield from inflated(pack(plain), b"gzip", 4 * MIB)))

    slices = list(undo())
    assert done == [plain]
    assert len(slices) > 5
    assert not any(slices)


@pytest.mark.parametrize(
    ("content", "coding", "why"),
    [
        (gzip.compress(bytes(5 * MIB)), b"gzip", "too large"),
        (gzip.compress(bytes(MIB))[:-1], b"gzip", "not whole"),
        (b"nonsense", b"gzip", "not valid gzip"),
        (b"??", b"br", "without being asked"),
    ],
)
def test_a_content_coding_that_cannot_be_undone(content: bytes, coding: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        list(inflated(content, coding, 4 * MIB))


def test_charsets_that_nobody_knows_are_not_remembered() -> None:
    """Python keeps each name of a codec that it has looked for in vain, for as long as the process lives."""
    assert value(b"\xe9", "text/plain; charset=windows-1252") == value(b"\xe9", "text/plain; charset=Latin1") == "é"
    before = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(100):
        media = f"text/plain; charset=x-{number}-{1000 * 'y'}"
        assert value(b"x", media) == as_bytes(b"x", media)
    assert len(encodings._cache) == before  # type: ignore[attr-defined]
