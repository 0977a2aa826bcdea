"""What is written at once holds its writer back, and a connection that has gone takes it without a word."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import pytest
from tests.support.loops import uvloop_or_asyncio

from springhouse.transport.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

PIECES = [b"head", bytes(8 << 20)]
loops = pytest.mark.parametrize("loop", [uvloop_or_asyncio, asyncio.new_event_loop])


class Writer(asyncio.Protocol):
    """Notes that it shall write no more, and the end."""

    def __init__(self) -> None:
        self.paused = False
        self.gone = asyncio.Event()

    def pause_writing(self) -> None:
        self.paused = True

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set()


async def connected() -> tuple[asyncio.Transport, Writer, socket.socket]:
    """Return one end of a connection, and the other's socket, which nobody reads."""
    ours, theirs = socket.socketpair()
    transport, writer = await asyncio.get_running_loop().create_connection(Writer, sock=ours)
    return cast("asyncio.Transport", transport), writer, theirs


@loops
def test_a_receiver_that_takes_nothing_pauses_the_writer(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def write() -> bool:
        transport, writer, theirs = await connected()
        with theirs:
            Outbox().write_now(transport, PIECES)
            transport.abort()
            await writer.gone.wait()
        return writer.paused

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(write())


@loops
@pytest.mark.parametrize("end", ["close", "abort", "lost"])
def test_what_is_written_to_a_connection_that_ends_does_no_harm(
    loop: Callable[[], asyncio.AbstractEventLoop], end: str
) -> None:
    errors = []

    async def write() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        outbox = Outbox()
        transport, writer, theirs = await connected()
        if end == "lost":
            theirs.close()
        else:
            getattr(transport, end)()
        for _ in range(3):
            outbox.write_now(transport, PIECES)
        await writer.gone.wait()
        outbox.write_now(transport, PIECES)
        theirs.close()
        again = [await connected() for _ in range(3)]  # perhaps under the same descriptor
        for transport, writer, theirs in again:
            transport.close()
            await writer.gone.wait()
            theirs.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(write())
    assert not errors
