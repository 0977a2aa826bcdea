"""SIEVE: which key to drop when a store is full (Zhang et al., NSDI 2024).

Keys stand in a queue in order of arrival. A hit only sets `visited`. The hand walks from the oldest towards the
newest: a visited key is given another round, the first that is not is dropped. One flag per hit, no moving, and a
flood of keys that are asked for once passes through without driving out what is asked for again and again.
"""


class Node:
    """A place in the queue; what is kept there derives from it."""

    __slots__ = ("newer", "older", "visited")

    def __init__(self) -> None:
        self.newer: Node | None = None
        self.older: Node | None = None
        self.visited = False


class Sieve:
    """The queue and its hand. Every operation is O(1), `victim` amortised."""

    __slots__ = ("hand", "newest", "oldest")

    def __init__(self) -> None:
        self.newest: Node | None = None
        self.oldest: Node | None = None
        self.hand: Node | None = None

    def add(self, node: Node) -> None:
        """Put a new node at the young end."""
        node.older = self.newest
        if self.newest is None:
            self.oldest = node
        else:
            self.newest.newer = node
        self.newest = node

    def remove(self, node: Node) -> None:
        """Take a node out; the hand, if on it, moves on."""
        if self.hand is node:
            self.hand = node.newer
        if node.older is None:
            self.oldest = node.newer
        else:
            node.older.newer = node.newer
        if node.newer is None:
            self.newest = node.older
        else:
            node.newer.older = node.older
        node.older = node.newer = None

    def victim(self) -> Node | None:
        """Return the node to drop next, None when the queue is empty. It is not removed yet."""
        node = self.hand or self.oldest
        while node is not None and node.visited:
            node.visited = False
            node = node.newer or self.oldest
        self.hand = node
        return node
