"""Digests of content, one for each CHUNK of it, so that any part can be proved without reading the rest.

What a disk or another machine gives back is compared with these before a byte of it is sent: a file that lost its end
or its blocks when the power failed, a bit that flipped, content that another program wrote. The digests stand in the
entry's record, which a store with a secret signs. BLAKE2b with 16 bytes takes 0.8 ms for a MiB and needs no special
instructions; a CRC would be faster, and no proof against intent.
"""

from collections.abc import Iterator
from hashlib import blake2b

CHUNK = 256 * 1024
SIZE = 16


def digest(data: bytes | memoryview) -> bytes:
    """Return the digest of one chunk."""
    return blake2b(data, digest_size=SIZE).digest()


def digests_of(content: bytes) -> bytes:
    """Return the digests of all chunks, one after the other; b"" for no content."""
    if len(content) <= CHUNK:
        return digest(content) if content else b""
    return b"".join(digest(chunk) for chunk in chunks(content))


def chunks(content: bytes) -> Iterator[memoryview]:
    """Cut content into chunks, without copying."""
    view = memoryview(content)
    return (view[start : start + CHUNK] for start in range(0, len(content), CHUNK))


def count(length: int) -> int:
    """Return how many chunks content of that length has."""
    return -(-length // CHUNK)


def holds(digests: bytes, number: int, data: bytes | memoryview) -> bool:
    """Return whether the bytes are the chunk of that number, counted from 0."""
    return digest(data) == digests[number * SIZE : (number + 1) * SIZE]


class Digester:
    """Digests content that arrives in pieces of any size."""

    __slots__ = ("_done", "_hash", "_room", "length")

    def __init__(self) -> None:
        self.length = 0
        self._done: list[bytes] = []
        self._hash = blake2b(digest_size=SIZE)
        self._room = CHUNK

    def update(self, data: bytes) -> None:
        """Take a piece."""
        view = memoryview(data)
        self.length += len(view)
        while len(view) >= self._room:
            self._hash.update(view[: self._room])
            view = view[self._room :]
            self._done.append(self._hash.digest())
            self._hash, self._room = blake2b(digest_size=SIZE), CHUNK
        self._hash.update(view)
        self._room -= len(view)

    def digests(self) -> bytes:
        """Return the digests of what was taken so far."""
        last = [self._hash.digest()] if self._room < CHUNK else []
        return b"".join(self._done + last)
