"""Law 3: a stored entry read back is the entry stored. And nothing else is ever read as one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import msgpack
from tests.stores.backends import make_entry

from springhouse.http.content import MemoryContent
from springhouse.rules.entry import Entry
from springhouse.stores import codec as codecs
from springhouse.stores.codec import Codec, CodecError, Record1
from springhouse.stores.digests import CHUNK, Digester, chunks, count, digests_of, holds

tokens = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=12).map(str.encode)
values = st.lists(st.sampled_from([9, *range(0x20, 0x7F), *range(0x80, 0x100)]), max_size=30).map(bytes)
instants = st.floats(0, 2.0**40)
ends = st.floats(0, allow_nan=False)
counts = st.integers(0, 2**53)
labels = st.lists(values.filter(bool), max_size=3).map(tuple)
contents = st.binary(max_size=200)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    key = b"http://" + draw(tokens) + b"/" + draw(values)
    fields = draw(st.lists(st.tuples(tokens, values), max_size=6))
    entry = Entry(key, draw(st.integers(200, 999)), draw(values), fields)
    choice = draw(st.lists(st.tuples(tokens, st.none() | values), max_size=3))
    entry.vary, entry.selector = tuple(name for name, _ in choice), tuple(value for _, value in choice)
    for name in ("requested_at", "received_at", "born_at"):
        setattr(entry, name, draw(instants))
    for name in ("fresh_until", "stale_while_revalidate_until", "stale_if_error_until"):
        setattr(entry, name, draw(ends))
    for name in ("max_stale_allowed", "no_cache", "shareable", "authorized", "given_ttl", "invalidated", "is_redacted"):
        setattr(entry, name, draw(st.booleans()))
    entry.date, entry.lifetime = draw(counts), draw(counts)
    entry.tags, entry.groups = draw(labels), draw(labels)
    entry.content = MemoryContent(draw(contents))
    entry.length = len(entry.content)
    return entry


def everything(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__ if name != "content"}


def encoded(entry: Entry, codec: Codec) -> bytes:
    return codec.encode(entry, digests_of(entry.content.data))


@pytest.mark.parametrize("version", codecs.VERSIONS)
@pytest.mark.parametrize("secret", [b"", b"a secret"])
@given(entry=entries())
def test_what_is_read_back_is_what_was_stored(version: int, secret: bytes, entry: Entry) -> None:
    codec = Codec(secret)
    blob = encoded(entry, codec)
    assert blob[0] & 0x7F == version  # a new version needs a way to write the old ones here
    found, proof = codec.decode(blob, entry.key)
    assert everything(found) == everything(entry)
    assert proof == digests_of(entry.content.data)
    assert encoded(entry, codec) == blob


def test_every_attribute_of_an_entry_is_stored() -> None:
    assert set(Record1.__struct_fields__) - {"digests", "fields"} == set(Entry.__slots__) - {"content", "lines"}


def read(blob: bytes, key: bytes, secret: bytes = b"") -> Entry | None:
    """Decode; None for CodecError, and whatever else is raised is the test's failure."""
    try:
        return Codec(secret).decode(blob, key)[0]
    except CodecError:
        return None


@given(blob=st.binary(max_size=300), version=st.integers(0, 255))
@example(blob=b"", version=0)
@example(blob=b"\x91" * 100_000, version=1)  # nested deeper than a stack
def test_arbitrary_bytes_are_no_record(blob: bytes, version: int) -> None:
    key = b"http://a.test/"
    assert read(blob, key) is None
    assert read(bytes((version,)) + blob, key) is None
    assert read(bytes((version,)) + blob, key, b"secret") is None


@given(entry=entries(), data=st.data())
def test_a_mutilated_record_is_an_error_or_a_legal_entry(entry: Entry, data: st.DataObject) -> None:
    blob = bytearray(encoded(entry, Codec()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(blob) - 1))
        end = data.draw(st.integers(at, min(len(blob), at + 8)))
        blob[at:end] = data.draw(st.binary(max_size=8))
        if not blob:
            break
    found = read(bytes(blob), entry.key)
    if found is not None:  # without a secret a record may say anything that a response may say
        assert found.key == entry.key
        encoded_again = Codec().encode(found, bytes(16) * count(found.length or 0))
        assert read(encoded_again, entry.key) is not None


@given(entry=entries(), data=st.data())
def test_a_signed_record_cannot_be_changed(entry: Entry, data: st.DataObject) -> None:
    blob = bytearray(encoded(entry, Codec(b"secret")))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    assert read(bytes(blob), entry.key, b"secret") is None
    assert read(bytes(blob[: data.draw(st.integers(0, len(blob) - 1))]), entry.key, b"secret") is None


@pytest.mark.parametrize(
    ("written", "asked"), [(b"", b"secret"), (b"secret", b""), (b"secret", b"other"), (b"secret", b"secret ")]
)
def test_a_record_is_read_with_the_secret_it_was_written_with(written: bytes, asked: bytes) -> None:
    entry = make_entry()
    blob = encoded(entry, Codec(written))
    assert read(blob, entry.key, written) is not None
    assert read(blob, entry.key, asked) is None


def test_a_record_is_good_for_its_own_key_only() -> None:
    entry = make_entry(b"http://a.test/1")
    for secret in (b"", b"secret"):
        assert read(encoded(entry, Codec(secret)), b"http://a.test/2", secret) is None


def test_a_version_of_the_future_is_not_read() -> None:
    entry = make_entry()
    blob = encoded(entry, Codec())
    with pytest.raises(CodecError, match="version 2"):
        Codec().decode(b"\x02" + blob[1:], entry.key)


ILLEGAL = [
    ("key", b"http://a.test/\r\n"),
    ("key", b"a.test"),
    ("status", 199),
    ("status", 1000),
    ("status", True),
    ("status", "200"),
    ("reason", b"O\nK"),
    ("fields", [(b"", b"x")]),
    ("fields", [(b"X y", b"x")]),
    ("fields", [(b"X:", b"x")]),
    ("fields", [(b"X", b"a\r\nSet-Cookie: b")]),
    ("fields", [(b"X", b"a\0")]),
    ("fields", [(b"X",)]),
    ("fields", None),
    ("vary", (b"accept",)),
    ("vary", (b"a b",)),
    ("selector", (b"x",)),
    ("received_at", float("nan")),
    ("born_at", float("inf")),
    ("fresh_until", float("nan")),
    ("date", -1),
    ("date", 2**64),
    ("lifetime", -1),
    ("lifetime", 1.5),
    ("no_cache", None),
    ("no_cache", 1),
    ("fields", [(b"ETag", b'"\r"')]),
    ("tags", (b"",)),
    ("tags", (b"a\n",)),
    ("groups", ("text",)),
    ("length", -1),
    ("length", 6 * CHUNK),
    ("length", None),
]


@pytest.mark.parametrize(("name", "value"), ILLEGAL)
def test_what_no_response_can_be_is_neither_written_nor_read(name: str, value: object) -> None:
    entry = make_entry()
    record = msgpack.decode(encoded(entry, Codec())[1:])
    entry_key = entry.key
    try:
        setattr(entry, name, value)
    except (TypeError, ValueError):
        assert name == "fields", "an entry cannot even have it"
    else:
        with pytest.raises(CodecError):
            encoded(entry, Codec())
    record[Record1.__struct_fields__.index(name)] = value
    try:
        blob = b"\x01" + msgpack.encode(record)
    except OverflowError:
        return
    assert read(blob, value if isinstance(value, bytes) and name == "key" else entry_key) is None


def test_a_record_with_more_or_less_in_it_is_not_read() -> None:
    entry = make_entry()
    record = msgpack.decode(encoded(entry, Codec())[1:])
    for other in (record[:-1], [*record, None], [], {}, None):
        assert read(b"\x01" + msgpack.encode(other), entry.key) is None
    assert read(b"\x01" + msgpack.encode(record) + b"\0", entry.key) is None


# Digests.


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
def test_every_chunk_is_proved_by_its_digest(length: int) -> None:
    content = bytes(n % 253 for n in range(length))
    proof = digests_of(content)
    parts = [bytes(part) for part in chunks(content)]
    assert b"".join(parts) == content
    assert count(length) == len(parts) == len(proof) // 16
    for number, part in enumerate(parts):
        assert holds(proof, number, part)
        assert not holds(proof, number, part[:-1])
        assert not holds(proof, number + 1, part)


@given(sizes=st.lists(st.integers(0, CHUNK + 10), max_size=6))
def test_content_in_pieces_has_the_same_digests(sizes: list[int]) -> None:
    digester = Digester()
    whole = b""
    for n, size in enumerate(sizes):
        piece = bytes((n,)) * size
        whole += piece
        digester.update(piece)
    assert digester.digests() == digests_of(whole)
    assert digester.length == len(whole)
