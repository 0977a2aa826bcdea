"""What tests on real sockets share: a scriptable origin, a running proxy, a client that sends any bytes."""
