"""Builds everything from the settings: the one place that knows all parts."""

import socket
import ssl
from secrets import token_hex

from springhouse.engine.clock import Clock, wall
from springhouse.engine.driver import Engine
from springhouse.rules.options import Options
from springhouse.settings import Settings
from springhouse.stores.memory import MemoryStore
from springhouse.upstream.pool import Pool, PoolLimits
from springhouse.upstream.routing import Forwarding, Origin


def options_of(settings: Settings) -> Options:
    """Return what the rules read of the settings."""
    return Options(
        ttl=settings.ttl,
        force_ttl=settings.force_ttl,
        ttl_despite_credentials=settings.ttl_despite_credentials,
        ttl_despite_no_store=settings.ttl_despite_no_store,
        set_cookie=settings.set_cookie,
        # An object never takes more than half of the store.
        max_object=min(settings.max_object, settings.memory // 2),
        max_variants=settings.max_variants,
    )


def engine_of(settings: Settings, clock: Clock = wall) -> Engine:
    """Return an engine for the settings' origin."""
    options = options_of(settings)
    origin = Origin.parse(settings.origin, preserve_host=settings.preserve_host)
    pool = Pool(
        origin,
        Forwarding(instance=f"springhouse-{token_hex(6)}".encode(), trusted=settings.trusted_networks),
        PoolLimits(
            connect=settings.connect_timeout,
            first_byte=settings.first_byte_timeout,
            between_bytes=settings.between_bytes_timeout,
            total=settings.total_timeout,
            connections=settings.origin_connections,
            idle=settings.origin_idle,
        ),
        wall=clock,
        tls=_tls_of(settings),
    )
    store = MemoryStore(settings.memory, options)
    return Engine(store=store, pool=pool, origin=origin, options=options, clock=clock, outbox=pool.outbox)


def _tls_of(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if settings.origin_ca is not None:
        context.load_verify_locations(settings.origin_ca)
    return context


def names_of(settings: Settings, port: int, origin: Origin) -> frozenset[bytes]:
    """Return the authorities under which the proxy may be addressed in absolute form."""
    hosts = {"localhost", "127.0.0.1", "[::1]", socket.gethostname().lower(), settings.host.lower()}
    names = {f"{host}:{port}" for host in hosts} | (hosts if port == 80 else set())
    return frozenset(name.encode() for name in names) | {origin.authority}
