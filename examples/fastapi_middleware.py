"""A FastAPI application whose own responses are cached, as their Cache-Control says.

uvicorn examples.fastapi_middleware:app
"""

import time

from fastapi import FastAPI, Request, Response

from springhouse.asgi import CacheMiddleware

app = FastAPI()


@app.get("/report")
def report(response: Response) -> dict[str, float]:
    """Make a report that takes long: once in thirty seconds, and in the background for half a minute after."""
    response.headers["Cache-Control"] = "max-age=30, stale-while-revalidate=30"
    time.sleep(0.2)
    return {"made_at": time.time()}


@app.post("/changed")
async def changed(request: Request) -> dict[str, int]:
    """Purge the report when the data behind it has changed."""
    purged = await request.scope["springhouse"].purge(url="/report")
    return {"purged": purged.entries}


@app.get("/now")
def now() -> dict[str, float]:
    """Say nothing about caching: this is never kept."""
    return {"now": time.time()}


app.add_middleware(CacheMiddleware)
