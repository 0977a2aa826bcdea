"""A purge that reaches all workers before it is answered, whatever becomes of them meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import scripted_worker
from tests.support.loops import LoopThread
from tests.support.processes import await_that, children_of, is_alive

from springhouse.endpoint import CannotListen, Endpoint
from springhouse.server.supervisor import Plan, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Scripted = Callable[..., "Supervised"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")

ONE = [1, 2, 10, ""]
"""The receipt of one scripted worker."""
BOTH = [2, 4, 20, ""]


class Remote:
    """A scripted worker, from the test's side."""

    def __init__(self, path: Path) -> None:
        self.pid = int(path.name)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(15)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw", encoding="utf-8")

    def say(self, do: str, **how: object) -> None:
        """Tell it something."""
        print(json.dumps({"do": do, **how}), file=self._file, flush=True)

    def answer(self) -> dict[str, Any]:
        """Return what it answers."""
        found: dict[str, Any] = json.loads(self._file.readline())
        return found

    def do(self, do: str, **how: object) -> dict[str, Any]:
        """Tell it something, and return what it answers."""
        self.say(do, **how)
        return self.answer()

    @property
    def applied(self) -> list[list[object]]:
        """The purges it has applied: prefix, since when stale, whether only counted."""
        found: list[list[object]] = self.do("look")["applied"]
        return found

    def await_held(self) -> None:
        """Wait until a purge has come that it holds."""
        await_that(lambda: bool(self.do("look")["waiting"]), "it is told to apply a purge")

    def close(self) -> None:
        """Let go of it."""
        self._file.close()
        self._socket.close()


class Supervised:
    """A supervisor in a thread of its own, with scripted workers."""

    def __init__(self, folder: Path, *, workers: int = 3, apply_s: float = 5.0, **settings: object) -> None:
        self.said: list[str] = []
        self.folder = folder
        self._remotes: dict[int, Remote] = {}
        self._plan = Plan(
            workers=workers,
            settings=json.dumps(settings).encode(),
            endpoint=Endpoint(()),
            instance="springhouse-test",
            command=(sys.executable, scripted_worker.__file__, str(folder)),
            apply_s=apply_s,
        )
        self._thread = LoopThread()
        self.supervisor: Supervisor = self._thread.run(self._made())

    async def _made(self) -> Supervisor:
        return Supervisor(self._plan, self.said.append)

    def start(self) -> list[Remote]:
        """Start all workers and return them."""
        self.begin()
        return self.remotes(self._plan.workers)

    def begin(self) -> None:
        """Start all workers, whatever becomes of them then."""
        self._thread.run(self.supervisor.start())

    def await_said(self, count: int) -> list[str]:
        """Wait until the supervisor has said so many things, and return them."""
        await_that(lambda: len(self.said) >= count, f"{count} things are said")
        return self.said

    def remotes(self, count: int) -> list[Remote]:
        """Wait until so many workers serve, and return them."""
        await_that(lambda: len(self._living()) == count, f"{count} workers serve")
        for path in self._living():
            if int(path.name) not in self._remotes:
                self._remotes[int(path.name)] = Remote(path)
        return [self._remotes[int(path.name)] for path in self._living()]

    def _living(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if is_alive(int(path.name)))

    def close(self) -> None:
        """End all."""
        for remote in self._remotes.values():
            remote.close()
        self._thread.run(self._killed())
        self._thread.close()
        assert not self._thread.errors
        assert not [pid for pid in children_of(os.getpid()) if str(pid) in os.listdir(self.folder)]

    async def _killed(self) -> None:
        self.supervisor.kill()
        await self.supervisor.drain(0)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    """Return a function that makes a supervisor of scripted workers."""
    made: list[Supervised] = []

    def make(**how: Any) -> Supervised:
        made.append(Supervised(tmp_path, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_purge_is_applied_by_all_others_before_it_is_answered(scripted: Scripted) -> None:
    asker, other, slow = scripted().start()
    slow.do("mode", mode="hold")
    asker.say("purge", prefix="http://o/a")
    slow.await_held()
    assert other.applied == [["http://o/a", None, False]]
    slow.do("release")
    assert asker.answer() == {"workers": 2, "receipt": BOTH}
    assert slow.applied == [["http://o/a", None, False]]
    assert asker.applied == []


def test_every_part_of_a_purge_arrives(scripted: Scripted) -> None:
    asker, other = scripted(workers=2).start()
    assert asker.do("purge", stale_from=1234.5, dry_run=True) == {"workers": 1, "receipt": ONE}
    assert other.applied == [["everything", 1234.5, True]]


def test_what_a_worker_is_not_certain_of_is_said(scripted: Scripted) -> None:
    asker, *others = scripted().start()
    for other in others:
        other.do("mode", mode="fail")
    assert asker.do("purge") == {"workers": 2, "receipt": [2, 4, 20, "half of it"]}


def test_workers_that_purge_at_once_do_not_wait_for_each_other(scripted: Scripted) -> None:
    workers = scripted().start()
    for at in range(20):
        for worker in workers:
            worker.say("purge", prefix=f"http://o/{worker.pid}/{at}")
    for worker in workers:
        assert [worker.answer() for _ in range(20)] == [{"workers": 2, "receipt": BOTH}] * 20
    for worker in workers:
        assert len(worker.applied) == 40


@pytest.mark.parametrize("mode", ["die", "hold"])
def test_a_worker_that_dies_meanwhile_is_as_good_as_purged(scripted: Scripted, mode: str) -> None:
    supervised = scripted()
    asker, other, dying = supervised.start()
    dying.do("mode", mode=mode)
    asker.say("purge")
    if mode == "hold":
        dying.await_held()
        os.kill(dying.pid, signal.SIGKILL)
    assert asker.answer() == {"workers": 1, "receipt": ONE}
    assert other.applied
    assert not is_alive(dying.pid)
    (said,) = supervised.await_said(1)
    assert said.endswith(f" (process {dying.pid}) was ended by SIGKILL; another one is started in 0.5 s")


@pytest.mark.parametrize("mode", ["hold", "raise"])
def test_a_worker_that_does_not_apply_in_time_is_killed_and_replaced(scripted: Scripted, mode: str) -> None:
    supervised = scripted(apply_s=0.3)
    asker, other, stuck = supervised.start()
    stuck.do("mode", mode=mode)
    assert asker.do("purge") == {"workers": 1, "receipt": ONE}
    assert not is_alive(stuck.pid)
    assert other.applied
    (said,) = supervised.await_said(1)
    assert f"(process {stuck.pid}) did not apply a purge within 0.3 s and was killed; another" in said
    assert supervised.remotes(3)[0].do("purge") == {"workers": 2, "receipt": BOTH}


def test_a_worker_that_is_stopped_is_killed_too(scripted: Scripted) -> None:
    asker, _, stopped = scripted(apply_s=0.3).start()
    os.kill(stopped.pid, signal.SIGSTOP)
    assert asker.do("purge") == {"workers": 1, "receipt": ONE}
    assert not is_alive(stopped.pid)


def test_a_purge_goes_on_when_the_asker_dies(scripted: Scripted) -> None:
    asker, one, other = scripted().start()
    other.do("mode", mode="hold")
    asker.say("purge", prefix="http://o/a")
    other.await_held()
    os.kill(asker.pid, signal.SIGKILL)
    await_that(lambda: not is_alive(asker.pid), "the asker is dead")
    other.do("release")
    assert one.applied == other.applied == [["http://o/a", None, False]]
    other.do("mode", mode="apply")
    assert one.do("purge", prefix="http://o/b")["workers"] >= 1


def test_one_worker_alone_is_answered(scripted: Scripted) -> None:
    (alone,) = scripted(workers=1).start()
    assert alone.do("purge") == {"workers": 0, "receipt": [0, 0, 0, ""]}


def test_a_crash_loop_backs_off(scripted: Scripted) -> None:
    supervised = scripted(workers=1, crash=True)
    supervised.begin()
    said = [re.sub(r"\d+\)", "N)", each) for each in supervised.await_said(3)]
    assert said == [
        f"worker 1 (process N) ended with status 3; another one is started in {wait} s" for wait in ("0.5", "1", "2")
    ]


def test_all_fail_to_start_when_one_does(scripted: Scripted) -> None:
    supervised = scripted(workers=2, unable="There is no room.")
    with pytest.raises(CannotListen, match=r"^There is no room\.$"):
        supervised.begin()
    assert supervised.said == []
