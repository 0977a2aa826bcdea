"""Fixtures that several tests of stores need."""

from tests.support.redis_server import redis_server, shared_redis

__all__ = ["redis_server", "shared_redis"]
