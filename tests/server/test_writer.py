"""A reply's bytes reach the transport in order, small ones together, large ones without being copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st
from tests.wire.reading import Responses

from springhouse.exchange.reply import Reply, Source
from springhouse.server.writer import GATHER_MAX, ReplyWriter
from springhouse.upstream.outbox import Outbox

if TYPE_CHECKING:
    import asyncio


class Transport:
    """Notes each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def writelines(self, buffers: list[bytes]) -> None:
        self.writes += buffers


class At(Outbox):
    """Writes what it is given at once."""

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        transport.write(data)


class Owner:
    """Is told that the reply is complete."""

    def replied(self, *, may_go_on: bool) -> None:
        self.may_go_on = may_go_on

    def switched(self) -> None:
        raise AssertionError


SIZES = st.lists(st.integers(0, 40) | st.integers(GATHER_MAX - 300, GATHER_MAX + 10), max_size=6)


@given(SIZES, st.booleans(), st.sets(st.integers(0, 5)))
def test_what_is_written_arrives(sizes: list[int], is_chunked: bool, flushed: set[int]) -> None:
    transport, owner = Transport(), Owner()
    writer = ReplyWriter(cast("asyncio.Transport", transport), At(), owner)
    pieces = [bytes([65 + at]) * size for at, size in enumerate(sizes)]
    for _ in range(2):
        transport.writes.clear()
        writer.expect(b"GET", minor_version=1, keeps_alive=True)
        length = None if is_chunked else sum(sizes)
        writer.start(Reply(200, b"OK", [(b"A", b"b")], b"C: d\r\n", Source.ORIGIN, length, b"MISS", None))
        for at, piece in enumerate(pieces):
            writer.write(piece)
            if at in flushed:
                writer.flush()
        writer.end()
        assert owner.may_go_on
        reader = Responses()
        reader.feed(b"".join(transport.writes))
        assert reader.failure is None
        assert [(noted.body, noted.is_complete) for noted in reader.read] == [(b"".join(pieces), True)]
        assert all(transport.writes), "nothing empty is written"
        if not flushed and sum(sizes) < GATHER_MAX // 2:
            assert len(transport.writes) == 1, "head and content go out together"
