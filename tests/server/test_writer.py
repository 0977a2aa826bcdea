"""A reply's bytes reach the transport in order, small ones together, large ones without being copied."""

from __future__ import annotations

import asyncio
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from tests.wire.reading import Responses

from springhouse.exchange.reply import Reply, Source
from springhouse.http.content import MemoryReader
from springhouse.server.writer import GATHER_MAX, ReplyWriter
from springhouse.transport.outbox import TURN_MAX, Outbox


class Transport:
    """Notes each write; it has room for all."""

    def is_closing(self) -> bool:
        return False

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


class Resuming(Owner):
    """Lets the writer go on when it may."""

    writer: ReplyWriter

    def resume_writing(self) -> None:
        self.writer.resume()


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


def test_large_content_is_shared_out_over_the_turns_of_the_loop() -> None:
    """However many connections have room for all they want: others are served in between."""
    size, count = 2 << 20, 24
    written: list[int] = []

    async def serve() -> None:
        outbox = Outbox()
        transports = [Transport() for _ in range(count)]
        for transport in transports:
            owner = Resuming()
            owner.writer = ReplyWriter(cast("asyncio.Transport", transport), outbox, owner)
            owner.writer.start_ready(b"head")
            reader = MemoryReader(bytes(size), owner.writer)
            owner.writer.produced_by(reader)
            reader.resume()
        before = 0
        while before < count * size:
            now = sum(len(data) for transport in transports for data in transport.writes)
            written.append(now - before)
            before = now
            await asyncio.sleep(0)

    asyncio.run(serve())
    assert max(written) < TURN_MAX + (1 << 20)
    assert len(written) >= count * size // TURN_MAX
