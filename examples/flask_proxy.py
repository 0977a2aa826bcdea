"""A Flask application that is a caching proxy, with something of your own in front of it.

ORIGIN=http://localhost:3000 gunicorn --worker-class gthread --threads 16 examples.flask_proxy:app
"""

import os

from flask import Flask, abort, request

from springhouse.wsgi import create_flask_app

app: Flask = create_flask_app(origin=os.environ.get("ORIGIN", "http://localhost:3000"), ttl=60)


def keep_out() -> None:
    """Refuse a path before the cache sees it."""
    if request.path.startswith("/internal"):
        abort(403)


app.before_request_funcs.setdefault(None, []).insert(0, keep_out)
