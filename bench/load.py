"""The work: scenarios, the requests they consist of, the check before a run, and wrk.

A scenario's request is written once, as text with three holes: {n} counts through the hot objects, {seed} is
new for every run and {serial} for every request. wrk's script and the check both send this very text, so what
is checked is what is measured. wrk cuts it up before the run and only joins the pieces while it lasts: what the
load generator saves, it can spend on keeping the proxy busy.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers import HOST, HOT_ETAG, HOT_OBJECTS, Fleet, Server, expand, find

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_SECONDS = 20
HIT = frozenset({"HIT"})
NO_HIT = frozenset({"MISS", "BYPASS"})
COMPARED_FIELDS = ("Content-Encoding", "Content-Range", "ETag")

# What Chromium sends when it is given an address: 17 fields with Host and the last two, which differ each time.
BROWSER = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en;q=0.9
Referer: http://127.0.0.1/
Priority: u=0, i
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: same-origin
Sec-Fetch-User: ?1
Upgrade-Insecure-Requests: 1
sec-ch-ua: "Chromium";v="143", "Not A(Brand";v="24"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
Cookie: visitor=1.1.123456.{n}; theme=dark
traceparent: 00-{seed}{serial}-{serial}-01
"""

SCRIPT = """
local HOT_OBJECTS = {hot_objects}
local pieces, sent = {}, 0

function init(args)
  for n = 1, HOT_OBJECTS do
    local text, cut = args[1]:gsub("{n}", n), {}
    local from = 1
    repeat
      local hole, hole_end = text:find("{serial}", from, true)
      cut[#cut + 1] = text:sub(from, (hole or 0) - 1)
      from = (hole_end or 0) + 1
    until not hole
    pieces[n] = cut
  end
end

function request()
  sent = sent + 1
  return table.concat(pieces[sent % HOT_OBJECTS + 1], string.format("%016x", sent))
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "errors": %d, "p99_ms": %f}\\n',
    summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(99) / 1e3))
end
"""


class LoadError(RuntimeError):
    """The load generator could not do its work."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request, repeated for a whole run."""

    what: str
    target: str
    method: str = "GET"
    status: int = 200
    fields: str = ""  # lines to add to the browser's
    body: str = ""
    hits: bool = True  # answered without the origin
    max_connections: int = 1024

    @property
    def warm_targets(self) -> list[str]:
        """The targets a proxy must have stored before this scenario can hit."""
        if not self.hits:
            return []
        return list(dict.fromkeys(expand(self.target, n=number) for number in range(1, HOT_OBJECTS + 1)))

    def request(self, port: int) -> str:
        """The text of its request, holes open."""
        fields = BROWSER + self.fields + (f"Content-Length: {len(self.body)}\n" if self.body else "")
        head = f"{self.method} {self.target} HTTP/1.1\nHost: {HOST}:{port}\n{fields}\n"
        return head.replace("\n", "\r\n") + self.body


SCENARIOS: Mapping[str, Scenario] = {
    "hit": Scenario("1 KiB, one of 100 hot objects", "/{n}.json"),
    "hit100k": Scenario("100 KiB", "/100k.bin", max_connections=16),
    "hit10m": Scenario("10 MiB", "/10m.bin", max_connections=8),
    "vary": Scenario("an object with Vary: Accept-Encoding, stored in gzip", "/vary/{n}.json"),
    # wrk waits for the body a HEAD's Content-Length announces; an empty object is the one it can measure.
    "head": Scenario("HEAD of a stored (empty) object", "/empty.bin", method="HEAD"),
    "cond": Scenario("If-None-Match that matches: 304", "/{n}.json", status=304, fields=f"If-None-Match: {HOT_ETAG}\n"),
    "range": Scenario(
        "the first KiB of a stored 100 KiB object", "/100k.bin", status=206, fields="Range: bytes=0-1023\n"
    ),
    "pass": Scenario("the origin says no-store", "/no-store/{n}.json", hits=False),
    "post": Scenario(
        "POST of 256 bytes of JSON",
        "/api/{n}",
        method="POST",
        fields="Content-Type: application/json\n",
        body=json.dumps({"text": "x" * 244}),
        hits=False,
    ),
    "fill": Scenario("every URL is new: fetched, stored, answered", "/{n}.json?new={seed}{serial}", hits=False),
}


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw during one run."""

    requests: int
    seconds: float
    errors: int
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    fields: http.client.HTTPMessage
    body: bytes


def prepare(scenario: Scenario, proxy: Server, origin: Server) -> str:
    """Warm the proxy, then ask it and the origin the same: what is wrong, in one line, or ''."""
    try:
        for target in scenario.warm_targets:
            _ask(proxy, Scenario("warm", target), _seed())
        seed = _seed()
        want, got = (_ask(server, scenario, seed) for server in (origin, proxy))
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error!r}"
    if want.status != scenario.status:
        return f"the origin's status is {want.status}, not {scenario.status}"
    if got.status != want.status:
        return f"status {got.status}, the origin's is {want.status}"
    if got.body != want.body:
        return f"another body ({len(got.body)} bytes) than the origin's ({len(want.body)} bytes)"
    for name in COMPARED_FIELDS:
        if got.fields[name] != want.fields[name]:
            return f"{name}: {got.fields[name]}, the origin's is {want.fields[name]}"
    said, expected = got.fields["X-Cache"], HIT if scenario.hits else NO_HIT
    if proxy.says_cache and said not in expected:
        return f"X-Cache: {said}, expected {' or '.join(sorted(expected))}"
    return ""


def run(fleet: Fleet, scenario: Scenario, proxy: Server, *, seconds: int, connections: int) -> Load:
    """Send the scenario's request to the proxy for some seconds; raises LoadError."""
    script = fleet.folder / "load.lua"
    script.write_text(expand(SCRIPT, hot_objects=HOT_OBJECTS))
    text = expand(scenario.request(proxy.port), seed=_seed())
    command = [
        *("taskset", "--cpu-list", str(fleet.load_cpu), find("wrk") or "wrk"),
        *("--threads", "1", "--connections", str(min(connections, scenario.max_connections))),
        *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(script)),
        *(f"http://{HOST}:{proxy.port}", "--", text),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        load = Load(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        raise LoadError(f"wrk: {(done.stderr or done.stdout).strip()[-300:]}") from None
    if not load.requests:
        raise LoadError(f"no request was answered in {seconds} s")
    return load


def served(origin: Server) -> int:
    """How many requests the origin has served, this one included."""
    status = _ask(origin, Scenario("status", "/served"), _seed()).body.split(b"\n")
    return int(status[2].split()[2])


def _ask(server: Server, scenario: Scenario, seed: str) -> Answer:
    """Send one request of the scenario, as wrk would, and read the whole response."""
    text = expand(scenario.request(server.port), n=1, seed=seed, serial="f" * 16)
    with socket.create_connection((HOST, server.port), TIMEOUT_SECONDS) as connection:
        connection.sendall(text.encode())
        with http.client.HTTPResponse(connection, method=scenario.method) as response:
            response.begin()
            return Answer(response.status, response.headers, response.read())


def _seed() -> str:
    """16 hexadecimal digits nobody has used before."""
    return f"{time.time_ns():016x}"
