"""What a server in front on the same machine relays is as good as its clients, not as the machine."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.fleet.node import SPRINGHOUSE, Node
from tests.support.answers import answer
from tests.support.nginx import Nginx
from tests.support.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

FRONTS: dict[str, dict[str, object]] = {
    "native": {},
    "workers": {"workers": 2},
    "fastapi": {"frontend": "fastapi"},
    "flask": {"frontend": "flask"},
    "unix": {},
    "classic": {"classic": True, "unix_socket": True},
    "token": {"token": "right"},
}
ALL = b'{"all": true}'
PURGE = "/.springhouse/purge"


class Relayed:
    """Proxies of every kind behind one nginx."""

    def __init__(self, nginx: Nginx, nodes: dict[str, Node], origin: Origin) -> None:
        self.nginx = nginx
        self.nodes = nodes
        self.origin = origin


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    """Start them all."""
    with ExitStack() as stack:
        origin = stack.enter_context(Origin())
        origin.otherwise = answer(b"x", cache_control="max-age=600")
        nodes = {}
        for name, options in FRONTS.items():
            if name == "workers":
                options = {**options, "store": f"disk:{tmp_path_factory.mktemp(name)}"}
            if name in ("unix", "classic"):
                options = {**options, "unix_socket": tmp_path_factory.mktemp(name) / "s"}
            nodes[name] = Node(*SPRINGHOUSE, origin=origin.url, **options)
            stack.callback(nodes[name].close)
        for node in nodes.values():
            node.started()
        nginx = Nginx({name: node.address for name, node in nodes.items()})
        stack.callback(nginx.close)
        yield Relayed(nginx, nodes, origin)


@pytest.mark.parametrize("front", FRONTS)
def test_a_relayed_purge_is_refused(relayed: Relayed, front: str) -> None:
    relayed.nodes[front].fill("/x")
    asked = len(relayed.origin.requests)
    for host in ("cache.example", "localhost", "127.0.0.1"):
        for method, target, body in (("PURGE", "/x", None), ("POST", PURGE, ALL)):
            found = relayed.nginx.ask(front, method, target, body, host=host)
            assert (found.status, found["Content-Type"]) == (403, "application/problem+json")
    assert relayed.nginx.ask(front, "GET", "/x").x_cache == "HIT"
    assert len(relayed.origin.requests) == asked


def test_one_with_the_token_is_not(relayed: Relayed) -> None:
    relayed.nodes["token"].fill("/x")
    assert relayed.nginx.ask("token", "PURGE", "/x", authorization="Bearer wrong").status == 403
    assert relayed.nginx.ask("token", "PURGE", "/x", authorization="Bearer right").status == 200
    assert relayed.nodes["token"].get("/x").x_cache == "MISS"


def test_nor_is_the_cache_cleared_through_a_unix_socket(relayed: Relayed) -> None:
    """By which nobody comes who is not relayed."""
    for method, target in (("GET", "/clear-cache"), ("DELETE", "/cache")):
        assert relayed.nginx.ask("classic", method, target).status == 403
        assert relayed.nodes["classic"].ask(method, target, host="localhost").status == 403
