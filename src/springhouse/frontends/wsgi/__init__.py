"""The engine as a WSGI application, and as middleware around one."""
