"""HTTP caching (RFC 9111), a file per section. Pure: time is an argument, nothing here does I/O."""
