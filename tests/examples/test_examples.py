"""The examples do what they say."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.frontends.calling import call, call_wsgi
from tests.support.answers import answer

if TYPE_CHECKING:
    from tests.support.origin import Origin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, origin: Origin) -> Any:
    """Return a function that imports an example, with the origin for those that want one."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("ORIGIN", origin.url)

    def load(name: str) -> Any:
        sys.modules.pop(f"examples.{name}", None)
        return importlib.import_module(f"examples.{name}")

    return load


def test_mounted(example: Any, origin: Origin) -> None:
    origin.on("/pro%2Fducts?limit=2", answer(b"products"))
    module = example("mounted")

    async def ask() -> list[Any]:
        targets = ["/hello", "/api/pro%2Fducts?limit=2", "/api/pro%2Fducts?limit=2"]
        replies = [await call(module.app, "GET", target) for target in targets]
        module.cached.state.springhouse.close()
        await asyncio.sleep(0.01)
        return replies

    own, first, second = asyncio.run(ask())
    assert own.body == b'{"hello":"world"}'
    assert (first.body, first.x_cache, second.x_cache) == (b"products", "MISS", "HIT")


def test_fastapi_middleware(example: Any) -> None:
    app = example("fastapi_middleware").app

    async def ask() -> tuple[list[str | None], bytes, str | None]:
        before = [(await call(app, "GET", target)).x_cache for target in ("/report", "/report", "/now", "/now")]
        return before, (await call(app, "POST", "/changed")).body, (await call(app, "GET", "/report")).x_cache

    assert asyncio.run(ask()) == (["MISS", "HIT", "MISS", "MISS"], b'{"purged":1}', "MISS")


def test_flask_extension(example: Any) -> None:
    module = example("flask_extension")
    assert [call_wsgi(module.app, "GET", "/report").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert call_wsgi(module.app, "POST", "/changed").body == b'{"purged":1}\n'
    assert call_wsgi(module.app, "GET", "/report").x_cache == "MISS"
    module.cache.close()


def test_flask_proxy(example: Any, origin: Origin) -> None:
    origin.on("/products", answer(b"products"))
    app = example("flask_proxy").app
    assert [call_wsgi(app, "GET", "/products").x_cache for _ in range(2)] == ["MISS", "HIT"]
    assert call_wsgi(app, "GET", "/internal/x").status == 403
    app.extensions["springhouse"].close()
