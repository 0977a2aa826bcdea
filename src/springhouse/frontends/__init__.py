"""The same engine in other servers: two wings alike, ASGI and WSGI, and what they share.

Applications import them from `springhouse.asgi` and `springhouse.wsgi`. Each wing has, from the bottom to the top:
`bridge` (between the server and an exchange), `proxy` (an origin behind the cache), `upstream` and `middleware` (an
application behind the cache), `framework` (FastAPI, Flask) and `server` (uvicorn, gunicorn).
"""
