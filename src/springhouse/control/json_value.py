"""The JSON value that stands for content in an envelope, made of it in slices.

JSON is itself, text a string, anything else an object with its type and base64. Which of these it is shows only when
all of it has been looked at; then it is written. Everything here is a generator that does a little at a time: what it
yields is a piece of the value, or nothing yet.
"""

import codecs
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from encodings.aliases import aliases

from msgspec import DecodeError, Raw, json

SLICE = 192 * 1024
"""Bytes of content that are worked on at once; a multiple of three, for base64."""

Buffer = bytes | bytearray
Value = Generator[bytes, None, None]
Verdict = Generator[bytes, None, bool]

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json")
_TEXT = re.compile(r"text/.*|application/(?:[\w.+-]+\+)?(?:xml|javascript|yaml|x-www-form-urlencoded)")
_CHARSET = re.compile(r';\s*charset="?([\w.:-]+)"?', re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})
"""Python's, but not those of any text: some take very long, or cannot be read in slices."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
_KNOWN = frozenset({*aliases, *aliases.values()})
_GZIP = (b"gzip", b"x-gzip", b"deflate")

Decoder = codecs.IncrementalDecoder


def inflated(content: Buffer, coding: bytes, size_max: int) -> Generator[bytes, None, Buffer]:
    """Undo a content coding that was applied though we asked for none; never into more than `size_max` bytes.

    Raises ValueError when that cannot be.
    """
    if coding == b"identity" or not content:
        return content
    if coding not in _GZIP:
        raise ValueError(f"The upstream used the content coding {coding.decode('latin-1')} without being asked to")
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    plain = bytearray()
    rest: Buffer = content
    while not inflater.eof and len(plain) <= size_max:
        try:
            piece = inflater.decompress(rest, SLICE)
        except zlib.error as error:
            raise ValueError(f"The upstream's content is not valid {coding.decode()}: {error}") from None
        rest = inflater.unconsumed_tail
        if not piece and not rest:
            break
        plain += piece
        yield b""
    if len(plain) > size_max or not inflater.eof:
        raise ValueError("The upstream's content is too large or not whole")
    return plain


def value_of(content: Buffer, media: str) -> Value:
    """Yield the value that stands for content of a media type."""
    plain = media.partition(";")[0].strip().lower()
    if not content:
        yield b"null"
        return
    if not plain or _JSON.fullmatch(plain):
        if (yield from _is_json(content)):
            yield from map(bytes, _slices(content))
            return
        plain = plain and "text/plain"
    if not plain or _TEXT.fullmatch(plain):
        charset = _CHARSET.search(media)
        decoder = _decoder_of(charset[1] if charset else "utf-8")
        if decoder is not None and (yield from _is_text(content, decoder())):
            yield from _string(content, decoder())
            return
    yield b'{"content_type":%b,"base64":"' % json.encode(media or "application/octet-stream")
    yield from map(b64encode, _slices(content))
    yield b'"}'


def _slices(content: Buffer) -> Iterator[memoryview]:
    view = memoryview(content)
    return (view[at : at + SLICE] for at in range(0, len(view), SLICE))


def _is_json(content: Buffer) -> Verdict:
    """Return whether content is JSON. The grammar is checked in one go, without building anything: 1 ms for a MiB."""
    if not (yield from _is_text(content, codecs.getincrementaldecoder("utf-8")())):
        return False
    try:
        json.decode(content, type=Raw)
    except (DecodeError, RecursionError):
        return False
    yield b""
    return True


def _is_text(content: Buffer, decoder: Decoder) -> Verdict:
    try:
        for piece in _slices(content):
            decoder.decode(piece)
            yield b""
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _string(content: Buffer, decoder: Decoder) -> Value:
    yield b'"'
    for piece in _slices(content):
        yield json.encode(decoder.decode(piece))[1:-1]
    yield json.encode(decoder.decode(b"", final=True))[1:-1] + b'"'


def _decoder_of(charset: str) -> Callable[[], Decoder] | None:
    if _NOT_IN_NAMES.sub("_", charset.lower()) not in _KNOWN:
        return None  # not looked for: Python remembers each name that it has not found
    try:
        b" ".decode(charset, "ignore")  # LookupError, too, for what is no coding of text
        found = codecs.lookup(charset)
    except (LookupError, UnicodeError):
        return None
    return None if found.name in _NO_CHARSETS else found.incrementaldecoder
