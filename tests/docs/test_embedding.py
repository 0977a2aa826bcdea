"""What the pages about embedding show works, and needs no more than the public face."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.frontends.calling import call, call_wsgi
from tests.frontends.together import Process
from tests.support.answers import answer

import springhouse
import springhouse.asgi
import springhouse.wsgi

if TYPE_CHECKING:
    from types import ModuleType

    from tests.support.origin import Origin

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {"springhouse", "springhouse.asgi", "springhouse.wsgi"}
FASTAPI, FLASK = ROOT / "docs" / "embed-fastapi.md", ROOT / "docs" / "embed-flask.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks of code."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


SHOWN = [(page.name, code) for page in PAGES for code in blocks(page, "python")]
EXAMPLES = [*(ROOT / "examples").glob("*.py"), ROOT / "app" / "main.py"]
SHOWN += [(path.name, path.read_text("utf-8")) for path in EXAMPLES]


def test_something_is_shown() -> None:
    assert {"embed-fastapi.md", "embed-flask.md", "mounted.py", "main.py"} <= {name for name, _ in SHOWN}


@pytest.mark.parametrize(("name", "code"), SHOWN, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SHOWN)])
def test_what_is_shown_imports_the_public_face_alone(name: str, code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        ours = {module for module in modules if module and module.partition(".")[0] == "springhouse"}
        assert ours <= PUBLIC, name


@pytest.mark.parametrize(
    ("module", "page"), [(springhouse.asgi, FASTAPI), (springhouse.wsgi, FLASK)], ids=["asgi", "wsgi"]
)
def test_every_public_name_exists_and_is_described(module: ModuleType, page: Path) -> None:
    for name in module.__all__:
        assert getattr(module, name).__doc__, name
        assert name in page.read_text("utf-8"), name


def test_both_wings_have_the_same_names() -> None:
    wings = [{re.sub(r"ASGI|WSGI|asgi|wsgi|fastapi|flask", "*", name) for name in wing.__all__}
             for wing in (springhouse.asgi, springhouse.wsgi)]  # fmt: skip
    assert wings[1] - wings[0] == {"SpringhouseCache"}
    assert wings[0] - wings[1] == set()


def test_what_is_not_there_is_an_attribute_error() -> None:
    for module in (springhouse, springhouse.asgi, springhouse.wsgi):
        assert not hasattr(module, "nothing")
    assert springhouse.Settings(ttl=1).ttl == 1


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("springhouse", ("pydantic", "asyncio", "springhouse.settings")),
        ("springhouse.asgi", ("fastapi", "uvicorn", "flask")),
        ("springhouse.wsgi", ("fastapi", "uvicorn", "flask", "gunicorn")),
    ],
)
def test_importing_it_imports_no_framework(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*(set({absent!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def run(code: str, origin: Origin) -> dict[str, Any]:
    """Run a block of a page, with another origin."""
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(code.replace("http://localhost:3000", origin.url), "shown", "exec", dont_inherit=True), names)
    return names


def test_the_fastapi_application_is_cached_and_purges(origin: Origin) -> None:
    app = run(blocks(FASTAPI, "python")[0], origin)["app"]

    async def ask() -> tuple[list[str | None], bytes, str | None]:
        before = [(await call(app, "GET", "/report")).x_cache for _ in range(2)]
        return before, (await call(app, "POST", "/changed")).body, (await call(app, "GET", "/report")).x_cache

    assert asyncio.run(ask()) == (["MISS", "HIT"], b'{"purged":1}', "MISS")


def test_the_mounted_proxy_caches(origin: Origin) -> None:
    origin.on("/products", answer(b"products"))
    app = run(blocks(FASTAPI, "python")[1], origin)["app"]

    async def ask() -> list[str | None]:
        said = [(await call(app, "GET", "/api/products")).x_cache for _ in range(2)]
        app.routes[-1].app.state.springhouse.close()
        await asyncio.sleep(0.01)
        return said

    assert asyncio.run(ask()) == ["MISS", "HIT"]


def test_the_flask_application_is_cached_and_purges(origin: Origin) -> None:
    shown = run(blocks(FLASK, "python")[0], origin)
    app = shown["app"]
    try:
        assert [call_wsgi(app, "GET", "/report").x_cache for _ in range(2)] == ["MISS", "HIT"]
        assert call_wsgi(app, "POST", "/changed").body == b'{"purged":1}\n'
        assert call_wsgi(app, "GET", "/report").x_cache == "MISS"
    finally:
        shown["cache"].close()


def test_the_wrapped_wsgi_application_is_cached(origin: Origin) -> None:
    app = run(blocks(FLASK, "python")[1], origin)["app"]
    app.add_url_rule("/a", view_func=lambda: "x")
    try:
        assert [call_wsgi(app, "GET", "/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        app.wsgi_app.close()


def test_the_flask_proxy_caches(origin: Origin) -> None:
    origin.on("/products", answer(b"products"))
    app = run(blocks(FLASK, "python")[2], origin)["app"]
    try:
        assert [call_wsgi(app, "GET", "/products").x_cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        app.extensions["springhouse"].close()


@pytest.mark.parametrize("page", [FASTAPI, FLASK], ids=["fastapi", "flask"])
def test_the_command_serves(page: Path, origin: Origin) -> None:
    origin.on("/products", answer(b"products"))
    (command,) = [block for block in blocks(page, "bash") if block.startswith("springhouse serve ")]
    arguments = shlex.split(command.replace("http://localhost:3000", origin.url))[2:]
    proxy = Process(*arguments)
    try:
        assert [proxy.get("/products").x_cache for _ in range(2)] == ["MISS", "HIT"]
    finally:
        proxy.close()
