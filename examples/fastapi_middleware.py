"""A FastAPI application whose own responses are cached, as their Cache-Control says.

uvicorn examples.fastapi_middleware:app
"""

import time

from fastapi import FastAPI, Response

from springhouse.frontends.asgi.middleware import ASGICacheMiddleware

app = FastAPI()


@app.get("/report")
def report(response: Response) -> dict[str, float]:
    """Make a report that takes long: once in thirty seconds, and in the background for half a minute after."""
    response.headers["Cache-Control"] = "max-age=30, stale-while-revalidate=30"
    time.sleep(0.2)
    return {"made_at": time.time()}


@app.get("/now")
def now() -> dict[str, float]:
    """Say nothing about caching: this is never kept."""
    return {"now": time.time()}


app.add_middleware(ASGICacheMiddleware)
