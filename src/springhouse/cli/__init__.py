"""The command line: `springhouse` and `caching-proxy`. The entry points are in `main`."""
