"""Serves the control socket: a listener apart from clients, whose requests go to the control endpoint alone."""

import os
import socket

from springhouse.control.access import by_control
from springhouse.control.purge_api import ControlEndpoint, ProxyIdentity
from springhouse.engine.engine import Engine
from springhouse.server.listener import Server, ServerLimits
from springhouse.service import address_of, own_authorities
from springhouse.settings import Settings

CONNECTIONS = 64
"""A limit of its own: the proxy can be controlled when clients have taken all of theirs."""


async def serve_control(engine: Engine, listener: socket.socket, settings: Settings, port: int) -> Server:
    """Take orders for an engine from a socket that listens. `port`: the one that clients reach the proxy at."""
    names = own_authorities(settings, port, engine.origin)
    reached = os.path.abspath(settings.unix_socket) if settings.unix_socket is not None else address_of(settings, port)
    identity = ProxyIdentity(listens_on=reached, names=names, serves=settings.origin)
    endpoint = ControlEndpoint(engine, by_control, identity)
    server = Server(engine, ServerLimits(connections=CONNECTIONS), local=endpoint)
    await server.listen_on((listener,))
    return server
