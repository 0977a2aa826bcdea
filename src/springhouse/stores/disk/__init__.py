"""Entries on this machine's disk: SQLite, and plain files for large content."""
