"""Springhouse, an HTTP caching proxy."""

__version__ = "0.1.0"
