"""The wrapped ASGI application as an origin: each request to it is a call in a task."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import unquote

from springhouse.exchange.steps import Failure
from springhouse.frontends.app_origin import INTERNAL_ERROR, AppRequest, app_response, fields_for_app
from springhouse.frontends.asgi.bridge import ASGIApp, ASGIMessage, ASGIScope
from springhouse.frontends.purging import current_authority
from springhouse.http.content import CONTENT_PIECE
from springhouse.http.fields import Field
from springhouse.http.messages import Request, may_have_content
from springhouse.transport.content import RequestContent
from springhouse.upstream.call import Receiver
from springhouse.upstream.routing import Forwarding
from springhouse.upstream.unattended import Unattended

_log = logging.getLogger("springhouse")


class ASGIUpstream:
    """Calls an ASGI application as if it were an origin. `unattended`: seconds for a call that no client waits for."""

    def __init__(self, app: ASGIApp, forwarding: Forwarding, *, unattended: float = 0.0) -> None:
        self.app = app
        self.forwarding = forwarding
        self.wall: Callable[[], float] = lambda: 0.0
        self.lasting: ASGIScope = {}
        """What scopes have in common, for calls that no client waits for."""
        self.added: ASGIScope = {}
        """What the application finds in every scope besides what its server put there."""
        self.unattended: Unattended[ASGICall] = Unattended(unattended, lambda call: call.break_off())
        self._calls: set[asyncio.Task[None]] = set()

    def send(
        self, request: Request, fields: list[Field], content: RequestContent | None, receiver: Receiver
    ) -> "ASGICall":
        """Call the application."""
        call = ASGICall(self, request, self._scope(request, fields), content, receiver)
        task = asyncio.ensure_future(call.run())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return call

    def close(self) -> None:
        """Break off all calls."""
        self.unattended.clear()
        for task in self._calls:
            if not task.get_loop().is_closed():
                task.cancel()

    def _scope(self, request: Request, fields: list[Field]) -> ASGIScope:
        headers = [(name.lower(), value) for name, value in fields_for_app(request, fields)]
        if isinstance(request, AppRequest):
            return {**request.surroundings, **self.added, "headers": headers}
        path, _, query = request.target.partition(b"?")
        return {
            **self.lasting,
            **self.added,
            "type": "http",
            "http_version": "1.1",
            "method": request.method.decode("latin-1"),
            "scheme": request.scheme.decode("latin-1"),
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
            "client": (request.peer, 0) if request.peer else None,
        }


class ASGICall:
    """One call of an application: its `receive` and `send`."""

    def __init__(
        self,
        upstream: ASGIUpstream,
        request: Request,
        scope: ASGIScope,
        content: RequestContent | None,
        receiver: Receiver,
    ) -> None:
        self.requested_at = upstream.wall()
        self._upstream = upstream
        self._request = request
        self._scope = scope
        self._content = content
        self._receiver = receiver
        self._input: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._is_read = False
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._over = asyncio.Event()
        """The client has gone, or has everything."""
        self._is_cancelled = False
        self._has_content: bool | None = None
        self._left: int | None = None
        self._is_complete = False

    async def run(self) -> None:
        """Call the application and report how it ends."""
        if self._content is None:
            self._input.put_nowait((b"", False))
        else:
            self._content.attach(self)
        current_authority.set(self._request.authority)
        try:
            await self._upstream.app(self._scope, self._receive, self._send)
        except Exception as error:
            if isinstance(self._request, AppRequest):
                self._request.error = error
            elif not self._is_cancelled:
                _log.exception("The application raised an exception while its response was being refreshed")
            self._fail("The application raised an exception")
        except BaseException:
            self._fail("The application was stopped")
            raise
        else:
            self._fail("The application's response is not complete")
        finally:
            self._over.set()
            self._upstream.unattended.remove(self)

    # The engine's side.

    def pause(self) -> None:
        """Let `send` wait."""
        self._may_send.clear()

    def resume(self) -> None:
        """Let `send` go on."""
        self._may_send.set()

    def unattended(self) -> None:
        """Begin to count how long no client waits for it."""
        if not self._over.is_set():
            self._upstream.unattended.add(self)

    def attended(self) -> None:
        """Stop that: a client waits for it again."""
        self._upstream.unattended.remove(self)

    def break_off(self) -> None:
        """End it: it has been without a client for too long."""
        self._fail("No client waits for it any more")
        self.cancel()

    def cancel(self) -> None:
        """Want no more. A response without content is let end; else the application sees its client disconnect."""
        self._is_cancelled = True
        if self._has_content is not False:
            self._over.set()
        self._may_send.set()

    def carry(self, content: RequestContent) -> None:
        """Nothing to do: no application can switch protocols."""

    def content(self, data: bytes) -> None:
        """Take some of the request's content."""
        self._input.put_nowait((data, True))
        if self._content is not None and self._input.qsize() > 1:
            self._content.pause()

    def content_end(self) -> None:
        """End the request's content."""
        self._input.put_nowait((b"", False))

    # The application's side.

    async def _receive(self) -> ASGIMessage:
        if not self._is_read:
            waiting = asyncio.ensure_future(self._input.get())
            over = asyncio.ensure_future(self._over.wait())
            await asyncio.wait((waiting, over), return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            if waiting.done():
                data, more = waiting.result()
                self._is_read = not more
                if more and self._content is not None and self._input.empty():
                    self._content.resume()
                return {"type": "http.request", "body": data, "more_body": more}
            waiting.cancel()
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: ASGIMessage) -> None:
        await self._may_send.wait()
        if self._over.is_set():
            raise OSError("The client has gone")
        if message["type"] == "http.response.start":
            fields = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            response, length = app_response(message["status"], fields)
            self._has_content = may_have_content(self._request.method, response.status)
            self._left = length
            self._receiver.answered(response, length)
        elif message["type"] == "http.response.body" and not self._is_complete:
            body = message.get("body", b"")
            while len(body) > CONTENT_PIECE:
                self._take(bytes(body[:CONTENT_PIECE]), is_last=False)
                body = memoryview(body)[CONTENT_PIECE:]
                await self._may_send.wait()
            self._take(bytes(body), is_last=not message.get("more_body", False))

    def _take(self, data: bytes, *, is_last: bool) -> None:
        if self._has_content and data:
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    raise ValueError("The response is longer than its Content-Length")
            if not self._is_cancelled:
                self._receiver.content(data)
                self._receiver.settled()
        if is_last:
            if self._has_content and self._left:
                raise ValueError("The response is shorter than its Content-Length")
            self._is_complete = True
            self._over.set()
            if not self._is_cancelled:
                self._receiver.content_end()

    def _fail(self, detail: str) -> None:
        if self._content is not None:
            self._content.detach()
        if not self._is_complete and not self._is_cancelled:
            self._is_complete = True
            self._receiver.failed(Failure(INTERNAL_ERROR, detail, 500, self._upstream.wall()))
