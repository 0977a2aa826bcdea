"""The access log: one line per request, common or JSON, gathered and written a few times a second.

The common form is that of NCSA with two members behind it, what `X-Cache` said and the seconds it took:
`127.0.0.1 - - [20/Nov/2026:22:10:00 +0000] "GET /a HTTP/1.1" 200 1024 HIT 0.000`.

Several processes may write to one log: lines are appended whole, by writes that the system keeps in one piece. To
a file any write is, to a pipe one of up to PIPE_BUF bytes.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal

from msgspec import json

from springhouse.http.memo import KIB, Memo, bound

FLUSH_S = 0.2
PIPE_BUF = 4096
FILE_BUF = 1 << 20
_GATHERED: Final = bound("access log", 1 << 20, "lines that are to be written")
_LINE_BYTES = 64
Format = Literal["common", "json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the log says of one request. `at`: seconds since 1970; `seconds`: until the last byte was written."""

    at: float
    peer: str
    method: str
    target: str
    status: int
    bytes: int
    x_cache: str
    reason: str
    seconds: float


class AccessLog:
    """Writes lines to a file, or to standard output for `-`."""

    def __init__(self, path: str, form: Format) -> None:
        self.path = path
        self.form = form
        self._lines: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_ours = path != "-"
        self._file: IO[bytes] = sys.stdout.buffer
        if self._is_ours:
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115

    def write(self, line: Line) -> None:
        """Add a line; it is written within FLUSH_S seconds."""
        text = common_line(line) if self.form == "common" else json_line(line)
        self._lines.append(text)
        self._size += _LINE_BYTES + len(text)
        if self._size > _GATHERED.limit:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what has been gathered. A disk that is full costs lines, never a request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        try:
            for block in line_blocks(lines, FILE_BUF if self._is_ours else PIPE_BUF):
                if self._file.write(block) < len(block):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._file.flush()
        except OSError as error:
            print(f"springhouse: {len(lines)} lines of the access log are lost: {error}", file=sys.stderr)

    def reopen(self) -> None:
        """Go on in a new file where the old one was moved away."""
        if not self._is_ours:
            return
        self.flush()
        try:
            reopened = Path(self.path).open("ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            print(f"springhouse: the access log {self.path} cannot be reopened: {error.strerror}", file=sys.stderr)
            return
        self._file.close()
        self._file = reopened

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        if self._is_ours:
            self._file.close()


def line_blocks(lines: list[str], size: int) -> Iterator[bytes]:
    """Join lines to blocks of at most so many bytes; a longer line is a block of its own."""
    block = bytearray()
    for line in lines:
        data = line.encode("utf-8", "replace")
        if block and len(block) + len(data) > size:
            yield bytes(block)
            block.clear()
        block += data
    if block:
        yield bytes(block)


def common_line(line: Line) -> str:
    """Return the line in common log format; control characters and quotes are escaped."""
    target = line.target.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f"{line.peer or '-'} - - [{_clf_date(int(line.at))}] "
        f'"{line.method} {target or "-"} HTTP/1.1" {line.status} {line.bytes} {line.x_cache} {line.seconds:.3f}\n'
    )


def json_line(line: Line) -> str:
    """Return the line as one JSON object."""
    at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds")
    fields = {
        "at": at,
        "peer": line.peer,
        "method": line.method,
        "target": line.target,
        "status": line.status,
        "bytes": line.bytes,
        "x_cache": line.x_cache,
        "reason": line.reason,
        "seconds": round(line.seconds, 6),
    }
    return json.encode(fields).decode() + "\n"


_clf_date: Final = Memo[int, str](
    bound("dates in the log", 4 * KIB, "instants, as dates in the access log"),
    lambda second: datetime.fromtimestamp(second, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
).__getitem__
