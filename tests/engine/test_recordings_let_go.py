"""Content that proved too large to be kept: dropped as it is read, at the pace of the fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engine.clients import Client, Origin

from springhouse.engine.recordings import WINDOW, Recording

if TYPE_CHECKING:
    from collections.abc import Callable


def moments(recording: Recording) -> Callable[[], None]:
    """Return what lets the moment pass in which the slow may catch up; it comes once."""
    asked: list[Callable[[], object]] = []

    def later(_seconds: float, call: Callable[[], object]) -> None:
        asked.append(call)

    def over() -> None:
        (call,) = asked
        call()

    recording.later = later
    return over


def test_who_catches_up_in_time_stays() -> None:
    origin = Origin()
    recording, fast, slow = Recording(origin), Client(), Client(room=1)
    over = moments(recording)
    recording.join(fast)
    recording.join(slow)
    recording.keep_no_longer()
    for _ in range(3):
        recording.feed(b"x" * WINDOW)
    assert origin.is_paused
    slow.take()
    assert not origin.is_paused
    over()
    assert (fast.aborts, slow.aborts) == (0, 0)
    recording.feed(b"x" * WINDOW)
    assert (fast.aborts, slow.aborts, origin.turns) == (0, 1, 1), "there is no second time"


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


def test_the_origin_waits_for_the_only_reader_of_what_is_kept_no_longer() -> None:
    origin = Origin()
    recording, slow = Recording(origin), Client(room=1)
    recording.join(slow)
    recording.keep_no_longer()
    recording.feed(b"x" * WINDOW)
    recording.feed(b"y")
    assert not origin.is_paused, "the client was sent the first chunk; what is left is small"
    recording.feed(b"z" * WINDOW)
    assert origin.is_paused
    slow.take()
    slow.take()
    assert not origin.is_paused
    assert (len(slow.got), slow.aborts) == (2 * WINDOW + 1, 0)


def test_the_origin_waits_for_the_fastest_of_those_who_are_all_behind() -> None:
    origin = Origin()
    recording, one, other = Recording(origin), Client(room=1), Client(room=1)
    over = moments(recording)
    recording.join(one)
    recording.join(other)
    recording.keep_no_longer()
    for _ in range(3):
        recording.feed(b"x" * WINDOW)
    assert origin.is_paused
    one.take()
    assert not origin.is_paused, "one of them keeps up"
    assert (one.aborts, other.aborts) == (0, 0)
    one.take()
    assert (one.aborts, other.aborts) == (0, 0)
    assert origin.is_paused, "the other may catch up"
    over()
    assert (one.aborts, other.aborts) == (0, 1), "and has not"
    assert not origin.is_paused
    recording.finish()
    assert one.state == (b"x" * 3 * WINDOW, 1, 0)
    assert recording.chunks == []


def test_who_falls_behind_of_what_is_kept_no_longer_holds_up_nobody() -> None:
    """Law 12: however many there are, and even if they take nothing at all."""
    origin = Origin()
    recording, fast = Recording(origin), Client()
    over = moments(recording)
    slow = [Client(room=1) for _ in range(20)]
    for client in (*slow[:10], fast, *slow[10:]):
        recording.join(client)
    recording.keep_no_longer()
    sent = b""
    for number in range(100):
        data = bytes([number]) * 10_000
        sent += data
        recording.feed(data)
        if origin.is_paused:
            over()
        assert not origin.is_paused
        assert origin.turns <= 1, "once for all of them"
        assert sum(map(len, recording.chunks)) <= WINDOW + 10_000
    recording.finish()
    assert fast.state == (sent, 1, 0)
    assert [client.state for client in slow] == [(sent[:10_000], 0, 1)] * 20


def test_who_is_behind_may_be_as_far_as_there_is_room() -> None:
    recording, fast, slow = Recording(Origin()), Client(), Client(room=1)
    over = moments(recording)
    counted = []

    def may_hold(held: int) -> bool:
        counted.append(held)
        return held <= 4 * WINDOW

    recording.may_hold = may_hold
    recording.join(fast)
    recording.join(slow)
    recording.keep_no_longer()
    for _ in range(5):
        recording.feed(b"x" * WINDOW)
    assert (slow.aborts, counted[-1]) == (0, 4 * WINDOW)
    slow.take()
    recording.feed(b"y" * WINDOW)
    assert (slow.aborts, counted[-1]) == (0, 4 * WINDOW)
    recording.feed(b"z" * WINDOW)
    over()
    assert (slow.aborts, counted[-1]) == (1, 0)
    assert len(fast.got) == 7 * WINDOW


def test_a_part_behind_what_has_come_keeps_up() -> None:
    """Who waits for bytes that are still to come has read all there is."""
    recording, fast, part = Recording(Origin()), Client(), Client()
    recording.join(fast)
    recording.join(part, 10 * WINDOW, 10 * WINDOW + 5)
    recording.keep_no_longer()
    for number in range(11):
        recording.feed(bytes([number]) * WINDOW)
    assert part.state == (bytes([10]) * 5, 1, 0)


def test_what_nobody_reads_is_left_to_itself_while_it_is_kept() -> None:
    origin = Origin()
    recording = Recording(origin)
    recording.flush()
    assert not origin.is_attended, "nobody has come for it"
    reader = recording.join(Client())
    assert origin.is_attended
    reader.leave()
    assert not origin.is_attended
    recording.flush()
    recording.join(Client())
    assert origin.is_attended
    assert not origin.is_cancelled


def test_what_nobody_reads_ends_when_it_is_kept_no_longer() -> None:
    origin = Origin()
    recording = Recording(origin)
    reader = recording.join(Client(room=1))
    recording.feed(b"one")
    recording.feed(b"two")
    recording.keep_no_longer()
    assert not origin.is_cancelled
    reader.leave()
    assert origin.is_cancelled
    assert recording.chunks == []


def test_what_is_kept_no_longer_and_nobody_has_read_ends() -> None:
    origin = Origin()
    recording = Recording(origin)
    recording.feed(b"one")
    recording.keep_no_longer()
    recording.flush()
    assert origin.is_cancelled


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
