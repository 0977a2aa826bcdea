"""A client on a raw socket: sends any bytes, and reads answers strictly."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.loops import PATIENCE_S
from tests.support.messages import Answer, request, split_head

if TYPE_CHECKING:
    from types import TracebackType


def _most(what: str, otherwise: int) -> int:
    """Return how much the kernel holds at most in one direction of a TCP connection, on one side."""
    try:
        return int(Path(f"/proc/sys/net/ipv4/tcp_{what}").read_text().split()[2])
    except OSError:
        return otherwise


KERNEL = 2 * (_most("rmem", 6 << 20) + _most("wmem", 4 << 20)) + (4 << 20)
"""Bytes that the kernel, and a little of the proxy, may hold of a stream that nobody takes, over two connections."""
Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Broken(Exception):
    """The connection ended in the middle of an answer. `body` is what had arrived of its content."""

    def __init__(self, what: str, body: bytes = b"") -> None:
        super().__init__(f"{what}; content so far: {len(body)} bytes")
        self.body = body


class Client:
    """One connection."""

    def __init__(self, address: Address, *, timeout: float = PATIENCE_S, receive_buffer: int | None = None) -> None:
        family = (
            socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._buffer = bytearray()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # Sending.

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: object) -> Answer:
        """Send a request and return its answer; see `messages.request`."""
        self.send(request(method, target, body, **fields))  # type: ignore[arg-type]
        return self.answer(method)

    def get(self, target: str, **fields: object) -> Answer:
        """Send a GET and return its answer."""
        return self.ask("GET", target, **fields)

    def end_sending(self) -> None:
        """Close the sending half."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    @property
    def is_closed(self) -> bool:
        """Whether this side has closed the connection."""
        return self.socket.fileno() < 0

    # Reading.

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer to a request of that method; Broken when the connection ends within it."""
        interims = []
        while True:
            head = self.head()
            if head.status >= 200 or head.status == 101:
                break
            interims.append(head)
        head.interims = interims
        if head.status != 101:
            head.body = self._content(method, head)
        return head

    def head(self) -> Answer:
        """Read one head, interim or final."""
        start, fields = split_head(self._until(b"\r\n\r\n", bytearray()))
        version, status, phrase = start.split(b" ", 2)
        assert version == b"HTTP/1.1", start
        return Answer(int(status), phrase.decode("latin-1"), fields)

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        return self._exactly(size, bytearray())

    def rest(self) -> bytes:
        """Read until the other side closes, and return everything."""
        while part := self.socket.recv(1 << 18):
            self._buffer += part
        return self._taken(len(self._buffer))

    def is_ended(self) -> bool:
        """Wait until the other side closes; True when it has sent nothing more before."""
        try:
            return self.rest() == b""
        except ConnectionError:
            return not self._buffer

    def is_silent(self, seconds: float = 0.15) -> bool:
        """Return whether nothing comes, not even the end, for so long; 0: whether nothing has come."""
        if self._buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self._buffer += self.socket.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return True
        finally:
            self.socket.settimeout(before)
        return False

    def _content(self, method: str, head: Answer) -> bytes:
        coding, length = head.get("Transfer-Encoding"), head.get("Content-Length")
        assert coding is None or length is None, f"both framings: {head.fields}"
        if method == "HEAD" or head.status in (204, 304):
            assert coding is None
            return b""
        if coding is not None:
            assert coding == "chunked"
            return self._chunks()
        if length is not None:
            return self._exactly(int(length), bytearray())
        assert head.get("Connection") == "close", f"no end in sight: {head.fields}"
        try:
            return self.rest()
        except ConnectionError as error:
            raise Broken("reset", bytes(self._buffer)) from error

    def _exactly(self, size: int, before: bytearray) -> bytes:
        while len(self._buffer) < size:
            self._more(before)
        return self._taken(size)

    def _chunks(self) -> bytes:
        content = bytearray()
        while size := int(self._until(b"\r\n", content), 16):
            data = self._exactly(size + 2, content)
            assert data.endswith(b"\r\n")
            content += data[:-2]
        end = self._until(b"\r\n", content)
        assert end == b"\r\n", f"trailers: {end!r}"
        return bytes(content)

    def _until(self, mark: bytes, before: bytearray) -> bytes:
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            self._more(before)
        return self._taken(at + len(mark))

    def _taken(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _more(self, before: bytearray) -> None:
        """Receive more; `before` is what was read of the content already."""
        try:
            part = self.socket.recv(1 << 18)
        except ConnectionError as error:
            raise Broken("reset", bytes(before + self._buffer)) from error
        if not part:
            raise Broken("closed", bytes(before + self._buffer))
        self._buffer += part


def quietly(client: Client, data: bytes) -> None:
    """Send bytes to a server that may close meanwhile."""
    with contextlib.suppress(OSError):
        client.send(data)
