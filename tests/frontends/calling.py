"""Calls ASGI and WSGI applications in this process, without a server."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

from tests.support.messages import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable


def scope_of(
    method: str, target: str, version: str = "1.1", headers: Iterable[tuple[bytes, bytes]] = ()
) -> dict[str, Any]:
    """Return the scope of a request."""
    path, _, query = target.partition("?")
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": version, "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"app.test"), *headers],
        "client": ("127.0.0.1", 5000), "server": ("app.test", 80), "state": {},
    }  # fmt: skip


async def call(
    app: Any, method: str, target: str, body: bytes = b"", version: str = "1.1", names: Iterable[bytes] = (),
    **fields: str,
) -> Answer:  # fmt: skip
    """Send one request to an ASGI application and return its answer. `names`: of further fields, as they are."""
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    headers += [(name, b"canary") for name in names]
    if body and version == "1.1":
        headers.append((b"content-length", b"%d" % len(body)))
    scope = scope_of(method, target, version, headers)
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert not sent[-1].get("more_body", False)
    return Answer(sent[0]["status"], "", sent[0]["headers"], b"".join(message["body"] for message in sent[1:]))


def environ_of(method: str, target: str, body: bytes = b"", **fields: str) -> dict[str, Any]:
    """Return the environ of a request."""
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "RAW_URI": target,
        "SERVER_NAME": "app.test", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body), "HTTP_HOST": "app.test",
        "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ | {f"HTTP_{name.upper()}": value for name, value in fields.items()}


def call_wsgi(app: Any, method: str, target: str, body: bytes = b"", **fields: str) -> Answer:
    """Send one request to a WSGI application and return its answer."""
    environ = environ_of(method, target, body, **fields)
    heads: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        heads.append((status, headers))
        return lambda data: None

    content: Iterable[bytes] = app(environ, start_response)
    data = b"".join(content)
    close = getattr(content, "close", None)
    if close is not None:
        close()
    status, headers = heads[-1]
    fields_seen = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Answer(int(status[:3]), status[4:], fields_seen, data)
