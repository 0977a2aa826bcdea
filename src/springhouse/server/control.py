"""Serves the control socket: a listener apart from clients, whose requests go to the control endpoint alone."""

import os

from springhouse.control.access import by_control
from springhouse.control.purge_api import ControlEndpoint, ProxyIdentity
from springhouse.endpoint import Endpoint
from springhouse.engine.engine import Engine
from springhouse.server.limits import ServerLimits
from springhouse.server.listener import Server
from springhouse.service import own_authorities
from springhouse.settings import Settings

CONNECTIONS = 64
"""A limit of its own: the proxy can be controlled when clients have taken all of theirs."""


async def serve_control(engine: Engine, control: Endpoint, settings: Settings, clients: Endpoint) -> Server:
    """Take orders for an engine at an endpoint of its own. `clients`: where clients reach the proxy."""
    names = own_authorities(settings, clients.port, engine.origin)
    reached = os.path.abspath(clients.path) if clients.path is not None else clients.url
    identity = ProxyIdentity(listens_on=reached, names=names, serves=settings.origin)
    server = Server(engine, ServerLimits(connections=CONNECTIONS), local=ControlEndpoint(engine, by_control, identity))
    await server.listen(control)
    return server
