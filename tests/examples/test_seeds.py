"""What the READMEs that this project grew from say, typed as it stands there, with another origin and free ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.frontends.together import Process, environment
from tests.support.answers import answer, echo
from tests.support.origin import Origin
from tests.support.proxy import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PROXIES = {
    "caching_proxy.py": ["caching_proxy.py"],
    "caching_proxy.py on FastAPI": ["caching_proxy.py", "--frontend", "fastapi"],
    "caching_proxy.py on Flask": ["caching_proxy.py", "--frontend", "flask"],
    "proxy_fastapi.py": ["proxy_fastapi.py"],
}


@pytest.fixture(scope="module")
def dummyjson() -> Iterator[Origin]:
    """Stand in for the origin that the READMEs name."""
    with Origin() as origin:
        origin.on("/products", answer(b'{"products": []}', content_type="application/json"))
        origin.otherwise = echo
        yield origin


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request: pytest.FixtureRequest, dummyjson: Origin) -> Iterator[Process]:
    """Start `python caching_proxy.py --origin http://dummyjson.com --port 3000 --ttl 60` and its relatives."""
    script, *more = PROXIES[request.param]
    running = Process("--origin", dummyjson.url, "--ttl", "60", *more, command=[sys.executable, str(ROOT / script)])
    yield running
    running.close()


def curl(command: str, port: int) -> str:
    """Type a curl command of the README; return head and content."""
    typed = command.replace(":3000", f":{port}").replace("curl ", "curl -s -i ", 1)
    return subprocess.run(typed, shell=True, check=True, capture_output=True, text=True).stdout.replace("\r\n", "\n")


def x_cache(output: str) -> str:
    """Return X-Cache of what curl printed."""
    return next(line.split(": ")[1] for line in output.splitlines() if line.lower().startswith("x-cache: "))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_commands(proxy: Process) -> None:
    curl("curl http://127.0.0.1:3000/clear-cache", proxy.port)
    assert x_cache(curl("curl http://127.0.0.1:3000/products", proxy.port)) == "MISS"
    assert x_cache(curl("curl http://127.0.0.1:3000/products", proxy.port)) == "HIT"
    posted = curl(
        'curl -X POST http://127.0.0.1:3000/posts -H "Content-Type: application/json" '
        '-d "{\\"title\\": \\"New Post\\"}"',
        proxy.port,
    )
    assert x_cache(posted) == "BYPASS"
    assert posted.endswith('{"title": "New Post"}')
    put = curl(
        'curl -X PUT http://127.0.0.1:3000/posts/1 -H "Content-Type: application/json" '
        '-d "{\\"title\\": \\"Updated Post\\"}"',
        proxy.port,
    )
    assert (x_cache(put), put.endswith('{"title": "Updated Post"}')) == ("BYPASS", True)
    assert x_cache(curl("curl -X DELETE http://127.0.0.1:3000/posts/1", proxy.port)) == "BYPASS"
    assert "Cache cleared successfully" in curl("curl http://127.0.0.1:3000/clear-cache", proxy.port)
    assert x_cache(curl("curl http://127.0.0.1:3000/products", proxy.port)) == "MISS"


def test_proxy_of_a_url(proxy: Process, dummyjson: Origin) -> None:
    proxy.ask("DELETE", "/cache", host=f"localhost:{proxy.port}")
    asked = dummyjson.count("/products")
    for source in ("upstream", "cache"):
        reply = proxy.get("/proxy?url=products")
        assert json.loads(reply.body) == {"success": True, "source": source, "data": {"products": []}}
    assert dummyjson.count("/products") == asked + 1


def test_delete_cache(proxy: Process) -> None:
    reply = proxy.ask("DELETE", "/cache", host=f"127.0.0.1:{proxy.port}")
    assert json.loads(reply.body) == {"success": True, "message": "Cache cleared successfully"}


def test_docs(proxy: Process) -> None:
    assert b"swagger-ui" in proxy.get("/docs").body


def test_clear_cache_on_the_command_line(proxy: Process) -> None:
    proxy.get("/products")
    assert proxy.get("/products").x_cache == "HIT"
    said = clear_cache(proxy.port)
    assert (said.returncode, "is clear" in said.stdout) == (0, True)
    assert proxy.get("/products").x_cache == "MISS"


def test_clear_cache_when_none_runs() -> None:
    said = clear_cache(free_port(), "--origin", "http://never.test")
    assert (said.returncode, "nothing to clear" in said.stdout) == (0, True)
    said = clear_cache(free_port(), "--store", "memory")
    assert (said.returncode, "No proxy listens" in said.stderr) == (1, True)


def test_what_is_kept_outlives_the_proxy(dummyjson: Origin) -> None:
    arguments = ("--origin", dummyjson.url)
    for expected in ("MISS", "HIT"):
        proxy = Process(*arguments, command=[sys.executable, str(ROOT / "caching_proxy.py")])
        try:
            clear_cache(proxy.port, *arguments) if expected == "MISS" else None
            assert proxy.get("/products").x_cache == expected
        finally:
            proxy.close()


def clear_cache(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `caching-proxy --clear-cache`."""
    run = "import sys; from springhouse.cli.main import caching_proxy; sys.argv[0] = 'caching-proxy'; caching_proxy()"
    command = [sys.executable, "-c", run, "--clear-cache", "--port", str(port), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment())


def test_the_ttl_ends(dummyjson: Origin) -> None:
    proxy = Process(
        "--origin",
        dummyjson.url,
        "--ttl",
        "1",
        "--store",
        "memory",
        command=[sys.executable, str(ROOT / "caching_proxy.py")],
    )
    try:
        assert [proxy.get("/products").x_cache for _ in range(2)] == ["MISS", "HIT"]
        end = time.monotonic() + 3
        while proxy.get("/products").x_cache == "HIT":
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        proxy.close()


def test_the_default_port_is_8000() -> None:
    from springhouse.settings import Settings

    assert Settings().port == 8000
    assert Settings().ttl == 60


@pytest.mark.parametrize("script", ["caching_proxy.py", "proxy_fastapi.py", "app/main.py"])
def test_scripts_say_what_is_missing(script: str) -> None:
    said = subprocess.run([sys.executable, "-S", str(ROOT / script)], check=False, capture_output=True, text=True)
    assert said.returncode == 1
    assert "pip install -r requirements.txt" in said.stderr


def test_fastapi_dev() -> None:
    """`fastapi dev app/main.py`, with CACHE_TTL and without an origin."""
    pytest.importorskip("fastapi_cli", reason="the FastAPI CLI is not installed")
    port = free_port()
    command = [sys.executable, "-m", "fastapi", "dev", "app/main.py", "--no-reload", "--port", str(port)]
    with Origin() as origin:
        origin.on("/data", answer(b"[1]", content_type="application/json"))
        started = subprocess.Popen(
            command, cwd=ROOT, env={**environment(), "CACHE_TTL": "7", "SPRINGHOUSE_ALLOW_PRIVATE": "true"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            reply = _await(port, f"/proxy?url={origin.url}/data")
            assert json.loads(reply.body) == {"success": True, "source": "upstream", "data": [1]}
            assert reply["Cache-Status"].endswith("stored; ttl=7")
            assert b"swagger-ui" in _await(port, "/docs").body
            assert _await(port, "/products").status == 404
        finally:
            started.terminate()
            started.wait(10)


def _await(port: int, target: str) -> object:
    from tests.support.client import Client

    end = time.monotonic() + 15
    while True:
        try:
            with Client(("127.0.0.1", port)) as client:
                return client.get(target)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.1)
