"""How much of a reply may wait until another server takes it."""

PENDING_MAX = 256 * 1024
"""Bytes from which on their sender is paused."""
JOINED_MAX = 1024
"""Pieces smaller than this are joined: many small ones would take far more memory than their content."""
