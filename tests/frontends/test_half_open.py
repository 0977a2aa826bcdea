"""Clients that begin and do not go on: what they hold on the front ends of others, and where those listen at all."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated
from tests.support.client import Broken, Client
from tests.support.command import run
from tests.support.origin import Origin
from tests.support.processes import Running, await_that

if TYPE_CHECKING:
    from collections.abc import Iterator

HALVES = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a head": b"GET /x HTTP/1.1\r\nHost: a\r\nX-Begun: ",
    "half a body": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun",
    "half of a second head": b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\n",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Origin]:
    """Start an origin for all tests."""
    with Origin() as running:
        running.otherwise = answer(b"x", cache_control="max-age=600")
        yield running


@pytest.fixture(scope="module")
def proxy(upstream: Origin) -> Iterator[Running]:
    """Start the FastAPI front end with short deadlines."""
    deadlines = {"header_timeout": 0.5, "body_timeout": 0.5, "idle_timeout": 1.0}
    with Running(origin=upstream.url, frontend="fastapi", **deadlines) as running:
        running.started()
        yield running


def test_half_open_clients_block_nobody_and_are_broken_off(proxy: Running) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.address)) for _ in range(200)]
        for at, client in enumerate(clients):
            client.send([*HALVES.values()][at % len(HALVES)])
        for _ in range(2):
            assert proxy.connect().get("/x").status == 200
        for client in clients:
            with contextlib.suppress(ConnectionError, Broken):
                client.rest()
    assert proxy.connect().get("/x").x_cache == "HIT"
    assert "Traceback" not in proxy.errors


def test_a_head_without_an_end_is_broken_off_by_its_size(proxy: Running) -> None:
    client = proxy.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n")
    with pytest.raises(ConnectionError):
        client.send((b"X-More: " + b"x" * 8000 + b"\r\n") * 4000)


def test_who_goes_on_is_not_broken_off(proxy: Running, upstream: Origin) -> None:
    client = proxy.connect()
    client.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
    for _ in range(8):
        time.sleep(0.2)  # longer than any deadline in all
        client.send(b"x")
    assert client.answer().status == 200
    assert upstream.seen("/slow")[-1].body == b"x" * 8


def test_who_waits_for_the_origin_is_not_broken_off(proxy: Running, upstream: Origin) -> None:
    gate = upstream.gate()
    upstream.on("/late", gated(gate, answer(b"late")))
    client = proxy.connect()
    client.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
    await_that(lambda: upstream.count("/late") >= 1, "the origin is asked")
    time.sleep(1.5)
    gate.open()
    assert client.answer().body == b"late"


@pytest.mark.parametrize(("frontend", "host"), [("fastapi", "0.0.0.0"), ("fastapi", "::"), ("flask", "192.0.2.1")])
def test_public_addresses_are_not_listened_on_without_being_told(frontend: str, host: str) -> None:
    ran = run("springhouse", "serve", "--origin", "http://a", "--frontend", frontend, "--host", host, "--port", 0)
    assert (ran.status, ran.output) == (2, "")
    assert f"--frontend {frontend} on {host}: a few slow or half-open clients can block this server" in ran.errors
    assert "--allow-public" in ran.errors


@pytest.mark.parametrize("frontend", ["fastapi", "flask"])
def test_they_are_if_told(origin: Origin, frontend: str) -> None:
    first = "import sys; sys.argv.append('--allow-public')"
    origin.otherwise = answer(b"x")
    with Running(first, origin=origin.url, frontend=frontend, host="0.0.0.0") as proxy:
        proxy.started()
        assert proxy.connect().get("/x").status == 200
