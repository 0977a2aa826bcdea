"""What `/docs` and `/openapi.json` show: the classic endpoints, described once, and Swagger UI from our own files."""

from functools import cache
from importlib.resources import files
from typing import Any

from msgspec import json

from springhouse import __version__

_INIT = b"""window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: "none",
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Springhouse</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the same is described in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/init.js"></script>
</body>
</html>
"""
POLICY = (
    b"default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    b"style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: nothing from elsewhere, and no page may frame it."""

_TYPES = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8"}
_ASSETS = {b"/docs/swagger-ui.css": "swagger-ui.css", b"/docs/swagger-ui-bundle.js": "swagger-ui-bundle.js"}
PATHS = frozenset({b"/docs", b"/docs/init.js", b"/openapi.json", *_ASSETS})


@cache
def page(path: bytes) -> tuple[bytes, bytes]:
    """Return the content type and bytes of one of PATHS."""
    if path == b"/docs":
        return b"text/html; charset=utf-8", _PAGE
    if path == b"/docs/init.js":
        return _TYPES["js"], _INIT
    if path == b"/openapi.json":
        return b"application/json", json.encode(document())
    name = _ASSETS[path]
    asset = files("springhouse").joinpath("assets", "swagger-ui", name)
    return _TYPES[name.rpartition(".")[2]], asset.read_bytes()


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _error(description: str) -> dict[str, Any]:
    return _answer(description, _ref("Failure"))


_FORBIDDEN = _error("Neither from the proxy's own machine nor with its token, or from a page of another site.")
_CLEARED = {"200": _answer("The cache is empty.", _ref("Cleared")), "403": _FORBIDDEN}
_SECURITY: list[dict[str, list[str]]] = [{}, {"token": []}]

_PATHS: dict[str, Any] = {
    "/proxy": {
        "get": {
            "summary": "Fetch a URL through the cache",
            "description": "Successful answers are kept for exactly the TTL. Redirects are not followed.",
            "tags": ["Classic endpoints"],
            "operationId": "proxy",
            "parameters": [
                {
                    "name": "url",
                    "in": "query",
                    "required": True,
                    "description": "A URL, or a path of the origin, such as `products`.",
                    "schema": {"type": "string", "format": "uri-reference", "minLength": 1},
                    "example": "products",
                }
            ],
            "responses": {
                "200": _answer("What the upstream answered.", _ref("Proxied")),
                "400": _error("The url is malformed."),
                "403": _error("The url leads where this proxy does not fetch from."),
                "422": _error("There is no url."),
                "4XX": _error("The upstream's own answer, when it says the request is wrong."),
                "502": _error("The upstream is broken, cannot be reached, or redirects."),
                "503": _error("Too many requests are waiting for the upstream."),
                "504": _error("The upstream is late."),
            },
        }
    },
    "/cache": {
        "delete": {
            "summary": "Clear the cache",
            "tags": ["Classic endpoints"],
            "operationId": "deleteCache",
            "security": _SECURITY,
            "responses": _CLEARED,
        }
    },
    "/clear-cache": {
        "get": {
            "summary": "Clear the cache, from a browser's address bar",
            "tags": ["Classic endpoints"],
            "operationId": "clearCache",
            "security": _SECURITY,
            "responses": _CLEARED,
        }
    },
}

_SCHEMAS: dict[str, Any] = {
    "Proxied": {
        "type": "object",
        "required": ["success", "source", "data"],
        "properties": {
            "success": {"type": "boolean", "const": True},
            "source": {"type": "string", "enum": ["cache", "upstream"]},
            "data": {
                "description": "JSON as it is; text as a string; anything else as {content_type, base64}.",
                "examples": [{"products": [{"id": 1, "title": "Spring water"}]}],
            },
        },
    },
    "Cleared": {
        "type": "object",
        "required": ["success", "message"],
        "properties": {
            "success": {"type": "boolean", "const": True},
            "message": {"type": "string", "const": "Cache cleared successfully"},
        },
    },
    "Failure": {
        "type": "object",
        "required": ["success", "error"],
        "properties": {
            "success": {"type": "boolean", "const": False},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def document() -> dict[str, Any]:
    """Return the OpenAPI description of the classic endpoints."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Springhouse",
            "version": __version__,
            "summary": "An HTTP caching proxy",
            "description": "Every other path is answered by the origin, through the cache; `X-Cache` says how.",
        },
        "servers": [{"url": ".", "description": "This proxy"}],
        "tags": [{"name": "Classic endpoints"}],
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "What `--token` says."},
            },
        },
    }
