"""`--store disk`: of all processes on a folder one fetches what none has, whatever happens to that one."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from tests.fleet.cold_keys import FRESH, VARIANTS, ask_for_variants, ask_for_what_breaks_off
from tests.fleet.node import at_once
from tests.support.answers import answer, gated, head, validated
from tests.support.processes import await_that, owner_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.node import Node
    from tests.support.client import Client
    from tests.support.messages import Answer
    from tests.support.origin import Exchange, Origin

    Start = Callable[..., Node]

BODY = bytes(range(256)) * 400


class Processes:
    """All processes on a folder: the workers of one proxy, or several proxies."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def one_each(self) -> dict[int, Client]:
        """Return a connection to each process, by its id."""
        if len(self.nodes) == 1:
            return self.nodes[0].connect_to_each()
        return {node.process.pid: node.connect() for node in self.nodes}

    def clients(self, count: int) -> list[Client]:
        """Return connections that are spread over all of them."""
        each = list(self.one_each().values())
        return each + [self.nodes[at % len(self.nodes)].connect() for at in range(count - len(each))]

    def await_heard(self) -> None:
        for node in self.nodes:
            node.await_heard()


@pytest.fixture(params=["2 workers", "4 workers", "2 proxies"])
def processes(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Processes:
    count, kind = request.param.split()
    if kind == "workers":
        return Processes([start(store=f"disk:{tmp_path}", workers=count)])
    return Processes([start(store=f"disk:{tmp_path}") for _ in range(int(count))])


@pytest.fixture
def two(start: Start, tmp_path: Path) -> tuple[Node, dict[int, Client]]:
    """Return a proxy with two workers, and a connection to each."""
    node = start(store=f"disk:{tmp_path}", workers=2)
    return node, node.connect_to_each()


def ask(clients: list[Client], target: str) -> None:
    for client in clients:
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def answers(clients: list[Client]) -> list[Answer]:
    return [client.answer() for client in clients]


def test_two_hundred_clients_cause_one_request(origin: Origin, processes: Processes) -> None:
    gate = origin.gate()
    origin.on("/slow", gated(gate, answer(BODY, **FRESH)))
    clients = processes.clients(200)
    ask(clients, "/slow")
    processes.await_heard()
    gate.open()
    found = answers(clients)
    assert {(one.status, one.body == BODY) for one in found} == {(200, True)}
    assert origin.count("/slow") == 1


def test_what_takes_no_time_is_fetched_once_as_well(origin: Origin, processes: Processes) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    each = list(processes.one_each().values())
    for n in range(100):
        ask(each, f"/{n}")
        assert {one.body for one in answers(each)} == {b"x"}
    assert {n: origin.count(f"/{n}") for n in range(100)} == dict.fromkeys(range(100), 1)


def test_what_has_become_stale_is_revalidated_once(origin: Origin, processes: Processes) -> None:
    gate = origin.gate()
    gate.open()
    origin.on("/a", gated(gate, validated(BODY, '"1"', **FRESH)))
    each = list(processes.one_each().values())
    for client in each:
        await_that(lambda client=client: client.get("/a").x_cache == "HIT", "each has it in memory")
    processes.nodes[0].purge(url="/a", soft=True)
    gate = origin.gate()
    origin.on("/a", gated(gate, validated(BODY, '"1"', **FRESH)))
    before = origin.count("/a")
    clients = processes.clients(100)
    ask(clients, "/a")
    processes.await_heard()
    gate.open()
    assert {(one.status, one.body == BODY) for one in answers(clients)} == {(200, True)}
    assert origin.count("/a") == before + 1


def test_those_who_wait_for_what_cannot_be_stored_go_on_all_at_once(origin: Origin, processes: Processes) -> None:
    count, leader, together = 200, origin.gate(), origin.gate()

    async def not_stored(exchange: Exchange) -> None:
        if origin.count("/mine") == count:
            together.open_here()
        await together.passed()
        await answer(b"mine", cache_control="no-store")(exchange)

    origin.on("/mine", gated(leader, answer(b"mine", cache_control="no-store")), not_stored)
    clients = processes.clients(count)
    ask(clients, "/mine")
    processes.await_heard()
    origin.await_requests(1)
    assert origin.count("/mine") == 1
    leader.open()
    assert {one.body for one in answers(clients)} == {b"mine"}
    assert origin.count("/mine") == count
    # Nobody waits for this key now, in any process.
    again = origin.gate()
    origin.on("/mine", gated(again, answer(b"mine", cache_control="no-store")))
    ask(clients, "/mine")
    origin.await_requests(2 * count)
    again.open()
    answers(clients)


def test_different_variants_are_fetched_at_the_same_time_and_each_once(origin: Origin, processes: Processes) -> None:
    found = ask_for_variants(origin, processes.clients(60), processes.await_heard)
    assert found == [f"n={at % VARIANTS}" for at in range(60)]
    assert origin.count("/x") == VARIANTS


@pytest.mark.parametrize("part", [b"", b"half"])
def test_what_breaks_off_is_not_tried_by_one_after_the_other(origin: Origin, processes: Processes, part: bytes) -> None:
    ask_for_what_breaks_off(origin, processes.clients(100), processes.await_heard, part=part)
    assert origin.count("/x") <= len(processes.one_each())


def test_what_requests_with_credentials_get_does_not_spoil_it_for_others(origin: Origin, processes: Processes) -> None:
    first, gate = origin.gate(), origin.gate()

    async def by_ttl(exchange: Exchange) -> None:  # which is ours, and not for requests with a cookie
        await (first if "Cookie" in exchange.request else gate).passed()
        await answer(b"x")(exchange)

    origin.on("/x", by_ttl)
    clients = processes.clients(60)
    clients[0].send(b"GET /x HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\n\r\n")
    origin.await_requests(1)
    first.open()
    assert clients[0].answer().x_cache == "MISS"
    ask(clients, "/x")
    processes.await_heard()
    gate.open()
    assert {one.body for one in answers(clients)} == {b"x"}
    assert origin.count("/x") == 2


def test_another_takes_over_when_the_worker_that_fetches_is_killed(
    origin: Origin, two: tuple[Node, dict[int, Client]]
) -> None:
    node, each = two
    (killed, first), (survivor, other) = each.items()

    async def never(exchange: Exchange) -> None:
        await exchange.read_until_end()

    origin.on("/x", never, answer(BODY, **FRESH))
    ask([first], "/x")
    origin.await_requests(1)
    clients = [node.connect() for _ in range(60)]
    of_survivor = [other, *(client for client in clients if owner_of(client, [killed, survivor]) == survivor)]
    assert len(of_survivor) > 5
    ask(of_survivor, "/x")
    node.await_heard()
    assert origin.count("/x") == 1
    os.kill(killed, signal.SIGKILL)
    assert {one.body == BODY for one in answers(of_survivor)} == {True}
    assert origin.count("/x") == 2


def test_who_waits_for_an_answer_that_breaks_off_gets_a_whole_one(
    origin: Origin, two: tuple[Node, dict[int, Client]]
) -> None:
    node, each = two
    first, other = each.values()
    gate = origin.gate()

    async def half(exchange: Exchange) -> None:
        await exchange.send(head(content_length=len(BODY), **FRESH) + BODY[:1000])
        await gate.passed()
        exchange.close()

    origin.on("/x", half, answer(BODY, **FRESH))
    ask([first], "/x")
    first.head()
    ask([other], "/x")
    node.await_heard()
    assert origin.count("/x") == 1
    gate.open()
    assert other.answer().body == BODY
    assert first.read(1000) == BODY[:1000]
    assert first.is_ended()


def test_nobody_waits_for_what_was_purged_while_it_was_fetched(
    origin: Origin, two: tuple[Node, dict[int, Client]]
) -> None:
    node, each = two
    first, other = each.values()
    gate = origin.gate()
    origin.on("/x", gated(gate, answer(b"old", **FRESH)), answer(b"new", **FRESH))
    ask([first], "/x")
    origin.await_requests(1)
    ask([other], "/x")
    node.await_heard()
    assert origin.count("/x") == 1
    node.purge(url="/x")
    assert other.answer().body == b"new"
    gate.open()
    assert first.answer().body in (b"old", b"new")
    assert node.fill("/x").body == b"new"


def test_a_worker_that_is_told_to_end_gives_its_leases_up(origin: Origin, start: Start, tmp_path: Path) -> None:
    gate = origin.gate()
    origin.on("/x", gated(gate, answer(b"late", **FRESH)), answer(b"x", **FRESH))
    leaving, staying = (start(store=f"disk:{tmp_path}", drain_timeout=0.2) for _ in range(2))
    with leaving.connect() as client:
        ask([client], "/x")
        origin.await_requests(1)
        waiting = staying.connect()
        ask([waiting], "/x")
        staying.await_heard()
        assert origin.count("/x") == 1
        leaving.signal(signal.SIGTERM)
        assert waiting.answer().body == b"x"
    gate.open()


def test_a_dead_origin_is_found_out_by_all_at_the_same_time(origin: Origin, processes: Processes) -> None:
    leader, together = origin.gate(), origin.gate()
    count = len(processes.one_each())

    async def broken(exchange: Exchange) -> None:
        if origin.count("/x") == count:
            together.open_here()
        await together.passed()
        exchange.close()

    async def first(exchange: Exchange) -> None:
        await leader.passed()
        exchange.close()

    origin.on("/x", first, broken)
    clients = processes.clients(40)
    ask(clients, "/x")
    processes.await_heard()
    origin.await_requests(1)
    leader.open()
    assert {one.status for one in answers(clients)} == {502}
    assert origin.count("/x") == count


def test_with_memory_every_worker_fetches_for_itself(origin: Origin, start: Start) -> None:
    gate = origin.gate()
    origin.on("/x", gated(gate, answer(b"x", **FRESH)))
    each = list(start(workers=2).connect_to_each().values())
    ask(each, "/x")
    origin.await_requests(2)
    gate.open()
    assert {one.body for one in answers(each)} == {b"x"}


def test_many_cold_keys_at_once_are_fetched_once_each(origin: Origin, processes: Processes) -> None:
    origin.otherwise = answer(b"x", **FRESH)
    each = list(processes.one_each().values())
    clients = each + processes.clients(len(each))

    def work(at: int) -> None:
        for n in range(150):
            assert clients[at].get(f"/{(n + 7 * at) % 150}").body == b"x"

    assert at_once(len(clients), work) == [None] * len(clients)
    assert {n: origin.count(f"/{n}") for n in range(150)} == dict.fromkeys(range(150), 1)
