"""A lease for what is cold: of all processes on a folder that miss it, one fetches it, the others wait (decision 18).

A lease is a lock on one byte, at the offset that a digest of key and variant says. So a dead holder's is free at once,
nothing lapses, and nothing is extended. A process that waits looks at the byte again and again, which is on the loop
but costs a microsecond.

What became of it is noted before its byte is unlocked: for those that waited, even if another has locked it since, and
for those that had looked it up just before it was stored and ask for its lease just after. These notes stand in a file
that all processes map; later ones overwrite earlier ones of other keys, and then a key is fetched once more than it had
to be.

When locks do not work here, everybody goes without.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from time import monotonic, time
from typing import Final

from springhouse.http.memo import KIB, Recent, bound
from springhouse.stores.disk.byte_locks import OFFSET_BITS, ByteLocks, byte_locks
from springhouse.stores.disk.shared import Identity, identity_of, mapped
from springhouse.stores.leases import Acquired, Lease, LockStatus, Waited
from springhouse.stores.tier import CallLater

_FIRST_LOOK_S: Final = 0.002
_SLOWER: Final = 1.5
_LEARNT: Final = bound(
    "notes of leases", 320 * KIB, "what was last learnt of keys that other processes have stored on the disk"
)
_CLOCK_S: Final = 0.002
"""How exactly notes are timed, twice over."""

Settled = Callable[[bool], None]
"""Called with whether what was put could be stored."""
AfterWriting = Callable[[bytes, Settled], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskLeaseLimits:
    """Times in seconds. `patience`: how long to wait for another process at most; `written`: how long of that for what
    has been fetched to be written; `look`: how often at the least; `uncacheable`: how long no process waits for a key
    that is not shareable; `recent`: how old a look-up may be that missed what another process has stored since."""

    patience: float = 10.0
    written: float = 1.0
    look: float = 0.05
    uncacheable: float = 120.0
    recent: float = 5.0


class DiskLeases:
    """The leases of one process.

    `after_writing` calls a function, on any thread, when all is written that was put under a key.
    """

    def __init__(
        self,
        folder: Path,
        limits: DiskLeaseLimits,
        *,
        later: CallLater,
        after_writing: AfterWriting,
    ) -> None:
        """Raises OSError when there are no locks in this folder."""
        self._limits = limits
        self._later = later
        self._after_writing = after_writing
        self._folder = folder
        self._join()
        self._threads = Lock()  # leases are given up on the writer's thread as well
        self._held: dict[int, Lease] = {}
        self._leaving: dict[int, Lease] = {}
        """Released, and locked until what was put is written."""
        self._learnt: Recent[int, tuple[int, float]] = Recent(_LEARNT, lambda *_: 0)
        """Which notes of keys that were stored are known here, and since when."""
        self._is_closed = False

    def _join(self) -> None:
        locks: ByteLocks = byte_locks(self._folder)
        try:
            self._notes = Notes(self._folder / "notes")
        except OSError:
            locks.close()
            raise
        self._locks = locks
        self._identities = self._found()

    def _found(self) -> list[Identity | None]:
        return [identity_of(self._folder / name) for name in ("notes", "0")]

    def rejoin(self) -> None:
        """Go on in the folder that has the name now, if this one was removed. The leases given so far are over."""
        with self._threads:
            if self._is_closed or self._found() == self._identities:
                return
            locks = self._locks
            try:
                self._join()
            except OSError:
                return  # they go on working among the processes that have them, and are looked for again
            locks.close()  # not the notes: another thread may be reading them
            self._held.clear()
            self._leaving.clear()

    def acquire(self, key: bytes, variant: bytes, done: Acquired, *, since: float) -> Lease | LockStatus:
        """Return a lease, or WAITING, DONE, GIVE_UP or TRANSIENT_ERROR, at once; see Leasing."""
        digest = _digest(key + variant)
        with self._threads:
            if digest in self._held or self._is_closed:
                return LockStatus.TRANSIENT_ERROR
            if self._notes.is_younger(LockStatus.GIVE_UP, digest, self._limits.uncacheable):
                return LockStatus.GIVE_UP
            is_ours = self._leaving.pop(digest, None) is not None
            try:
                if not is_ours and not self._locks.take(digest):
                    return LockStatus.WAITING
                if not is_ours and self._may_have_missed(digest, since):
                    self._locks.give_up(digest)
                    return LockStatus.DONE
            except OSError:
                return LockStatus.TRANSIENT_ERROR
            lease = self._held[digest] = Lease(key, variant, digest)
            return lease

    def _may_have_missed(self, digest: int, since: float) -> bool:
        """Return whether another process has just stored a key, and a look-up at that time may have missed it."""
        if not self._notes.is_younger(LockStatus.DONE, digest, self._limits.recent):
            return False
        return self._learn(digest) > since

    def _learn(self, digest: int) -> float:
        """Return when this process began to look behind memory for what was noted last as stored."""
        note = self._notes.of(LockStatus.DONE, digest)
        known, at = self._learnt.get(digest, (0, 0.0))
        if known != note:
            at = monotonic()
            self._learnt.note(digest, (note, at))
        return at

    def wait(self, key: bytes, variant: bytes, done: Waited) -> Callable[[], object]:
        """Wait while another process holds a lease; see Leasing."""
        waiting = _Waiting(_digest(key + variant), done)
        self._later(waiting.pause, lambda: self._look(waiting))
        return waiting.stop

    def _look(self, waiting: "_Waiting") -> None:
        if waiting.is_over or self._is_closed:
            return
        answer = self._outcome(waiting)
        if answer is LockStatus.WAITING:
            waiting.pause = min(_SLOWER * waiting.pause, self._limits.look)
            self._later(waiting.pause, lambda: self._look(waiting))
        else:
            waiting.is_over = True
            waiting.done(answer)

    def _outcome(self, waiting: "_Waiting") -> LockStatus:
        digest, notes = waiting.digest, self._notes
        waited = monotonic() - waiting.since
        with self._threads:
            is_ours = digest in self._held or digest in self._leaving
            try:
                if not is_ours and not self._was_given_up(digest, waited) and self._locks.is_taken(digest):
                    return LockStatus.WAITING if waited < self._limits.patience else LockStatus.TRANSIENT_ERROR
            except OSError:
                return LockStatus.TRANSIENT_ERROR
            if notes.is_younger(LockStatus.GIVE_UP, digest, self._limits.uncacheable):
                return LockStatus.GIVE_UP
            self._learn(digest)
        if notes.is_younger(LockStatus.TRANSIENT_ERROR, digest, waited) and not notes.is_younger(
            LockStatus.DONE, digest, waited
        ):
            return LockStatus.TRANSIENT_ERROR
        return LockStatus.DONE

    def _was_given_up(self, digest: int, waited: float) -> bool:
        """Return whether the process that was waited for has let go, whichever has the lease by now."""
        within = waited - _CLOCK_S
        return any(
            self._notes.is_younger(status, digest, within) for status in (LockStatus.DONE, LockStatus.TRANSIENT_ERROR)
        )

    def release(self, lease: Lease, outcome: LockStatus = LockStatus.DONE) -> None:
        """Give a lease up, once what was put under its key is stored; see Leasing."""
        with self._threads:
            if self._held.get(lease.token) is not lease:
                return
            del self._held[lease.token]
            self._leaving[lease.token] = lease
        if outcome is LockStatus.DONE:
            self._after_writing(
                lease.key,
                lambda stored: self._give_up(lease, LockStatus.DONE if stored else LockStatus.TRANSIENT_ERROR),
            )
            if lease.token in self._leaving:
                self._later(self._limits.written, lambda: self._give_up(lease, LockStatus.TRANSIENT_ERROR))
        else:
            self._give_up(lease, outcome)

    def _give_up(self, lease: Lease, outcome: LockStatus) -> None:
        digest = lease.token
        with self._threads:
            if self._leaving.get(digest) is not lease:
                return  # this process has been given it anew
            del self._leaving[digest]
            self._notes.note(outcome, digest)
            self._learn(digest)
            with suppress(OSError):
                self._locks.give_up(digest)

    def close(self) -> None:
        """Give up everything, and wait for nothing any more."""
        with self._threads:
            self._is_closed = True
            self._held.clear()
            self._leaving.clear()
            self._locks.close()
            self._notes.close()


class _Waiting:
    """A request that waits for another process's lease."""

    __slots__ = ("digest", "done", "is_over", "pause", "since")

    def __init__(self, digest: int, done: Waited) -> None:
        self.digest = digest
        self.done = done
        self.since = monotonic()
        self.pause = _FIRST_LOOK_S
        self.is_over = False

    def stop(self) -> None:
        self.is_over = True


_BUCKETS: Final = 4096
_SLOTS: Final = 4
_KINDS: Final = {LockStatus.DONE: 0, LockStatus.GIVE_UP: 1, LockStatus.TRANSIENT_ERROR: 2}
_MS: Final = 2**32


class Notes:
    """For each kind of outcome a table of buckets, one for each key by its digest, where the last few notes about all
    its keys stand: 32 further bits of the digest, and the time in milliseconds modulo 2^32. A note is one word, so that
    it is never half of one and half of another."""

    def __init__(self, path: Path) -> None:
        self._map = mapped(path, 8 * _SLOTS * _BUCKETS * len(_KINDS))
        self._words = memoryview(self._map).cast("Q")

    def note(self, kind: LockStatus, digest: int) -> None:
        """Write down that this has become of a key, now, in place of its last note or of the oldest."""
        first, tag, now = self._place(kind, digest), _tag(digest), _now()
        words = self._words[first : first + _SLOTS].tolist()
        oldest = max(range(_SLOTS), key=lambda at: _MS if words[at] // _MS == tag else (now - words[at]) % _MS)
        self._words[first + oldest] = tag * _MS + now

    def of(self, kind: LockStatus, digest: int) -> int:
        """Return the note of that kind about a key, 0 when there is none."""
        first, tag = self._place(kind, digest), _tag(digest)
        for word in self._words[first : first + _SLOTS]:
            if word // _MS == tag:
                return word
        return 0

    def _place(self, kind: LockStatus, digest: int) -> int:
        return (_KINDS[kind] * _BUCKETS + digest % _BUCKETS) * _SLOTS

    def is_younger(self, kind: LockStatus, digest: int, seconds: float) -> bool:
        """Return whether there is a note of that kind about a key, and not older than that, give or take a
        millisecond."""
        word = self.of(kind, digest)
        return word != 0 and (_now() - word) % _MS <= 1000 * seconds + 1

    def close(self) -> None:
        """Let go of the file."""
        self._words.release()
        self._map.close()


def _now() -> int:
    return int(1000 * time()) % _MS


def _tag(digest: int) -> int:
    return digest // _BUCKETS % _MS


def _digest(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "little") >> (64 - OFFSET_BITS)
