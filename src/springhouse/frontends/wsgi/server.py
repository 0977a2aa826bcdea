"""gunicorn for the Flask front end: one process, a thread per request (decision 15).

A WSGI environ joins repeated fields and gunicorn adds Date and Server to every reply; here the application is given the
fields as received, and what the origin said stands.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http.errors import InvalidRequestMethod
from gunicorn.http.wsgi import Response
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from springhouse import control_socket
from springhouse.endpoint import CannotListen
from springhouse.engine.clock import wall
from springhouse.exchange.reply import problem
from springhouse.frontends.broken_off import is_worth_logging
from springhouse.frontends.serving import ServeControl, open_for
from springhouse.frontends.wsgi.bridge import Environ, StartResponse, WSGIApp
from springhouse.frontends.wsgi.framework import create_flask_app
from springhouse.frontends.wsgi.proxy import FIELDS_KEY, SpringhouseWSGI
from springhouse.settings import BadSettings, Settings
from springhouse.wire.admission import unknown_method
from springhouse.wire.encode import response_head
from springhouse.wire.targets import is_known_method, unknown_method_in

_THREADS = 64
_LINE_MAX = 8190


def serve_with_gunicorn(settings: Settings, announce: Callable[[str], None], serve_control: ServeControl) -> None:
    """Serve with gunicorn until SIGTERM or SIGINT. Raises CannotListen."""
    endpoint, settings = open_for(settings)
    app = create_flask_app(settings)
    cache: SpringhouseWSGI = app.extensions["springhouse"]
    received = threading.local()
    control = control_socket.opened(endpoint.url)

    def load() -> WSGIApp:
        try:
            cache.thread.running()  # what is wrong with a store shows now
            if control is not None:
                orders = control
                cache.thread.serve_beside(lambda engine: serve_control(engine, orders, settings, endpoint))
        except (BadSettings, CannotListen) as error:
            print(f"springhouse: {error}", file=sys.stderr, flush=True)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        return _exact(app, cache, received)

    hooks = {
        "pre_request": lambda _worker, request: _keep_fields(request, received),
        "post_worker_init": lambda worker: announce(endpoint.url) if worker.age == 1 else None,
        "worker_exit": lambda _server, _worker: cache.close(),
    }
    here = os.getpid()  # the worker, which is forked off within `run`, passes by here as well when it ends
    try:
        _Gunicorn(
            {"bind": [f"fd://{each.detach()}" for each in endpoint.sockets], **_options_of(settings), **hooks}, load
        ).run()
    except SystemExit as ended:
        if ended.code == Arbiter.WORKER_BOOT_ERROR and os.getpid() == here:
            sys.exit(2)  # the worker has said why
        raise
    finally:
        if control is not None:
            control.close()
        endpoint.remove()


def _options_of(settings: Settings) -> dict[str, Any]:
    return {
        "worker_class": _Worker,
        "workers": 1,
        "threads": _THREADS,
        "worker_connections": settings.max_connections,
        "keepalive": int(settings.idle_timeout),
        "graceful_timeout": int(settings.drain_timeout),
        "limit_request_line": _LINE_MAX,
        "limit_request_fields": settings.max_fields + 1,
        "limit_request_field_size": settings.max_header,
        "permit_unconventional_http_method": True,  # `_exact` knows which methods are known
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        "control_socket_disable": True,
        "loglevel": "warning",
        "logger_class": _Log,
    }


def _keep_fields(request: Any, received: threading.local) -> None:
    received.fields = [(name.title().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn with settings of ours, without its command line and files."""

    def __init__(self, options: dict[str, Any], make: Callable[[], WSGIApp]) -> None:
        self._options = options
        self._make = make
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> WSGIApp:
        return self._make()


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker, which refuses a method that is no token in the words of the native server."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what gunicorn could not read; it closes the connection then."""
        if not isinstance(exc, InvalidRequestMethod):
            super().handle_error(req, client, addr, exc)
            return
        refusal = unknown_method()
        reply = problem(refusal.status, refusal.detail, at=wall())
        assert isinstance(reply.content, bytes)
        more = b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(reply.content), reply.content)
        with suppress(OSError):
            write_nonblock(client, response_head(reply.status, reply.phrase, reply.all_fields, more))


class _Log(Logger):  # type: ignore[misc]
    """gunicorn's log without what is not worth logging."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(is_worth_logging)


class _Head(Response):  # type: ignore[misc]
    """A response that does not speak for the origin."""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take the fields, with the two that gunicorn would put its own in place of."""
        super().process_headers(headers)
        self.headers += [field for field in headers if field[0].lower() in ("date", "server")]

    def default_headers(self) -> list[str]:
        """Return what gunicorn adds to the head, less Server, and less Date where there is one.

        It repeats the version of the request; ours stands here (RFC 9110 §2.5).
        """
        lines: list[str] = super().default_headers()
        lines[0] = f"HTTP/1.1 {self.status}\r\n"
        has_date = any(name.lower() == "date" for name, _ in self.headers)
        unwanted = ("Server:", "Date:") if has_date else ("Server:",)
        return [line for line in lines if not line.startswith(unwanted)]


def _exact(app: WSGIApp, cache: SpringhouseWSGI, received: threading.local) -> WSGIApp:
    def serve(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[FIELDS_KEY] = received.fields
        start_response.__self__.__class__ = _Head  # type: ignore[attr-defined]
        method = environ["REQUEST_METHOD"].encode("latin-1")
        if not is_known_method(method):
            return cache.refuse(environ, start_response, unknown_method(unknown_method_in(method + b" ")))
        return app(environ, start_response)

    return serve
