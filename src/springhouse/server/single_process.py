"""Runs the native server in this process until a signal ends it."""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable

from springhouse import control_socket
from springhouse.endpoint import CannotListen, Endpoint
from springhouse.observe.accesslog import AccessLog
from springhouse.server.control import serve_control
from springhouse.server.limits import ClientTimeouts, ServerLimits
from springhouse.server.listener import Server
from springhouse.server.supervisor import supervise
from springhouse.service import engine_of, new_event_loop, own_authorities, request_limits_of
from springhouse.settings import Settings

Announce = Callable[[str], None]
"""Is told where the server listens, once it does: a URL, or the path of a Unix socket."""


def limits_of(settings: Settings) -> ServerLimits:
    """Return what clients may do."""
    return ServerLimits(
        request=request_limits_of(settings),
        timeouts=ClientTimeouts(
            header=settings.header_timeout,
            content=settings.body_timeout,
            idle=settings.idle_timeout,
            send=settings.send_timeout,
            half_close=settings.half_close_timeout,
            rate=settings.min_rate,
        ),
        connections=settings.max_connections,
    )


def run(settings: Settings, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises CannotListen."""
    if settings.workers > 1:
        supervise(settings, announce)
        return
    tune_collector()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(settings, announce))


def tune_collector() -> None:
    """Let the cyclic collector look less often, and at everything only when no request waits (see `Server`).

    Requests leave no cycles, and a full look at a large store takes long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000_000)


async def serve(settings: Settings, announce: Announce) -> None:
    """Serve in the running loop; see `run`."""
    engine = engine_of(settings)
    access_log = open_log(settings)
    server = Server(engine, limits_of(settings), access_log=access_log)
    control: Endpoint | None = None
    try:
        engine.open()
        reopen_on_hangup(access_log)
        endpoint = Endpoint.open(settings.host, settings.port, settings.unix_socket)
        server.names_of_ours = own_authorities(settings, endpoint.port or settings.port, engine.origin)
        await server.listen(endpoint)
        control = control_socket.opened(endpoint.url)
        beside = [await serve_control(engine, control, settings, endpoint)] if control is not None else []
        announce(endpoint.url)
        await _signalled()
        if control is not None:
            control.remove()
        await drain_and_report(server, settings.drain_timeout, *beside)
    finally:
        if control is not None:
            control.close()
        engine.close()
        if access_log is not None:
            access_log.close()


def reopen_on_hangup(access_log: AccessLog | None) -> None:
    """Let SIGHUP reopen the access log, as log rotation wants it, and do nothing else."""
    if hasattr(signal, "SIGHUP"):
        reopen = access_log.reopen if access_log is not None else lambda: None
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reopen)


async def drain_and_report(server: Server, seconds: float, *beside: Server) -> None:
    """Drain the server, and those beside it, and say how many connections were too late."""
    late = await server.drain(seconds, *beside)
    if late:
        print(f"springhouse: {late} connections were broken off after {seconds:g} s", file=sys.stderr)


def open_log(settings: Settings) -> AccessLog | None:
    """Return the access log, if there is to be one. Raises CannotListen."""
    if not settings.access_log:
        return None
    try:
        return AccessLog(settings.access_log, settings.access_log_format)
    except OSError as error:
        raise CannotListen(f"Cannot write the access log {settings.access_log}: {error.strerror}") from None


async def _signalled() -> None:
    """Wait for SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def first() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, first)
        except NotImplementedError:  # Windows: Ctrl-C cancels the runner instead
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
