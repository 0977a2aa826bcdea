"""A Flask application whose own responses are cached, as their Cache-Control says.

gunicorn --worker-class gthread --threads 16 examples.flask_extension:app
"""

import time

from flask import Flask, Response, jsonify, url_for

from springhouse.wsgi import SpringhouseCache

app = Flask(__name__)
cache = SpringhouseCache(app)


@app.get("/report")
def report() -> Response:
    """Make a report that takes long: once in thirty seconds."""
    time.sleep(0.2)
    response = jsonify(made_at=time.time())
    response.cache_control.max_age = 30
    return response


@app.post("/changed")
def changed() -> dict[str, int]:
    """Purge the report when the data behind it has changed."""
    return {"purged": cache.purge(url=url_for("report")).entries}
