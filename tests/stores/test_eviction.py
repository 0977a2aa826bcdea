"""SIEVE drops what is asked for once, and keeps what is asked for again (Zhang et al., NSDI 2024)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from springhouse.stores.memory.eviction import Node, Sieve


class Named(Node):
    def __init__(self, name: int) -> None:
        super().__init__()
        self.name = name


class Plain:
    """The same with lists: the queue, oldest first, and the position of the hand."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.visited: set[int] = set()
        self.hand: int | None = None

    def add(self, name: int) -> None:
        self.queue.append(name)

    def remove(self, name: int) -> None:
        place = self.queue.index(name)
        if self.hand == name:
            self.hand = self.queue[place + 1] if place + 1 < len(self.queue) else None
        self.queue.remove(name)
        self.visited.discard(name)

    def victim(self) -> int | None:
        if not self.queue:
            return None
        place = 0 if self.hand is None else self.queue.index(self.hand)
        while self.queue[place] in self.visited:
            self.visited.discard(self.queue[place])
            place = (place + 1) % len(self.queue)
        self.hand = self.queue[place]
        return self.hand


@given(st.lists(st.tuples(st.sampled_from(["add", "visit", "remove", "victim", "evict"]), st.integers(0, 9))))
def test_it_does_as_the_plain_one(operations: list[tuple[str, int]]) -> None:
    sieve, plain, nodes = Sieve(), Plain(), dict[int, Named]()
    for what, name in operations:
        if what == "add" and name not in nodes:
            nodes[name] = Named(name)
            sieve.add(nodes[name])
            plain.add(name)
        elif what == "visit" and name in nodes:
            nodes[name].visited = True
            plain.visited.add(name)
        elif what == "remove" and name in nodes:
            sieve.remove(nodes.pop(name))
            plain.remove(name)
        elif what in ("victim", "evict"):
            victim = sieve.victim()
            assert (victim.name if isinstance(victim, Named) else None) == plain.victim()
            if what == "evict" and isinstance(victim, Named):
                sieve.remove(nodes.pop(victim.name))
                plain.remove(victim.name)
        assert order(sieve) == plain.queue
        assert {node.name for node in nodes.values() if node.visited} == plain.visited


def order(sieve: Sieve) -> list[int]:
    """Return the names from the oldest to the newest, having followed every link both ways."""
    names, node, before = [], sieve.oldest, None
    while node is not None:
        assert node.older is before
        assert isinstance(node, Named)
        names.append(node.name)
        node, before = node.newer, node
    assert sieve.newest is before
    return names


def test_an_empty_queue_has_no_victim() -> None:
    assert Sieve().victim() is None


def test_what_is_hot_survives_a_flood() -> None:
    """Room for 100; 50 that are asked for again and again, 10,000 that are asked for once."""
    sieve, kept = Sieve(), dict[int, Named]()

    def ask(name: int) -> None:
        if name in kept:
            kept[name].visited = True
            return
        kept[name] = Named(name)
        sieve.add(kept[name])
        if len(kept) > 100:
            victim = sieve.victim()
            assert isinstance(victim, Named)
            sieve.remove(kept.pop(victim.name))

    for hot in range(50):
        ask(hot)
    for flood in range(10_000):
        ask(flood % 50)
        ask(1000 + flood)
    assert set(range(50)) <= kept.keys()
