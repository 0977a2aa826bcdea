"""The wrapped WSGI application as an origin: each request to it is a call in a thread of a pool of its own."""

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

from springhouse.exchange.steps import Failure
from springhouse.frontends.app_origin import INTERNAL_ERROR, AppRequest, app_response, fields_for_app
from springhouse.frontends.purging import current_authority
from springhouse.frontends.wsgi.bridge import Environ, WSGIApp
from springhouse.frontends.wsgi.proxy import FIELDS_KEY
from springhouse.http.content import CONTENT_PIECE
from springhouse.http.fields import Field
from springhouse.http.messages import Request, may_have_content
from springhouse.transport.content import UPLOAD_HELD_MAX, RequestContent
from springhouse.upstream.call import Receiver
from springhouse.upstream.routing import Forwarding
from springhouse.upstream.unattended import Unattended

APP_THREADS = 64
"""How many calls of the application run at once unless the middleware is given another number."""
_DEAD = ("wsgi.input", "wsgi.errors", "wsgi.file_wrapper")

_log = logging.getLogger("springhouse")


class WSGIUpstream:
    """Calls a WSGI application as if it were an origin.

    `lasting`: an environ to make others from; `threads`: how many calls run at once; `unattended`: seconds for a call
    that no client waits for.
    """

    def __init__(
        self, app: WSGIApp, forwarding: Forwarding, lasting: Callable[[], Environ], *,
        threads: int = APP_THREADS, unattended: float = 0.0,
    ) -> None:  # fmt: skip
        self.app = app
        self.forwarding = forwarding
        self.wall: Callable[[], float] = lambda: 0.0
        self._lasting = lasting
        self.unattended: Unattended[WSGICall] = Unattended(
            unattended, lambda call: call.break_off(), lambda: self._running > threads
        )
        self._threads = ThreadPoolExecutor(threads, "springhouse-app")
        self._running = 0

    def send(
        self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver
    ) -> "WSGICall":
        """Call the application."""
        environ = self._environ(request, fields)
        call = WSGICall(self, request, environ, content, receiver)
        self._running += 1
        self.unattended.give_way()
        self._threads.submit(call.run, self._over)
        return call

    def _over(self) -> None:
        self._running -= 1

    def close(self) -> None:
        """Begin no more calls."""
        self.unattended.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _environ(self, request: Request, fields: list[Field]) -> Environ:
        if isinstance(request, AppRequest):
            environ = {name: value for name, value in request.surroundings.items() if not _is_field(name)}
        else:
            environ = {name: value for name, value in self._lasting().items() if not _is_field(name)}
            path, _, query = request.target.partition(b"?")
            prefix = environ.get("SCRIPT_NAME", "")
            environ |= {
                "REQUEST_METHOD": request.method.decode("latin-1"),
                "PATH_INFO": unquote_to_bytes(path).decode("latin-1").removeprefix(prefix),
                "QUERY_STRING": query.decode("latin-1"),
                "RAW_URI": request.target.decode("latin-1"),
                "REQUEST_URI": request.target.decode("latin-1"),
                "REMOTE_ADDR": request.peer,
                "wsgi.url_scheme": request.scheme.decode("latin-1"),
            }
        environ["wsgi.errors"] = sys.stderr
        environ["wsgi.multithread"] = True
        for name, value in fields_for_app(request, fields):
            key = name.decode("latin-1").upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            said = value.decode("latin-1")
            environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{said}" if key in environ else said
        return environ


def _is_field(name: str) -> bool:
    return name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH", FIELDS_KEY, *_DEAD)


class WSGICall:
    """One call of an application. `run` is for a thread of its own, everything else for the engine's."""

    def __init__(
        self, upstream: WSGIUpstream, request: Request, environ: Environ, content: RequestContent | None,
        receiver: Receiver,
    ) -> None:  # fmt: skip
        self.requested_at = upstream.wall()
        self._upstream = upstream
        self._request = request
        self._environ = environ
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._may_send = threading.Event()
        self._may_send.set()
        self._is_cancelled = False
        self._has_content: bool | None = None
        self._head: tuple[int, list[Field]] | None = None
        self._left: int | None = None
        self._input = WSGIInput(content, self._loop) if content is not None else None
        environ["wsgi.input"] = io.BufferedReader(self._input) if self._input is not None else io.BytesIO()
        environ["wsgi.input_terminated"] = True

    # The thread of the call.

    def run(self, over: Callable[[], None]) -> None:
        """Call the application, if anybody wants it by the time it has a thread, and report what comes of it."""
        try:
            if not self._is_cancelled:
                current_authority.set(self._request.authority)
                self._call_and_report()
        finally:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(over)

    def _call_and_report(self) -> None:
        failure = None
        try:
            self._call()
        except Exception as error:
            failure = "The application raised an exception"
            if isinstance(self._request, AppRequest):
                self._request.error = error
            elif not self._is_cancelled:
                _log.exception("The application raised an exception while its response was being refreshed")
        self._report(self._ended, failure)

    def _call(self) -> None:
        content = self._upstream.app(self._environ, self._start_response)
        try:
            for data in content:
                self._send(data)
            if self._has_content is None:
                self._send_head()
            if self._has_content and self._left:
                raise ValueError("The response is shorter than its Content-Length")
        finally:
            close = getattr(content, "close", None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], object]:
        if exc_info is not None and self._has_content is not None:
            raise exc_info[1].with_traceback(exc_info[2])
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = int(status.split(" ", 1)[0]), fields
        return self._send

    def _send_head(self) -> None:
        assert self._head is not None, "The application did not call start_response"
        response, length = app_response(*self._head)
        self._has_content = may_have_content(self._request.method, response.status)
        self._left = length
        self._report(self._receiver.answered, response, length)

    def _send(self, data: bytes) -> None:
        if self._has_content is None:
            self._send_head()
        if not data or not self._has_content:
            return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise ValueError("The response is longer than its Content-Length")
        for at in range(0, len(data), CONTENT_PIECE):
            self._may_send.wait()
            if self._is_cancelled:
                raise ConnectionError("The client has gone")
            self._report(self._came, data[at : at + CONTENT_PIECE])

    def _report(self, function: Callable[..., object], *arguments: Any) -> None:
        """Tell the engine, and wait until it has heard: only then can it say that it wants no more for now."""
        heard = threading.Event()

        def tell() -> None:
            try:
                if not self._is_cancelled:
                    function(*arguments)
            finally:
                heard.set()

        self._loop.call_soon_threadsafe(tell)
        while not heard.wait(1.0):
            if not self._loop.is_running():
                raise ConnectionError("The engine has stopped")

    # The engine's thread.

    def _came(self, data: bytes) -> None:
        self._receiver.content(data)
        self._receiver.settled()

    def _ended(self, failure: str | None) -> None:
        self._upstream.unattended.remove(self)
        if self._input is not None:
            self._input.detach()
        if failure is None:
            self._receiver.content_end()
        else:
            self._receiver.failed(Failure(INTERNAL_ERROR, failure, 500, self._upstream.wall()))

    def pause(self) -> None:
        """Let the application wait."""
        self._may_send.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._may_send.set()

    def unattended(self) -> None:
        """Begin to count how long no client waits for it."""
        self._upstream.unattended.add(self)

    def attended(self) -> None:
        """Stop that: a client waits for it again."""
        self._upstream.unattended.remove(self)

    def break_off(self) -> None:
        """End it: it has been without a client for too long."""
        self._ended("No client waits for it any more")
        self.cancel()

    def cancel(self) -> None:
        """Want no more of it."""
        self._upstream.unattended.remove(self)
        self._is_cancelled = True
        self._may_send.set()
        if self._input is not None:
            self._input.detach()

    def carry(self, content: RequestContent) -> None:
        """Nothing to do: no application can switch protocols."""


class WSGIInput(io.RawIOBase):
    """`wsgi.input`: a request's content as it comes, for a thread that may wait for it."""

    def __init__(self, content: RequestContent, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._content = content
        self._loop = loop
        self._changed = threading.Condition()
        self._data = bytearray()
        self._is_ended = False
        self._is_asked_for = False

    def readable(self) -> bool:
        """Return True, as io asks every raw stream that can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for some content."""
        with self._changed:
            if not self._is_asked_for:
                self._is_asked_for = True
                self._loop.call_soon_threadsafe(self._content.attach, self)
            self._changed.wait_for(lambda: self._data or self._is_ended)
            size = min(len(buffer), len(self._data))
            buffer[:size] = self._data[:size]
            del self._data[:size]
            if not self._data and not self._is_ended:
                self._loop.call_soon_threadsafe(self._content.resume)
        return size

    def content(self, data: bytes) -> None:
        """Take some content."""
        with self._changed:
            self._data += data
            if len(self._data) > UPLOAD_HELD_MAX:
                self._content.pause()
            self._changed.notify()

    def content_end(self) -> None:
        """End it."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def detach(self) -> None:
        """Take no more."""
        self._content.detach()
        self.content_end()
