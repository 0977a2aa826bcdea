"""The ASGI wing: an origin, or an application, behind the cache in an ASGI server; see `springhouse.asgi`."""
