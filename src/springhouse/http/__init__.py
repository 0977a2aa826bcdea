"""The vocabulary of HTTP (RFC 9110, 9112): fields, messages, dates, ranges. It knows nothing of caching."""
