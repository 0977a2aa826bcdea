"""`--workers N`: several processes that share the port, and the supervisor that keeps them running.

The supervisor serves nothing. It starts the workers as new programs (a fork would copy locks and threads in whatever
state they are), gives each its settings over a channel, and starts another for one that has died. A worker's end of
the channel is closed by the kernel when the worker has gone, and not before; so the end of the channel is how its
death is noticed. The other way round, workers drain when the supervisor's end closes, even by `kill -9`.

SIGINT and SIGTERM are for the supervisor. Workers ignore SIGINT, which a terminal sends to all, and a worker that
gets SIGTERM drains and is replaced.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from springhouse import control_socket
from springhouse.endpoint import CannotListen, Endpoint
from springhouse.server.channel import Accept, Applied, Ask, Channel, Drain, Listening, Message, Start, Unable
from springhouse.server.peers import APPLY_S
from springhouse.server.purge_relay import PurgeRelay
from springhouse.service import new_instance
from springhouse.settings import Settings, settings_to_json

START_S = 60.0
"""How long a worker may take until it listens."""
LATE_S = 8.0
"""How long after the drain time-out a worker is given to close its store and go."""
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.5, 10.0
WELL_S = 30.0
"""A worker that lived so long was well: when it dies, its successor waits as little as the first one did."""


class Backoff:
    """How long the successor of a worker that died has to wait."""

    def __init__(self) -> None:
        self._next = BACKOFF_MIN_S

    def after(self, lived: float) -> float:
        """Return the seconds to wait after a worker that lived for so many seconds."""
        wait = BACKOFF_MIN_S if lived >= WELL_S else self._next
        self._next = min(2 * wait, BACKOFF_MAX_S)
        return wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the supervisor starts: so many workers, each with this command and these settings (JSON)."""

    workers: int
    settings: bytes
    endpoint: Endpoint
    instance: str
    command: tuple[str, ...]
    control: Endpoint | None = None
    apply_s: float = APPLY_S

    def close(self) -> None:
        """Hold the address, and the control socket, no longer."""
        self.endpoint.close()
        if self.control is not None:
            self.control.close()

    def start(self) -> Start:
        """Return what a worker is to begin with."""
        control = self.control.descriptors[0] if self.control is not None else None
        is_shared = not self.endpoint.is_guard
        return Start(self.settings, self.endpoint.descriptors, is_shared, self.instance, control)


class Worker:
    """One process. `place` is which of the N it is, from 1 on; its successor has the same."""

    def __init__(self, place: int, process: subprocess.Popen[bytes], now: float) -> None:
        self.place = place
        self.process = process
        self.started_at = now
        self.channel: Channel | None = None
        self.limit: asyncio.TimerHandle | None = None
        self.is_listening = False
        self.reason = ""

    def __str__(self) -> str:
        return f"worker {self.place} (process {self.process.pid})"

    def send(self, message: Message) -> None:
        """Send it a message."""
        if self.channel is not None:
            self.channel.send(message)

    def kill(self, why: str = "") -> None:
        """End it at once; the end of its channel says when it has."""
        self.reason = self.reason or why
        self.process.kill()

    def reap(self) -> str:
        """Wait for a process that has ended, or is ending, and return in words how it ended."""
        if self.limit is not None:
            self.limit.cancel()
        self.process.kill()
        status = self.process.wait()
        if self.reason:
            return self.reason
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return "ended" if status == 0 else f"ended with status {status}"


class Supervisor:
    """Starts the workers of a plan and keeps them running until it drains or kills them."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._workers: dict[int, Worker] = {}
        self._backoffs = {place: Backoff() for place in range(1, plan.workers + 1)}
        self._purges = PurgeRelay(plan.apply_s)
        self._launching: set[asyncio.Task[None]] = set()
        self._has_started = False
        self._is_ending = False
        self._all_listen: asyncio.Future[None] = self._loop.create_future()
        self._all_gone = asyncio.Event()

    async def start(self) -> None:
        """Start all workers; return when all listen. Raises CannotListen when one of them does not come so far."""
        for place in self._backoffs:
            self._start_worker(place)
        await self._all_listen

    async def drain(self, seconds: float) -> None:
        """Have all workers drain, and kill those that take longer."""
        self._end()
        for worker in self._workers.values():
            worker.send(Drain())
        try:
            await asyncio.wait_for(self._all_gone.wait(), seconds + LATE_S)
        except TimeoutError:
            for worker in self._workers.values():
                self._say(f"{worker} did not end in time and was killed")
            self.kill()
            await self._all_gone.wait()

    def kill(self) -> None:
        """End all workers at once; `drain` returns then."""
        self._end()
        for worker in self._workers.values():
            worker.kill()

    def _end(self) -> None:
        self._is_ending = True
        self._all_listen.cancel()
        self._look_whether_all_gone()

    def _look_whether_all_gone(self) -> None:
        if self._is_ending and not self._workers and not self._launching:
            self._all_gone.set()

    # Starting workers.

    def _start_worker(self, place: int) -> None:
        if self._is_ending:
            return
        task = self._loop.create_task(self._launch(place))
        self._launching.add(task)
        task.add_done_callback(self._launching.discard)
        task.add_done_callback(lambda _: self._look_whether_all_gone())

    async def _launch(self, place: int) -> None:
        ours, theirs = socket.socketpair()
        process = None if self._is_ending else self._process(place, theirs)
        theirs.close()
        if process is None:
            ours.close()
            return
        worker = self._workers[place] = Worker(place, process, self._loop.time())
        worker.channel = await Channel.over(ours, partial(self._received, worker), partial(self._ended, worker))
        worker.send(self._plan.start())
        worker.limit = self._loop.call_later(START_S, worker.kill, f"did not listen within {START_S:g} s")
        if self._is_ending:
            worker.send(Drain())

    def _process(self, place: int, channel: socket.socket) -> "subprocess.Popen[bytes] | None":
        descriptor, start = channel.fileno(), self._plan.start()
        try:
            with _signals_held():
                return subprocess.Popen(  # noqa: S603 - our own program
                    [*self._plan.command, str(descriptor)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(descriptor, *start.descriptors),
                )
        except OSError as error:
            self._missed(place, 0.0, f"Worker {place} cannot be started: {error.strerror or error}")
            return None

    def _received(self, worker: Worker, message: Message) -> None:
        match message:
            case Listening():
                self._listens(worker)
            case Unable(why):
                worker.reason = why
            case Ask():
                self._purges.asked(worker, message)
            case Applied():
                self._purges.applied(worker, message)
            case _:
                worker.kill(f"said {type(message).__name__}, which is not for a worker to say")

    def _listens(self, worker: Worker) -> None:
        worker.is_listening = True
        if worker.limit is not None:
            worker.limit.cancel()
        if self._is_ending:
            return
        self._purges.joined(worker)
        worker.send(Accept())
        all_listen = len(self._workers) == self._plan.workers and all(w.is_listening for w in self._workers.values())
        if all_listen and not self._all_listen.done():
            self._has_started = True
            self._all_listen.set_result(None)

    def hang_up(self) -> None:
        """Let all workers reopen their access logs."""
        for worker in self._workers.values():
            if worker.is_listening:
                worker.process.send_signal(signal.SIGHUP)

    # Ending.

    def _ended(self, worker: Worker) -> None:
        how = worker.reap()
        del self._workers[worker.place]
        self._purges.left(worker)
        lived = self._loop.time() - worker.started_at
        said_why = bool(worker.reason) and not worker.is_listening
        self._missed(worker.place, lived, how if said_why else f"{worker} {how}")

    def _missed(self, place: int, lived: float, what: str) -> None:
        """Replace a worker; give up when the proxy is just being started."""
        if self._is_ending:
            self._look_whether_all_gone()
        elif self._has_started:
            wait = self._backoffs[place].after(lived)
            self._say(f"{what}; another one is started in {wait:g} s")
            self._loop.call_later(wait, self._start_worker, place)
        elif not self._all_listen.done():
            self._all_listen.set_exception(CannotListen(what))


# Running it.


def supervise(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve with several processes until SIGTERM or SIGINT, then drain; `announce` is given the endpoint's URL.

    A second signal ends all processes at once. Raises CannotListen.
    """
    plan = _plan_of(settings)
    try:
        with asyncio.Runner() as runner:
            second = runner.run(_supervised(plan, settings.drain_timeout, lambda: announce(plan.endpoint.url)))
    finally:
        plan.close()
    if second is not None:
        signal.signal(second, signal.SIG_DFL)
        os.kill(os.getpid(), second)


def _plan_of(settings: Settings) -> Plan:
    endpoint = Endpoint.hold(settings.host, settings.port, settings.unix_socket)
    share = settings.model_copy(update={"memory": settings.memory // settings.workers, "workers": 1})
    return Plan(
        workers=settings.workers,
        settings=settings_to_json(share),
        endpoint=endpoint,
        instance=new_instance(),
        command=command(),
        control=control_socket.opened(endpoint.url),
    )


def command(module: str = "springhouse.server.worker") -> tuple[str, ...]:
    """Return how a module of ours is run as a program that finds the modules this one found.

    `-m` would look for modules in the current folder first; that is done only if it was done for this process.
    """
    here_too = "" in sys.path or os.getcwd() in sys.path
    return (sys.executable, *(() if here_too else ("-P",)), "-m", module)


async def _supervised(plan: Plan, drain_timeout: float, announce: Callable[[], None]) -> signal.Signals | None:
    """Run until all workers have gone; return the signal that cut it short."""
    supervisor = Supervisor(plan, lambda what: print(f"springhouse: {what}", file=sys.stderr, flush=True))
    signals = _Signals(supervisor.kill)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.hang_up)
    starting = asyncio.ensure_future(supervisor.start())
    stopping = asyncio.ensure_future(signals.first.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            announce()
            await stopping
    except BaseException:
        supervisor.kill()
        raise
    finally:
        plan.close()
        await supervisor.drain(drain_timeout)
    return signals.second


class _Signals:
    """SIGTERM and SIGINT: the first one, and what the second does."""

    def __init__(self, at_second: Callable[[], None]) -> None:
        self.first = asyncio.Event()
        self.second: signal.Signals | None = None
        self._at_second = at_second
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._came, number)

    def _came(self, number: signal.Signals) -> None:
        if self.first.is_set():
            self.second = number
            self._at_second()
        self.first.set()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back here, and in a program that is started meanwhile until it lets them through."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
