"""The same engine in other servers: ASGI, FastAPI, WSGI, Flask."""
