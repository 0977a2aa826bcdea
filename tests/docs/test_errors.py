"""docs/errors.md lists the errors of our own, all of them, with the right status."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.client import Client
from tests.support.proxy import Proxy

from springhouse.upstream.failures import status_of

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.origin import Origin

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text("utf-8")
UPSTREAM = ROOT / "src" / "springhouse" / "upstream"
STANDARD = frozenset({
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable", "destination_ip_prohibited",
    "destination_ip_unroutable", "connection_refused", "connection_terminated", "connection_timeout",
    "connection_read_timeout", "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size", "http_response_header_size",
    "http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size",
    "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
    "http_protocol_error", "proxy_internal_response", "proxy_internal_error", "proxy_configuration_error",
    "proxy_loop_detected",
})  # fmt: skip
"""The error types of RFC 9209 §2.3."""

HOST = b"Host: a\r\n"
CASES: dict[int, list[bytes]] = {
    400: [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Content-Length\r\n\r\n",
    ],
    405: [b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n"],
    413: [b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2000\r\n\r\n"],
    414: [b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n" + HOST + b"\r\n"],
    417: [b"GET / HTTP/1.1\r\n" + HOST + b"Expect: a miracle\r\n\r\n"],
    421: [b"GET http://elsewhere.test/ HTTP/1.1\r\n" + HOST + b"\r\n"],
    431: [
        b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 10 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 1000 + b"\r\n\r\n",
    ],
    501: [
        b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
    504: [b"GET / HTTP/1.1\r\n" + HOST + b"Cache-Control: only-if-cached\r\n\r\n"],
    505: [b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n"],
}
ELSEWHERE = {408, 503, 508}
"""Seen below and in `tests/scenarios/test_forwarding.py`."""


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its two header lines."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_all_statuses_for_clients_are_listed() -> None:
    assert {int(row[0]) for row in rows("What is not taken from a client")} == CASES.keys() | ELSEWHERE


@pytest.fixture
def strict(serve: Serve) -> Proxy:
    """Start a proxy with little patience for large requests."""
    return serve(max_target=100, max_header=500, max_fields=8, max_body=1000)


@pytest.mark.parametrize(
    ("status", "data"), [(status, data) for status, all_data in CASES.items() for data in all_data]
)
def test_what_is_not_taken(strict: Proxy, origin: Origin, status: int, data: bytes) -> None:
    with Client(strict.address) as client:
        client.send(data)
        answer = client.answer()
    assert answer.status == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Proxy-Status"].startswith("springhouse; ")
    assert ("Connection" in answer) == (status != 504)
    assert not origin.requests


def test_too_slow(serve: Serve) -> None:
    with Client(serve(header_timeout=0.1).address) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        assert client.answer().status == 408


def test_too_many(serve: Serve) -> None:
    proxy = serve(max_connections=1)
    with Client(proxy.address), Client(proxy.address) as second:
        assert second.answer().status == 503


def produced(function: ast.AST) -> set[str]:
    """Return the error types that a function names."""
    return {node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and node.value in STANDARD}


def test_all_failures_of_origins_are_listed() -> None:
    types: set[Any] = set()
    for path in UPSTREAM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                types |= produced(node)
    listed = {row[0].strip("`"): row[1] for row in rows("When the origin fails")}
    assert listed.keys() == types
    for error, status in listed.items():
        assert status in ("–", str(status_of(error)))
    assert re.findall("error=([a-z_]+)", PAGE) == ["connection_refused"]
