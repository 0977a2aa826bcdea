"""A FastAPI application of your own, with the cache in front of another service mounted under /api.

ORIGIN=http://localhost:3000 uvicorn examples.mounted:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from springhouse.asgi import create_fastapi_app

cached = create_fastapi_app(origin=os.environ.get("ORIGIN", "http://localhost:3000"), ttl=60)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the cache's connections at the end: mounted applications get no event."""
    yield
    cached.state.springhouse.close()


app = FastAPI(lifespan=lifespan)


@app.get("/hello")
def hello() -> dict[str, str]:
    """Answer a route of your own."""
    return {"hello": "world"}


app.mount("/api", cached)
