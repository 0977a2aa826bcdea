"""What the proxy answers itself: purging, and the classic endpoints."""
