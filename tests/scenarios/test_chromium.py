"""A browser loads a page with a script, a style and an image through the proxy."""

from __future__ import annotations

import struct
import subprocess
import zlib
from typing import TYPE_CHECKING

from tests.support.answers import answer, validated
from tests.support.command import tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.origin import Origin
    from tests.support.proxy import Proxy

PAGE = b"""<!doctype html><title>Spring</title><link rel="stylesheet" href="/style.css"><p id="said">nothing</p>
<img id="image" src="/image.png"><script src="/script.js"></script>"""
SCRIPT = b"""
const image = document.getElementById("image");
const tell = async () => {
  const posted = await (await fetch("/echo", {method: "POST", body: "water"})).text();
  const answers = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((n) => fetch("/data?" + n)));
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  const color = getComputedStyle(document.getElementById("said")).color;
  document.getElementById("said").textContent =
    [image.naturalWidth, color, posted, texts.join("+")].join(" | ");
};
image.complete ? tell() : (image.onload = tell);
"""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000",
]  # fmt: skip
EXPECTED = "3 | rgb(1, 2, 3) | water | " + "+".join(["x" * 20_000] * 8)


def png(width: int, height: int) -> bytes:
    """Return a grey image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def prepare(origin: Origin) -> None:
    """Put a small site on the origin."""
    fresh = "max-age=60"
    origin.on("/", validated(PAGE, '"page"', content_type="text/html", cache_control="no-cache"))
    origin.on("/script.js", answer(SCRIPT, content_type="text/javascript", cache_control=fresh, vary="Accept-Encoding"))
    origin.on("/style.css", answer(b"p { color: rgb(1, 2, 3) }", content_type="text/css", cache_control=fresh))
    origin.on("/image.png", answer(png(3, 2), content_type="image/png", cache_control=fresh))
    origin.on("/data", answer(b"x" * 20_000, framing="chunked", content_type="text/plain", cache_control=fresh))
    origin.on("/favicon.ico", answer(b"", 404))
    origin.on("/echo", answer(b"water", content_type="text/plain"))


def load(proxy: Proxy, folder: Path) -> str:
    """Load the page in a browser that has seen nothing yet, and return what became of it."""
    ran = subprocess.run(
        [tool("chromium", "chromium-browser", "google-chrome"), *FLAGS, f"--user-data-dir={folder}",
         "--dump-dom", f"http://{proxy.authority}/"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_page_with_all_that_belongs_to_it(origin: Origin, proxy: Proxy, tmp_path: Path) -> None:
    prepare(origin)
    assert EXPECTED in load(proxy, tmp_path / "first")
    once = {target: origin.count(target) for target in ("/script.js", "/style.css", "/image.png", "/data?1", "/data?8")}
    assert set(once.values()) == {1}
    assert EXPECTED in load(proxy, tmp_path / "second")  # another visitor
    assert {target: origin.count(target) for target in once} == once
    assert origin.seen("/")[-1].get("If-None-Match") == '"page"'
