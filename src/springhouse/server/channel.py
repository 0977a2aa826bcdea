"""The channel between the supervisor and one worker: what is said on it, and how that lies in bytes.

A channel is a pair of sockets. A frame is four bytes of length and one message in msgpack; there is no answer to
anything by itself, and messages of one side arrive in the order they were sent. The end of the channel says that the
other process has gone, however it went: the kernel closes it.

    supervisor                worker
    Start            →                         build everything, listen
                     ←        Listening        or Unable, and the end
    Accept           →                         take connections
                     ←        Ask              apply this purge everywhere
    Apply            →                         to every other worker that serves
                     ←        Applied
    Answered         →                         to the one that asked
    Drain            →                         finish, and go

A worker that was sent `Accept` is sent every purge asked for after that, and before that it has nothing that could be
purged: `Accept` and `Apply` keep their order. This is why listening and serving are two steps.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from msgspec import DecodeError, Struct, ValidationError, msgpack

from springhouse.rules.purging import Purge, Receipt

LENGTH_BYTES = 4
FRAME_MAX = 64 * 1024 * 1024


class Start(Struct, frozen=True, array_like=True, tag="start"):
    """Be a worker with these settings (JSON), which are its own share already.

    `sockets`: descriptors it was started with. `is_shared`: take connections from these very sockets; otherwise they
    only hold the addresses, and every worker opens its own beside them. `instance`: how this proxy marks requests.
    `control`: the descriptor of the control socket, which all workers take connections from.
    """

    settings: bytes
    sockets: tuple[int, ...]
    is_shared: bool
    instance: str
    control: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All descriptors that the worker is started with, besides the channel's."""
        return self.sockets if self.control is None else (*self.sockets, self.control)


class Listening(Struct, frozen=True, array_like=True, tag="listening"):
    """Connections to this worker are not refused from now on."""


class Unable(Struct, frozen=True, array_like=True, tag="unable"):
    """This worker cannot start, and why."""

    why: str


class Accept(Struct, frozen=True, array_like=True, tag="serve"):
    """Take connections."""


class Drain(Struct, frozen=True, array_like=True, tag="drain"):
    """Take no more connections, finish, and go."""


class Ask(Struct, frozen=True, array_like=True, tag="ask"):
    """Apply this purge in all other workers. `number`: the asker's, to know the answer by."""

    number: int
    purge: Purge
    dry_run: bool


class Apply(Struct, frozen=True, array_like=True, tag="apply"):
    """Apply this purge. `number`: the supervisor's."""

    number: int
    purge: Purge
    dry_run: bool


class Applied(Struct, frozen=True, array_like=True, tag="applied"):
    """The purge of that number is applied."""

    number: int
    receipt: Receipt


class Answered(Struct, frozen=True, array_like=True, tag="answered"):
    """What was asked is applied in so many workers, which together have this receipt."""

    number: int
    receipt: Receipt
    workers: int


Message = Start | Listening | Unable | Accept | Drain | Ask | Apply | Applied | Answered

_DECODER = msgpack.Decoder(Message)
_ENCODER = msgpack.Encoder()


def framed(message: Message) -> bytes:
    """Return a message as a frame."""
    data = _ENCODER.encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


class Broken(Exception):
    """Bytes that are no message."""


class Frames:
    """Finds the messages in bytes that come in pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that these bytes complete. Raises Broken."""
        rest = self._rest
        rest += data
        found: list[Message] = []
        at = 0
        while len(rest) - at >= LENGTH_BYTES:
            size = int.from_bytes(rest[at : at + LENGTH_BYTES])
            if size > FRAME_MAX:
                raise Broken(f"a frame of {size} bytes")
            end = at + LENGTH_BYTES + size
            if len(rest) < end:
                break
            try:
                found.append(_DECODER.decode(rest[at + LENGTH_BYTES : end]))
            except (DecodeError, ValidationError) as error:
                raise Broken(str(error)) from None
            at = end
        del rest[:at]
        return found


class Channel(asyncio.Protocol):
    """One side of a channel. `ended` is called once, when nothing more can come."""

    def __init__(self, received: Callable[[Message], None], ended: Callable[[], None]) -> None:
        self._received = received
        self._ended = ended
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def over(
        cls, sock: socket.socket, received: Callable[[Message], None], ended: Callable[[], None]
    ) -> "Channel":
        """Return a channel over a connected socket."""
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(received, ended), sock=sock)
        return channel

    def send(self, message: Message) -> None:
        """Send a message; nothing happens when the other side has gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    def close(self) -> None:
        """Send what is waiting, and end the channel."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._frames.feed(data)
        except Broken:
            assert self._transport is not None
            self._transport.abort()
            return
        for message in messages:
            self._received(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended()
