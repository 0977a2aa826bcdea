"""Content that is arriving, and those who read it meanwhile, each at its own pace (laws 6 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.clients import Client, Origin

from springhouse.engine.recordings import Recording

if TYPE_CHECKING:
    from springhouse.engine.recordings import Reader


def test_whoever_joins_gets_all_of_it_from_the_first_byte() -> None:
    recording, early, late, last = Recording(Origin()), Client(), Client(), Client()
    recording.join(early)
    recording.feed(b"one ")
    recording.join(late)
    recording.feed(b"two ")
    assert early.got == late.got == b"one two "
    recording.feed(b"three")
    assert (early.ends, recording.size) == (0, 13)
    recording.finish()
    recording.join(last)
    assert early.state == late.state == last.state == (b"one two three", 1, 0)
    assert not recording.readers


def test_nobody_waits_for_the_slow() -> None:
    origin = Origin()
    recording, fast, slow = Recording(origin), Client(), Client(room=1)
    recording.join(fast)
    recording.join(slow)
    for _ in range(100):
        recording.feed(b"x" * 10_000)
    recording.finish()
    assert (len(fast.got), fast.ends) == (1_000_000, 1)
    assert (len(slow.got), slow.ends) == (10_000, 0)
    assert origin.turns == 0, "what is kept is bounded by what an object may measure"
    for _ in range(100):
        slow.take()
    assert slow.state == fast.state


def test_nothing_is_dropped_while_it_is_kept() -> None:
    recording, slow, late = Recording(Origin()), Client(room=1), Client()
    recording.join(slow)
    recording.feed(b"one")
    recording.feed(b"two")
    slow.take()
    recording.join(late)
    assert late.got == b"onetwo"


def test_what_resumes_is_flushed() -> None:
    recording, slow = Recording(Origin()), Client(room=1)
    recording.join(slow)
    recording.feed(b"one")
    recording.feed(b"two")
    slow.take()
    assert slow.flushed == 6
    recording.feed(b"three")
    assert slow.flushed == 6
    slow.take()
    recording.flush()
    assert slow.flushed == 11


def test_a_client_that_is_full_with_the_last_byte_is_told_the_end_once() -> None:
    """The sink asks for more once it has room again, though there is nothing more: a second end would be an answer."""
    recording, client = Recording(Origin()), Client(room=1)
    recording.join(client)
    recording.feed(b"all")
    recording.finish()
    assert client.state == (b"all", 1, 0)
    client.take()
    assert client.state == (b"all", 1, 0)
    assert client.flushed == 0, "nor is what comes next in its connection any matter of the reader's"


def test_breaking_off_reaches_all_once() -> None:
    recording = Recording(Origin())
    clients = [Client(), Client(room=1), Client()]
    for client in clients:
        recording.join(client)
    recording.feed(b"one")
    recording.feed(b"two")
    recording.fail()
    assert [client.aborts for client in clients] == [1, 1, 1]
    assert [client.ends for client in clients] == [0, 0, 0]
    clients[1].take()
    assert clients[1].state == (b"one", 0, 1), "nothing follows"


def test_whoever_comes_after_it_broke_off_is_told() -> None:
    recording, late = Recording(Origin()), Client()
    recording.feed(b"one")
    recording.fail()
    recording.join(late)
    assert (late.ends, late.aborts) == (0, 1)


def test_who_left_gets_nothing_more() -> None:
    recording, gone, here = Recording(Origin()), Client(room=1), Client()
    reader = recording.join(gone)
    recording.join(here)
    recording.feed(b"one")
    reader.leave()
    recording.feed(b"two")
    gone.take()
    recording.finish()
    assert gone.state == (b"one", 0, 0)
    assert here.state == (b"onetwo", 1, 0)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize(("stop", "got"), [(1, b""), (None, b"one")])
@pytest.mark.parametrize("whole", [True, False])
def test_one_who_leaves_because_another_is_done_gets_nothing_more(
    kept: bool, stop: int | None, got: bytes, whole: bool
) -> None:
    """Ending a reply starts the next one of that connection, which may end other readers."""
    recording = Recording(Origin())
    other = Client()

    class Ending(Client):
        def end(self) -> None:
            super().end()
            reader.leave()

        def abort(self) -> None:
            super().abort()
            reader.leave()

    recording.join(Ending(), 0, stop)
    reader = recording.join(other)
    if not kept:
        recording.keep_no_longer()
    recording.feed(b"one")
    if whole:
        recording.finish()
    else:
        recording.fail()
    assert other.state == (got, 0, 0)


RANGES = [(0, 1), (0, 10), (3, 4), (3, 7), (5, 6), (9, 10), (0, 5), (5, 10)]


@pytest.mark.parametrize(("start", "stop"), RANGES)
@pytest.mark.parametrize("cut", [1, 3, 5, 10])
def test_a_part_ends_with_its_last_byte(start: int, stop: int, cut: int) -> None:
    whole = b"0123456789"
    recording, client = Recording(Origin()), Client()
    recording.join(client, start, stop)
    for place in range(0, 10, cut):
        if place >= stop:
            assert client.ends == 1, "it does not wait for the rest"
        recording.feed(whole[place : place + cut])
    assert client.state == (whole[start:stop], 1, 0)
    recording.finish()
    assert client.ends == 1


def test_a_part_that_never_comes_breaks_off() -> None:
    recording, client = Recording(Origin()), Client()
    recording.join(client, 5, 8)
    recording.feed(b"012345")
    recording.fail()
    assert client.state == (b"5", 0, 1)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["feed", "feed", "join", "part", "take", "leave", "keep no longer"]), st.integers(0, 30)),
    max_size=40,
)


@given(OPERATIONS, st.booleans())
def test_everybody_gets_what_the_origin_sent(operations: list[tuple[str, int]], whole: bool) -> None:
    """Law 6, whatever the order of things."""
    recording, sent = Recording(Origin()), b""
    clients: list[tuple[Client, Reader, int, int | None]] = []
    kept = True
    gone: list[Client] = []
    for what, number in operations:
        if what == "feed":
            data = bytes([65 + number]) * (number + 1)
            sent += data
            recording.feed(data)
        elif what in ("join", "part") and kept:
            client = Client(room=number or None)
            start, stop = (number, number + 7) if what == "part" else (0, None)
            clients.append((client, recording.join(client, start, stop), start, stop))
        elif what == "take" and clients:
            clients[number % len(clients)][0].take()
        elif what == "leave" and clients:
            client, reader, *_ = clients.pop(number % len(clients))
            reader.leave()
            gone.append(client)
        elif what == "keep no longer":
            recording.keep_no_longer()
            kept = False
        for client, _, start, stop in clients:
            assert sent[start:stop].startswith(client.got)
    if whole:
        recording.finish()
    else:
        recording.fail()
    for client, _, start, stop in clients:
        for _ in range(len(operations)):
            client.take()
        if whole:
            assert client.state == (sent[start:stop], 1, 0)
        else:
            assert client.ends + client.aborts == 1
    assert all(client.ends + client.aborts <= 1 for client in gone)
