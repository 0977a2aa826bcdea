"""The caching proxy as a FastAPI application:  fastapi dev app/main.py

CACHE_TTL sets the seconds that responses are kept (60). SPRINGHOUSE_ORIGIN names the server to fetch from; without
one, /proxy?url=… fetches any public URL. Every other setting is a variable, too: see docs/settings.md.
"""

import sys

try:
    from springhouse.asgi import create_fastapi_app
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed. In the folder above this one, run:  pip install -r requirements.txt")

app = create_fastapi_app(classic=True)
