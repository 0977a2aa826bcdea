"""`springhouse demo` prints what to try, and each command it prints does what it says."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.support.client import Client
from tests.support.command import Command, run, tool
from tests.support.proxy import free_port


@pytest.fixture(scope="module")
def demo() -> Iterator[Command]:
    """Start the demo."""
    with Command("springhouse", "demo", "--port", free_port()) as command:
        command.await_line("Ctrl-C stops it")
        yield command


@pytest.fixture(scope="module")
def commands(demo: Command) -> dict[str, str]:
    """Return the commands it prints, by their last word, which is a path."""
    tool("curl")
    found = [
        re.match(r"  ((?:time )?curl .*?)(?: {2,}|$)", line) or re.match(r"  (curl .*?/\S+)", line)
        for line in demo.lines
    ]
    printed = [line[1].strip() for line in found if line]
    assert len(printed) == 6
    return {("POST " if "POST" in command else "") + command[command.rindex("/") :]: command for command in printed}


def sh(command: str) -> str:
    """Run a command in a shell, and return what it prints."""
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, check=True)
    return ran.stdout


def x_cache(said: str) -> str:
    """Return what X-Cache says in an answer with its head."""
    found = re.search(r"^X-Cache: (\w+)\r?$", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_products_miss_and_hit_and_a_post_drops_them(commands: dict[str, str]) -> None:
    assert [x_cache(sh(commands["/products"])) for _ in range(2)] == ["MISS", "HIT"]
    posted = sh(commands["POST /products"])
    assert (x_cache(posted), "hello" in posted) == ("BYPASS", True)
    assert x_cache(sh(commands["/products"])) == "MISS"


def test_slow_is_slow_once_and_etag_is_revalidated_after_three_seconds(commands: dict[str, str]) -> None:
    assert x_cache(sh(commands["/etag"])) == "MISS"
    stored_at = time.monotonic()
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        assert "two seconds" in sh(commands["/slow"])
        seconds.append(time.monotonic() - began)
    assert seconds[0] > 1.9
    assert seconds[1] < 1
    time.sleep(max(0.0, 3.05 - (time.monotonic() - stored_at)))
    assert x_cache(sh(commands["/etag"])) == "REVALIDATED"
    assert x_cache(sh(commands["/etag"])) == "HIT"


def test_private_is_a_miss_every_time_and_cache_status_says_why(commands: dict[str, str]) -> None:
    for _ in range(2):
        said = sh(commands["/private"])
        assert x_cache(said) == "MISS"
        assert re.search(r"^Cache-Status: springhouse; .*detail=private", said, re.MULTILINE)


def test_only_if_cached_is_a_504(commands: dict[str, str]) -> None:
    assert sh(commands["/nothing"]).startswith("HTTP/1.1 504 ")


def test_every_path_it_tries_exists(demo: Command) -> None:
    url = demo.await_line(r"listens on (\S+) ")[1]
    host, _, port = url.removeprefix("http://").partition(":")
    for path in ("/", "/products", "/products/1", "/time", "/private", "/etag"):
        with Client((host, int(port))) as client:
            assert client.get(path).status == 200
    with Client((host, int(port))) as client:
        assert client.get("/products/99").status == 404


def test_it_ends_and_leaves_nothing(demo: Command) -> None:
    demo.signal(signal.SIGINT)
    ended = demo.ended()
    assert (ended.status, ended.errors) == (0, "")


def test_a_port_that_is_taken() -> None:
    with Command("springhouse", "demo", "--port", free_port()) as first:
        port = first.await_line(r"listens on http://127\.0\.0\.1:(\d+)")[1]
        ran = run("springhouse", "demo", "--port", port)
        assert ran.status == 2
        assert f"Port {port} is taken" in ran.errors
        assert "Traceback" not in ran.errors
