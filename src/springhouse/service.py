"""Builds everything from the settings: the one place that knows all parts."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from secrets import token_hex

from springhouse.control.access import Objection, by_token
from springhouse.control.classic import ClassicEndpoint, ClassicOptions
from springhouse.control.purge_api import ControlEndpoint
from springhouse.engine.cache import Cache
from springhouse.engine.clock import Clock, wall
from springhouse.engine.engine import Engine
from springhouse.engine.ports import Peers, Upstream
from springhouse.http.fields import TAGS
from springhouse.rules.options import Options
from springhouse.settings import BadSettings, Settings
from springhouse.stores.errors import Unusable
from springhouse.stores.kinds import MEMORY, TierOptions, is_local, kind_of
from springhouse.stores.memory.records import Memory
from springhouse.stores.store import Store
from springhouse.stores.tier import Tier, Timing, is_never_hot
from springhouse.transport.outbox import Outbox
from springhouse.upstream.guard import public_addresses
from springhouse.upstream.limits import PoolLimits
from springhouse.upstream.pool import Pool
from springhouse.upstream.routing import Forwarding, Origin
from springhouse.wire.admission import Limits


def options_of(settings: Settings) -> Options:
    """Return what the rules read of the settings."""
    return Options(
        ttl=settings.ttl,
        force_ttl=settings.force_ttl,
        ttl_despite_credentials=settings.ttl_despite_credentials,
        ttl_despite_no_store=settings.ttl_despite_no_store,
        stale_if_error=settings.stale_if_error,
        set_cookie=settings.set_cookie,
        max_object=_max_object(settings),
        max_variants=settings.max_variants,
        withheld=0 if settings.expose_tags else TAGS,
    )


def engine_of(settings: Settings, clock: Clock = wall, *, instance: str = "", peers: Peers | None = None) -> Engine:
    """Return an engine for the settings' origin; see `forwarding_of` for the instance.

    `peers`: the other processes that share the port. What they ask of this one reaches it by `Cache.purge`.
    """
    origin = configured_origin(settings)
    pool = _pool_of(settings, origin, forwarding_of(settings, instance), clock)
    return _engine(settings, pool, origin, clock, peers=peers, outbox=pool.outbox)


def engine_over(settings: Settings, upstream: Upstream, origin: Origin, clock: Clock = wall) -> Engine:
    """Return an engine whose answers come from `upstream`, a wrapped application, under the name `origin`."""
    return _engine(settings, upstream, origin, clock)


def _engine(
    settings: Settings, upstream: Upstream, origin: Origin, clock: Clock, *,
    peers: Peers | None = None, outbox: Outbox | None = None,
) -> Engine:  # fmt: skip
    options = options_of(settings)
    cache = Cache(store=store_of(settings, options, clock), clock=clock, peers=peers)
    engine = Engine(cache, upstream, origin, options, outbox)
    engine.add_endpoint(ControlEndpoint(engine, _by_token(settings)))
    if settings.classic:
        _add_classic(engine, settings)
    return engine


def _by_token(settings: Settings) -> Objection:
    token = settings.token.get_secret_value()
    return lambda request: by_token(request, token)


_WAITING_LEAST = 32 * 2**20


def _max_object(settings: Settings) -> int:
    """Return how large an object may be: at most half of memory or of the disk, if it is kept there."""
    if settings.store == MEMORY:
        return min(settings.max_object, settings.memory // 2)
    return min(settings.max_object, settings.disk_size // 2) if is_local(settings.store) else settings.max_object


class CannotStore(BadSettings):
    """A store that cannot be used; the text says why."""


def store_of(settings: Settings, options: Options, clock: Clock) -> Store:
    """Return the settings' store. One with something behind memory is to be opened, which raises CannotStore."""
    if settings.store == MEMORY:
        return Store(Memory(settings.memory, options))
    memory = Memory(settings.memory - _waiting_max(settings), options)

    def open_tier() -> Tier:
        try:
            return tier_of(settings, clock, is_hot=memory.is_hot)
        except (Unusable, ValueError) as error:
            raise CannotStore(f"--store {settings.store}: {error}") from None

    return Store(memory, open_tier, whole_max=_whole_max(settings), timing=Timing(wall=clock))


def tier_of(settings: Settings, clock: Clock = wall, *, is_hot: Callable[[bytes], bool] = is_never_hot) -> Tier:
    """Return the tier behind memory, opened on the running loop. Raises Unusable and ValueError."""
    options = TierOptions(
        url=settings.store,
        loop=asyncio.get_running_loop(),
        wall=clock,
        is_hot=is_hot,
        origin=settings.origin,
        budget=settings.disk_size,
        whole_max=_whole_max(settings),
        waiting_max=_waiting_max(settings),
        variants_max=settings.max_variants,
        secret=settings.store_secret.get_secret_value().encode(),
        prefix=settings.store_prefix,
        patience=settings.store_timeout,
    )
    return kind_of(settings.store).open(options)


def _waiting_max(settings: Settings) -> int:
    """Return how many bytes of --memory may wait to be written: at least one of the largest that are put whole."""
    return min(max(_WAITING_LEAST, _whole_max(settings)), settings.memory // 4)


def _whole_max(settings: Settings) -> int:
    """Return how large content may be that is held in memory; larger is streamed to and from where it is stored."""
    return settings.memory // 32


def configured_origin(settings: Settings) -> Origin:
    """Return the settings' origin; without one, a name that is never asked: the classic endpoint answers everything."""
    return Origin.parse(settings.origin or "http://origin.invalid", preserve_host=settings.preserve_host)


def forwarding_of(settings: Settings, instance: str = "") -> Forwarding:
    """Return how requests are marked on their way: as having been through this instance, a new one by default."""
    return Forwarding(instance=(instance or new_instance()).encode(), trusted=settings.trusted_networks)


def new_instance() -> str:
    """Return a name for a proxy that no other has. Processes that are one proxy have one name."""
    return f"springhouse-{token_hex(6)}"


def _add_classic(engine: Engine, settings: Settings) -> None:
    """Let the engine answer the classic endpoints."""
    tls = _tls_of(settings)  # shared: all that is trusted takes half a megabyte

    def pool_for(origin: Origin, is_guarded: bool) -> Pool:
        resolve = public_addresses if is_guarded else None
        return Pool(
            origin, engine.upstream.forwarding, _pool_limits_of(settings), wall=engine.clock, tls=tls, resolve=resolve
        )

    options = ClassicOptions(
        ttl=settings.ttl,
        named=settings.allow_host,
        allows_private=settings.allow_private,
        token=settings.token.get_secret_value(),
        has_origin=bool(settings.origin) or not isinstance(engine.upstream, Pool),
    )
    gathered_max = min(settings.max_object, settings.memory // 4)  # it is wrapped in memory
    classic = ClassicEndpoint(engine, options, pool_for, gathered_max)
    engine.add_endpoint(classic)
    engine.translate = classic.translate


def request_limits_of(settings: Settings) -> Limits:
    """Return what a request may measure."""
    return Limits(
        target=settings.max_target, header=settings.max_header, fields=settings.max_fields, content=settings.max_body
    )


def _pool_of(settings: Settings, origin: Origin, forwarding: Forwarding, clock: Clock) -> Pool:
    return Pool(origin, forwarding, _pool_limits_of(settings), wall=clock, tls=_tls_of(settings))


def _pool_limits_of(settings: Settings) -> PoolLimits:
    return PoolLimits(
        connect=settings.connect_timeout,
        first_byte=settings.first_byte_timeout,
        between_bytes=settings.between_bytes_timeout,
        total=settings.total_timeout,
        unattended=settings.unattended_timeout,
        connections=settings.origin_connections,
        idle=settings.origin_idle,
    )


def _tls_of(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if settings.origin_ca is not None:
        context.load_verify_locations(settings.origin_ca)
    return context


def own_authorities(settings: Settings, port: int, origin: Origin) -> frozenset[bytes]:
    """Return the authorities under which the proxy may be addressed in absolute form."""
    hosts = {"localhost", "127.0.0.1", "[::1]", socket.gethostname().lower(), settings.host.lower()}
    names = {f"{host}:{port}" for host in hosts} | (hosts if port == 80 else set())
    return frozenset(name.encode() for name in names) | {origin.authority}


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new uvloop, or the standard loop where uvloop does not exist."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
