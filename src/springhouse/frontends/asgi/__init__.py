"""The engine as an ASGI application, and as middleware around one."""
