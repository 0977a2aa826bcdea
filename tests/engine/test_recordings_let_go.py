"""Content that proved too large to be kept: dropped as it is read, at the pace of the slowest."""

from __future__ import annotations

from tests.engine.clients import Client, Origin

from springhouse.engine.recordings import WINDOW, Recording


def test_without_readers_what_is_not_kept_is_gone_at_once() -> None:
    recording = Recording(Origin())
    recording.feed(b"one")
    recording.keep_no_longer()
    recording.feed(b"two")
    assert (recording.chunks, recording.dropped, recording.size) == ([], 2, 6)


def test_what_is_kept_no_longer_is_dropped_once_all_have_it() -> None:
    origin = Origin()
    recording, one, other = Recording(origin), Client(), Client(room=1)
    recording.join(one)
    recording.join(other)
    recording.feed(b"a" * 10)
    recording.feed(b"b" * 10)
    recording.keep_no_longer()
    assert (recording.dropped, recording.chunks) == (1, [b"b" * 10])
    other.take()
    assert (recording.dropped, recording.chunks) == (2, [])
    recording.feed(b"c" * 10)
    assert recording.chunks == [b"c" * 10]
    other.take()
    recording.finish()
    other.take()
    assert one.state == other.state == (b"a" * 10 + b"b" * 10 + b"c" * 10, 1, 0)


def test_the_origin_waits_for_the_slowest_of_what_is_kept_no_longer() -> None:
    origin = Origin()
    recording, fast, slow = Recording(origin), Client(), Client(room=1)
    recording.join(fast)
    slowest = recording.join(slow)
    recording.keep_no_longer()
    recording.feed(b"x" * WINDOW)
    recording.feed(b"y")
    assert not origin.is_paused, "the slow one was sent the first chunk; what is left is small"
    recording.feed(b"z" * WINDOW)
    assert origin.is_paused
    slow.take()
    slow.take()
    assert not origin.is_paused
    recording.feed(b"!" * (WINDOW + 1))
    assert origin.is_paused
    slowest.leave()
    assert not origin.is_paused, "who is gone holds nobody up"
    assert origin.turns == 2
    assert recording.chunks == []
    assert len(fast.got) == 3 * WINDOW + 2


def test_the_origin_may_be_gone_when_a_reader_catches_up() -> None:
    origin = Origin()
    recording, slow = Recording(origin), Client(room=1)
    recording.join(slow)
    recording.keep_no_longer()
    for _ in range(3):
        recording.feed(b"x" * WINDOW)
    assert origin.is_paused
    recording.finish()
    for _ in range(3):
        slow.take()
    assert (len(slow.got), slow.ends) == (3 * WINDOW, 1)
    assert origin.is_paused, "nobody speaks to it any more"


def test_nobody_joins_what_has_lost_its_beginning() -> None:
    """Better no answer than one that begins in the middle."""
    recording, early, late = Recording(Origin()), Client(), Client()
    recording.join(early)
    recording.feed(b"one")
    recording.keep_no_longer()
    recording.feed(b"two")
    recording.join(late)
    assert late.state == (b"", 0, 1)
    recording.feed(b"three")
    recording.finish()
    assert early.state == (b"onetwothree", 1, 0)
    assert late.state == (b"", 0, 1)
