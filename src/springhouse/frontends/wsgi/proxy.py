"""The engine as a WSGI application: the engine runs on an event loop in a thread of its own.

Each request keeps its server's thread, which first hands the content over and then takes the reply, in both
directions only as fast as the other side goes. The target is what the server calls RAW_URI or REQUEST_URI: PATH_INFO
is decoded, so that `/a%2Fb` and `/a/b` would be one.
"""

from collections.abc import Callable, Iterator
from typing import Any

from springhouse.engine.engine import Engine
from springhouse.frontends.admission import admit_parsed
from springhouse.frontends.logging_sink import LoggingSink
from springhouse.frontends.options import FrontendOptions, frontend_options
from springhouse.frontends.targets import encoded_path, without_prefix
from springhouse.frontends.wsgi.bridge import Environ, StartResponse, ThreadBridge
from springhouse.frontends.wsgi.engine_thread import EngineThread
from springhouse.http.fields import Field
from springhouse.http.messages import Request
from springhouse.service import engine_of
from springhouse.settings import Settings, load_settings
from springhouse.wire.admission import Head, Refusal, host_apart

_PORT_DIGITS = 5

FIELDS_KEY = "springhouse.fields"
"""Where our server, gunicorn, leaves the fields as they were received; a WSGI environ merges some of them."""


class SpringhouseWSGI:
    """The WSGI application of an engine."""

    def __init__(self, make: Callable[[], Engine], options: FrontendOptions) -> None:
        self.options = options
        self.thread = EngineThread(make, options)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """Answer one request."""
        return self.answer(environ).send_reply(start_response)

    def refuse(self, environ: Environ, start_response: StartResponse, refusal: Refusal) -> Iterator[bytes]:
        """Answer a request that is not taken."""
        return self.answer(environ, refusal).send_reply(start_response)

    def close(self) -> None:
        """Stop the engine."""
        self.thread.close()

    def answer(self, environ: Environ, request: Request | Refusal | None = None) -> "ThreadBridge":
        """Start an exchange and return once its reply has begun. `request`: other than the environ's own."""
        if request is None:
            request = self.admit(environ, wsgi_target(environ))
        loop, engine = self.thread.running()
        port = environ.get("SERVER_PORT", "")
        if port.isdecimal() and len(port) <= _PORT_DIGITS:
            engine.reached_at(int(port))
        bridge = ThreadBridge(loop, environ, self.options)
        log = self.thread.log
        known = None if isinstance(request, Refusal) else request
        bridge.begin(engine, request, bridge if log is None else LoggingSink(bridge, log, engine.clock, known))
        bridge.await_head()
        return bridge

    def admit(self, environ: Environ, target: bytes) -> Request | Refusal:
        """Return the request of an environ, or why it is not taken."""
        fields, bits, host = host_apart(environ_fields(environ))
        head = Head(
            method=environ["REQUEST_METHOD"].encode("latin-1"),
            target=target,
            version=environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
            fields=fields,
            bits=bits,
            host=host,
            peer=environ.get("REMOTE_ADDR", ""),
            scheme=environ.get("wsgi.url_scheme", "http").encode("latin-1"),
        )
        request = admit_parsed(head, self.options.limits, self.options.names_of_ours)
        is_chunked = "HTTP_TRANSFER_ENCODING" in environ
        if isinstance(request, Request) and is_chunked and not environ.get("wsgi.input_terminated"):
            return Refusal(411, "This server takes no content of unknown length")
        return request


def create_wsgi_app(settings: Settings | None = None, **options: Any) -> SpringhouseWSGI:
    """Return a WSGI application that serves an origin through the cache; `options` are settings by name.

    Each process that a server forks starts an engine of its own at its first request. Raises BadSettings.
    """
    chosen = settings if settings is not None else load_settings(options)
    return SpringhouseWSGI(lambda: engine_of(chosen), frontend_options(chosen))


def environ_fields(environ: Environ) -> list[Field]:
    """Return the fields of an environ, as received if the server tells."""
    exact: list[Field] | None = environ.get(FIELDS_KEY)
    if exact is not None:
        return exact
    named = [(key[5:], value) for key, value in environ.items() if key.startswith("HTTP_")]
    named += [(key, environ[key]) for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)]
    return [(name.replace("_", "-").title().encode("latin-1"), value.encode("latin-1")) for name, value in named]


def wsgi_target(environ: Environ, *, keeps_prefix: bool = False) -> bytes:
    """Return the target of a request as the client sent it, without the prefix the application is mounted under.

    Where the server does not tell, it is made of the decoded path, and some targets become one.
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    prefix = environ.get("SCRIPT_NAME", "").encode("latin-1")
    if not raw:
        path = (prefix if keeps_prefix else b"") + environ.get("PATH_INFO", "").encode("latin-1")
        query = environ.get("QUERY_STRING", "").encode("latin-1")
        return encoded_path(path or b"/") + (b"?" + query if query else b"")
    target: bytes = raw.encode("latin-1")
    if keeps_prefix or not prefix:
        return target
    path, mark, query = target.partition(b"?")
    return without_prefix(path, prefix) + mark + query
