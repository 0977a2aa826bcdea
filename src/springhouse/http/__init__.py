"""The vocabulary of HTTP (RFC 9110, 9112); knows nothing of caching."""
