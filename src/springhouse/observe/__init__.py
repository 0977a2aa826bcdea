"""What happened, for people and programs to read: the access log."""
