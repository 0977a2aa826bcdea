"""A worker that does what a test says, as a program: `scripted_worker.py FOLDER DESCRIPTOR`.

It talks to the supervisor as a real one does, but serves nothing. Once it is told to serve, the test connects to the
socket FOLDER/PID and sends lines of JSON, each of which is answered by one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

from springhouse.rules.purging import Everything, Prefix, Purge, Receipt
from springhouse.server.channel import Accept, Drain, Listening, Start, Unable
from springhouse.server.peers import OnApplied
from springhouse.server.worker import Orders


class Script:
    """What the test has said: how to take purges, and what has become of them."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.mode = "apply"
        self.applied: list[list[object]] = []
        self.waiting: list[tuple[Purge, bool, OnApplied]] = []
        orders.peers.on_purge = self.on_purge

    def on_purge(self, purge: Purge, dry_run: bool, answered: OnApplied) -> None:
        """Apply a purge, in the manner of the day."""
        if self.mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.mode == "raise":
            raise RuntimeError("this worker cannot purge")
        elif self.mode == "hold":
            self.waiting.append((purge, dry_run, answered))
        else:
            self.apply(purge, dry_run, answered)

    def apply(self, purge: Purge, dry_run: bool, answered: OnApplied) -> None:
        """Apply a purge, and say so."""
        what = purge.what.prefix.decode() if isinstance(purge.what, Prefix) else "everything"
        self.applied.append([what, purge.stale_from, dry_run])
        answered(Receipt(keys=1, entries=2, size=10, failure="half of it" if self.mode == "fail" else ""))

    async def told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what the lines of a connection say."""
        while line := await reader.readline():
            writer.write(json.dumps(await self.done(**json.loads(line))).encode() + b"\n")
        writer.close()

    async def done(self, do: str, **how: object) -> object:
        """Do one thing, and return what there is to say about it."""
        if do == "purge":
            return await self.purged(**how)  # type: ignore[arg-type]
        if do == "mode":
            self.mode = str(how["mode"])
        elif do == "release":
            for each in self.waiting:
                self.apply(*each)
        return {"applied": self.applied, "waiting": len(self.waiting)}

    async def purged(self, prefix: str = "", stale_from: float | None = None, dry_run: bool = False) -> object:
        """Ask for a purge, and return the answer."""
        done: asyncio.Future[tuple[Receipt, int]] = asyncio.get_running_loop().create_future()
        what = Prefix(prefix.encode()) if prefix else Everything()
        self.orders.peers.purge(Purge(what, stale_from), lambda *found: done.set_result(found), dry_run=dry_run)
        receipt, workers = await done
        return {"workers": workers, "receipt": [receipt.keys, receipt.entries, receipt.size, receipt.failure]}


async def work(folder: Path, channel: socket.socket) -> None:
    """Be a worker until told to drain."""
    orders = Orders()
    script = Script(orders)
    await orders.listen(channel)
    start = await orders.next()
    assert isinstance(start, Start)
    settings = json.loads(start.settings)
    if settings.get("unable"):
        orders.answer(Unable(settings["unable"]))
        return
    orders.answer(Listening())
    if isinstance(await orders.next(), Accept):
        if settings.get("crash"):
            sys.exit(3)
        new, path = folder / f"new-{os.getpid()}", folder / str(os.getpid())
        await asyncio.start_unix_server(script.told, new)
        new.rename(path)
        while not isinstance(await orders.next(), Drain):
            pass
        path.unlink()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
