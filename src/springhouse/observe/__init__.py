"""What happened: the access log."""
