"""What clients read counts, even when no record holds it any more, and is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.engine.clients import Client
from tests.stores.backends import make_entry

from springhouse.http.content import CONTENT_PIECE, MemoryContent
from springhouse.rules.options import Options
from springhouse.rules.purging import Keys, Purge
from springhouse.stores.memory.records import Memory, cost_of

if TYPE_CHECKING:
    from springhouse.rules.entry import Entry

SIZE = 2 * CONTENT_PIECE
BUDGET = 16 * SIZE


class SlowClient(Client):
    """A client that takes little, and only when the test says so."""

    piece = 64 * 1024

    def __init__(self) -> None:
        super().__init__(room=1)

    def take_all(self) -> None:
        while not self.ends:
            self.take()


def large(name: str, size: int = SIZE) -> Entry:
    return make_entry(b"http://cache.test/" + name.encode(), b"x" * size)


def memory_with(*entries: Entry) -> Memory:
    memory = Memory(BUDGET, Options())
    for entry in entries:
        memory.put(entry)
    return memory


def reader_of(entry: Entry) -> SlowClient:
    client = SlowClient()
    entry.content.send_to(client)
    assert not client.ends
    return client


def purge(memory: Memory, *entries: Entry) -> None:
    memory.purge(Purge(Keys(tuple(entry.key for entry in entries))))


def test_what_is_read_counts_once_while_it_is_stored() -> None:
    entry = large("a")
    memory = memory_with(entry)
    used = memory.used
    reader_of(entry)
    assert (memory.used, memory.lingering.size) == (used, 0)


@pytest.mark.parametrize("how", ["purged", "replaced", "evicted"])
def test_what_has_no_record_counts_until_the_last_reader_has_left(how: str) -> None:
    entry = large("a")
    memory = memory_with(entry)
    one, other = reader_of(entry), reader_of(entry)
    if how == "purged":
        purge(memory, entry)
    elif how == "replaced":
        memory.put(large("a", 10))
    else:
        for number in range(2 * BUDGET // SIZE):
            memory.put(large(f"other/{number}"))
        assert entry.key not in memory.records
    assert memory.lingering.size == SIZE
    assert memory.used <= BUDGET
    one.take_all()
    assert memory.lingering.size == SIZE
    other.take_all()
    assert memory.lingering.size == 0
    assert memory.used == sum(record.cost for record in memory.records.values())
    assert one.got == other.got == entry.content.data


def test_who_begins_to_read_what_has_no_record_any_more_counts_as_well() -> None:
    entry = large("a")
    memory = memory_with(entry)
    purge(memory, entry)
    assert memory.used == 0
    client = reader_of(entry)
    assert (memory.used, memory.lingering.size) == (SIZE, SIZE)
    client.take_all()
    assert memory.used == 0


def test_a_freshened_entry_has_the_same_content_which_still_is_stored() -> None:
    old, new = large("a"), large("a")
    new.content = old.content
    memory = memory_with(old)
    reader_of(old)
    memory.replace(old, new)
    assert memory.lingering.size == 0
    assert memory.used == memory.records[old.key].cost == memory_with(new).used


def test_beyond_the_bound_the_content_that_lost_its_record_first_is_let_go() -> None:
    entries = [large(f"{number}") for number in range(7)]
    memory = memory_with(*entries)
    clients = [reader_of(entry) for entry in entries]
    for number, entry in enumerate(entries):
        purge(memory, entry)
        assert memory.lingering.size == min(number + 1, BUDGET // 4 // SIZE) * SIZE
        assert memory.used <= BUDGET
    assert [client.aborts for client in clients] == [1, 1, 1, 0, 0, 0, 0]
    for client in clients[3:]:
        client.take_all()
    assert memory.used == 0


def test_one_content_lingers_however_large_it_is() -> None:
    entry = large("a", BUDGET // 2 - 10_000)
    memory = memory_with(entry)
    client = reader_of(entry)
    purge(memory, entry)
    assert memory.used == memory.lingering.size == len(entry.content)
    client.take_all()
    assert client.aborts == 0


def test_a_reader_has_left_only_when_a_transport_holds_no_view_of_the_content() -> None:
    """What was written last is a copy, and all that comes before it has been taken when the sink can take more."""
    entry = large("a")
    memory = memory_with(entry)
    purge(memory, entry)
    client = reader_of(entry)
    while len(client.got) < SIZE:
        assert memory.lingering.size == SIZE
        client.take()
    assert memory.lingering.size == SIZE
    client.take()
    assert (client.ends, memory.lingering.size) == (1, 0)


def test_small_content_is_read_at_once_and_is_not_watched() -> None:
    entry = large("a", CONTENT_PIECE)
    memory_with(entry)
    assert isinstance(entry.content, MemoryContent)
    assert entry.content.readers is None
    client = Client()
    entry.content.send_to(client)
    assert client.ends == 1
    assert cost_of(entry) > CONTENT_PIECE
