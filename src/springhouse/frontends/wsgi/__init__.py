"""The WSGI wing: an origin, or an application, behind the cache in a WSGI server; see `springhouse.wsgi`."""
