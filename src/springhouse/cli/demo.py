"""`springhouse demo`: a small origin of our own behind the proxy, and what to try with it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated

import typer

from springhouse.cli.serving import run_front_end
from springhouse.endpoint import CannotListen
from springhouse.settings import BadSettings, load_settings

PRODUCTS = [
    {"id": 1, "title": "Spring water", "price": 2},
    {"id": 2, "title": "Butter", "price": 5},
    {"id": 3, "title": "Goat cheese", "price": 9},
]


class DemoOrigin(BaseHTTPRequestHandler):
    """Answers a few paths, some of them slowly, so that a cache in front of it can be felt."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET or HEAD."""
        path = self.path.partition("?")[0]
        if path == "/":
            self._json({"try": ["/products", "/slow", "/time", "/private", "/etag"]})
        elif path == "/products":
            self._json({"products": PRODUCTS})
        elif path.startswith("/products/"):
            found = [p for p in PRODUCTS if str(p["id"]) == path.removeprefix("/products/")]
            self._json(found[0] if found else {"error": "no such product"}, status=200 if found else 404)
        elif path == "/slow":
            time.sleep(2)
            self._json(
                {"took": "two seconds at the origin"}, ("Cache-Control", "max-age=30, stale-while-revalidate=60")
            )
        elif path == "/time":
            self._json({"time": time.strftime("%H:%M:%S")}, ("Cache-Control", "max-age=5"))
        elif path == "/private":
            self._json({"secret": "only for you"}, ("Cache-Control", "private"))
        elif path == "/etag":
            self._with_etag()
        else:
            self._json({"error": "nothing here"}, status=404)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def do_POST(self) -> None:
        """Answer any unsafe method with what was sent."""
        length = int(self.headers.get("Content-Length") or 0)
        self._json({"method": self.command, "received": self.rfile.read(length).decode("utf-8", "replace")})

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def _with_etag(self) -> None:
        if self.headers.get("If-None-Match") == '"v1"':
            self.send_response(304)
            self.send_header("ETag", '"v1"')
            self.end_headers()
        else:
            self._json({"version": 1}, ("Cache-Control", "max-age=3"), ("ETag", '"v1"'))

    def _json(self, value: object, *fields: tuple[str, str], status: int = 200) -> None:
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        for name, content in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *fields):
            self.send_header(name, content)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent; what the proxy prints is enough."""


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    ttl: Annotated[int, typer.Option(help="Seconds of freshness for responses that say nothing about it.")] = 60,
) -> None:
    """Start a small origin with the proxy in front of it, and say what to try."""
    origin = ThreadingHTTPServer(("127.0.0.1", 0), DemoOrigin)
    origin.daemon_threads = True
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    where = f"http://127.0.0.1:{origin.server_address[1]}"
    try:
        run_front_end(
            load_settings({"origin": where, "port": port, "ttl": ttl}), lambda url: typer.echo(_what_to_try(url, where))
        )
    except (BadSettings, CannotListen) as problem:
        typer.echo(f"springhouse: {problem}", err=True)
        raise typer.Exit(2) from None
    finally:
        origin.shutdown()


def _what_to_try(url: str, origin: str) -> str:
    return f"""Springhouse listens on {url} and serves its own small demo origin ({origin}).

Try:
  curl -i {url}/products              X-Cache: MISS, and HIT the second time
  time curl -s {url}/slow             two seconds, then none
  curl -i {url}/etag                  after 3 seconds: REVALIDATED, the origin said 304
  curl -i {url}/private               MISS every time; Cache-Status says why
  curl -i -X POST -d hello {url}/products    BYPASS: it goes through, and what is stored for /products is dropped
  curl -i -H 'Cache-Control: only-if-cached' {url}/nothing    504: not in the cache

In front of your own server:  make run ORIGIN=http://localhost:3000
Ctrl-C stops it."""
