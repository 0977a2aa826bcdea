"""What the proxy answers itself: purging, and the classic endpoints.

Each is a `LocalEndpoint`: `purge_api.ControlEndpoint` on the clients' port and on the control socket, and
`classic.ClassicEndpoint` with `--classic`. `access` decides who may change anything.
"""
