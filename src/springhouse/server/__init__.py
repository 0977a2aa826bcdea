"""Our own HTTP/1.1 server: connections, listening, draining, and several processes on one port."""
