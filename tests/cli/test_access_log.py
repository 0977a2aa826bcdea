"""The access log: a line for every request, in either form."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

from tests.support.answers import answer
from tests.support.command import Command
from tests.support.messages import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.origin import Origin

COMMON = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "(\w+|-) (.+) HTTP/1\.1" (\d+) (\d+) (\w+) \d+\.\d{3}'
)
EXPECTED = [
    ("GET", "/a?b=c", 200, 5, "MISS"),
    ("GET", "/a?b=c", 200, 5, "HIT"),
    ("HEAD", "/a?b=c", 200, 0, "HIT"),
    ("GET", "/a?b=c", 206, 2, "HIT"),
    ("POST", "/a?b=c", 200, 5, "BYPASS"),
    ("GET", '/quo"te', 404, 2, "MISS"),
]


def ask(command: Command) -> None:
    """Send the requests that EXPECTED tells of, and one that is refused."""
    with command.connect() as client:
        client.get("/a?b=c")
        client.get("/a?b=c")
        client.ask("HEAD", "/a?b=c")
        client.get("/a?b=c", range="bytes=0-1")
        client.ask("POST", "/a?b=c", b"")
        client.get('/quo"te')
        client.send(request("GET", "/x", host=None))
        assert client.answer().status == 400


def prepare(origin: Origin) -> None:
    """Let the origin answer them."""
    origin.on("/a", answer(b"hello", cache_control="max-age=60"))
    origin.otherwise = answer(b"no", 404)


def test_common_form_in_a_file(origin: Origin, tmp_path: Path) -> None:
    prepare(origin)
    log = tmp_path / "access.log"
    log.write_text("what was there before\n")
    with Command("springhouse", "serve", "--origin", origin.url, "--port", 0, "--access-log", log) as command:
        ask(command)
        command.signal(signal.SIGTERM)
        command.ended()
    first, *lines, refused = log.read_text().splitlines()
    assert first == "what was there before"
    found = [COMMON.fullmatch(line) for line in lines]
    assert [(m[1], m[2].replace('\\"', '"'), int(m[3]), int(m[4]), m[5]) for m in found if m] == EXPECTED
    assert '] "- /x HTTP/1.1" 400 ' in refused


def test_json_on_standard_output(origin: Origin) -> None:
    prepare(origin)
    options = ["--access-log", "-", "--access-log-format", "json"]
    with Command("springhouse", "serve", "--origin", origin.url, "--port", 0, *options) as command:
        ask(command)
        command.signal(signal.SIGTERM)
        command.ended()
    lines = [json.loads(line) for line in command.lines[1:]]
    assert [
        (one["method"], one["target"], one["status"], one["bytes"], one["x_cache"]) for one in lines[:-1]
    ] == EXPECTED
    assert (lines[-1]["method"], lines[-1]["status"]) == ("-", 400)
    assert {one["peer"] for one in lines} == {"127.0.0.1"}
    assert [one["reason"] for one in lines[:6]] == [
        "uri-miss", "fresh", "fresh", "fresh", "method", "status-without-ttl",
    ]  # fmt: skip
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", one["at"]) for one in lines)
    assert all(0 <= one["seconds"] < 5 for one in lines)


def test_lines_come_while_it_runs(origin: Origin) -> None:
    prepare(origin)
    with Command("springhouse", "serve", "--origin", origin.url, "--port", 0, "--access-log", "-") as command:
        command.get("/a?b=c")
        command.await_line(r'"GET /a\?b=c HTTP/1\.1" 200 5 MISS')


def test_targets_cannot_forge_lines(origin: Origin) -> None:
    prepare(origin)
    with Command("springhouse", "serve", "--origin", origin.url, "--port", 0, "--access-log", "-") as command:
        with command.connect() as client:
            client.send(b'GET /%0a"200\\ HTTP/1.1\r\nHost: a\r\n\r\nGET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n')
            assert [client.answer().status for _ in range(2)] == [404, 400]
        command.await_line(r'"GET /%0a\\"200\\\\ HTTP/1\.1" 404 ')
        command.await_line(r'"- - HTTP/1\.1" 400 ')
    assert all(line.rstrip("\n").isprintable() for line in command.lines)
