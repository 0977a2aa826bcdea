"""One worker of several, as a program: `python -m springhouse.server.worker DESCRIPTOR`, started by the supervisor.

It does what `single_process.serve` does, on the orders of the supervisor (see `channel`).
"""

import asyncio
import os
import signal
import socket
import sys

from springhouse.endpoint import CannotListen, Endpoint
from springhouse.server.channel import (
    Accept,
    Answered,
    Apply,
    Channel,
    Drain,
    Listening,
    Message,
    Start,
    Unable,
)
from springhouse.server.control import serve_control
from springhouse.server.listener import Server
from springhouse.server.peers import WorkerPeers
from springhouse.server.single_process import drain_and_report, limits_of, open_log, reopen_on_hangup, tune_collector
from springhouse.service import CannotStore, engine_of, new_event_loop, own_authorities
from springhouse.settings import settings_from_json
from springhouse.stores.store import Scope


class Orders:
    """What the supervisor says: orders, taken one by one, and messages from the peers, passed on at once."""

    def __init__(self) -> None:
        self.peers = WorkerPeers(self.answer)
        self._orders: asyncio.Queue[Start | Accept | Drain] = asyncio.Queue()
        self._channel: Channel | None = None

    async def listen(self, channel: socket.socket) -> None:
        """Take orders from a socket, and SIGTERM as the order to drain."""
        os.dup(channel.fileno())  # never closed: the supervisor sees the channel end only when this process has gone
        self._channel = await Channel.over(channel, self._received, self._ended)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._orders.put_nowait, Drain())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    async def next(self) -> Start | Accept | Drain:
        """Return the next order; it is to drain when the supervisor has gone."""
        return await self._orders.get()

    def answer(self, message: Message) -> None:
        """Say something to the supervisor."""
        if self._channel is not None:
            self._channel.send(message)

    def _received(self, message: Message) -> None:
        match message:
            case Apply() | Answered():
                self.peers.received(message)
            case Start() | Accept() | Drain():
                self._orders.put_nowait(message)
            case _:
                raise AssertionError(f"{type(message).__name__} is not for the supervisor to say")

    def _ended(self) -> None:
        self.peers.ended()
        self._orders.put_nowait(Drain())


def run_worker(argv: list[str]) -> None:
    """Run a worker until it is ordered to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel = socket.socket(fileno=int(argv[1]))
    channel.set_inheritable(False)
    tune_collector()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(work(channel))


async def work(channel: socket.socket) -> None:
    """Take connections from `Accept` to `Drain`."""
    orders = Orders()
    await orders.listen(channel)
    start = await orders.next()
    if not isinstance(start, Start):
        return
    try:
        await _serve(start, orders)
    except (CannotListen, CannotStore) as problem:
        orders.answer(Unable(str(problem)))


async def _serve(start: Start, orders: Orders) -> None:
    settings = settings_from_json(start.settings)
    engine = engine_of(settings, instance=start.instance, peers=orders.peers)
    orders.peers.on_purge = lambda purge, dry_run, answered: engine.cache.purge(
        purge, answered, scope=Scope.HERE, dry_run=dry_run
    )
    access_log = open_log(settings)
    try:
        engine.open()
        reopen_on_hangup(access_log)
        endpoint = Endpoint.inherit(start.sockets, settings.host, is_guard=not start.is_shared)
        control = Endpoint.inherit((start.control,)) if start.control is not None else None
        server = Server(engine, limits_of(settings), access_log=access_log)
        server.names_of_ours = own_authorities(settings, endpoint.port or settings.port, engine.origin)
        orders.answer(Listening())
        beside: list[Server] = []
        if isinstance(await orders.next(), Accept):
            await server.listen(endpoint)
            if control is not None:
                beside.append(await serve_control(engine, control, settings, endpoint))
            await orders.next()
        await drain_and_report(server, settings.drain_timeout, *beside)
    finally:
        engine.close()
        if access_log is not None:
            access_log.close()


if __name__ == "__main__":
    run_worker(sys.argv)
