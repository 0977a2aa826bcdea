"""The caching proxy on FastAPI: python proxy_fastapi.py --origin URL [--port 8000] [--ttl 60]

It is `springhouse serve --classic --frontend fastapi`.
"""

import sys

try:
    from springhouse.cli.main import caching_proxy
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed. In the folder of this script, run:  pip install -r requirements.txt")

if __name__ == "__main__":
    caching_proxy(frontend="fastapi")
