"""Many clients, one cold key: one request to the origin, and nobody waits in vain (law 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.answers import answer, gated, head, in_parts, raw, validated
from tests.support.client import Broken
from tests.support.messages import request

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.answers import Handler
    from tests.support.client import Client
    from tests.support.clock import Clock
    from tests.support.messages import Answer
    from tests.support.origin import Exchange, Gate, Origin
    from tests.support.proxy import Proxy

FRESH = "max-age=60"


def asking(proxy: Proxy, target: str, count: int, **fields: object) -> list[Client]:
    """Return clients that have asked for a target, each on its connection, once the proxy has heard them all."""
    clients = [proxy.connect() for _ in range(count)]
    for client in clients:
        client.send(request("GET", target, **fields))
    proxy.await_heard()
    return clients


def asking_by(proxy: Proxy, target: str, field: str, values: list[str]) -> list[Client]:
    """Return clients that have asked for a target with different values of a field; not all need have been heard."""
    clients = [proxy.connect() for _ in values]
    for client, value in zip(clients, values, strict=True):
        client.send(request("GET", target, **{field: value}))
    return clients


def answers(clients: list[Client]) -> list[Answer]:
    """Return what the clients are answered."""
    return [client.answer() for client in clients]


def test_two_hundred_clients_cause_one_request(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    body = bytes(range(256)) * 500
    origin.on("/a", gated(gate, answer(body, cache_control=FRESH)))
    clients = asking(proxy, "/a", 200)
    gate.open()
    got = answers(clients)
    assert origin.count("/a") == 1
    assert all(one.body == body and one.status == 200 for one in got)
    assert sum("collapsed" in one["Cache-Status"] for one in got) == 199
    assert proxy.get("/a").x_cache == "HIT"


def test_followers_stream_before_the_fill_is_complete(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH))
    early = asking(proxy, "/a", 3)
    for client in early:
        assert (client.head()["Content-Length"], client.read(6)) == ("10", b"first ")
    late = asking(proxy, "/a", 1)[0]  # it comes while the content is arriving
    late.head()
    assert late.read(6) == b"first "
    gate.open()
    assert [client.read(4) for client in [*early, late]] == [b"rest"] * 4
    assert origin.count("/a") == 1


def test_the_fill_goes_on_when_the_leaders_client_leaves(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH))
    leader = asking(proxy, "/a", 1)[0]
    leader.head()
    follower = asking(proxy, "/a", 1)[0]
    leader.reset()
    proxy.await_connections(1)
    gate.open()
    assert follower.answer().body == b"first rest"
    assert proxy.get("/a").x_cache == "HIT"
    assert origin.count("/a") == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["the leader first", "the leader last"])
def test_the_fetch_ends_when_every_client_leaves_before_the_head(
    origin: Origin, proxy: Proxy, order: tuple[int, ...]
) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"late", cache_control=FRESH)), answer(b"x" * 100_000, cache_control=FRESH))
    clients = asking(proxy, "/a", 3)
    origin.await_requests(1)
    for left, number in zip((2, 1, 0), order, strict=True):
        clients[number].reset()
        proxy.await_connections(left)
        assert origin.count("/a") == 1
        assert (proxy.engine.upstream.open == 1) is (left > 0), "it goes on as long as somebody waits"
    proxy.await_that(lambda: proxy.engine.upstream.open == 0)
    assert proxy.get("/a").body == b"x" * 100_000
    assert origin.count("/a") == 2
    gate.open()


def test_the_fill_goes_on_when_every_client_leaves_after_the_head(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", in_parts(b"first ", gate, b"rest", cache_control=FRESH))
    clients = asking(proxy, "/a", 3)
    for client in clients:
        client.head()
    for client in clients:
        client.reset()
    proxy.await_connections(0)
    gate.open()
    assert proxy.get("/a").body == b"first rest"
    assert origin.count("/a") == 1


def test_a_follower_that_leaves_disturbs_nobody(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x", cache_control=FRESH)))
    clients = asking(proxy, "/a", 5)
    clients[2].reset()
    proxy.await_connections(4)
    clients[4].close()  # which looks the same as one that only has no more to say
    gate.open()
    assert [one.body for one in answers([clients[0], clients[1], clients[3]])] == [b"x"] * 3
    assert origin.count("/a") == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": "no-store"},
        {"cache_control": "private"},
        {"cache_control": FRESH, "set_cookie": "a=b"},
        {"cache_control": FRESH, "vary": "*"},
    ],
    ids=str,
)
def test_what_cannot_be_shared_releases_everybody_at_once(origin: Origin, proxy: Proxy, fields: dict[str, str]) -> None:
    together, count = origin.gate(), 20

    async def not_shared(exchange: Exchange) -> None:
        if origin.count("/a") > 1:  # all but the leader: none is answered before all have come
            if origin.count("/a") == count:
                together.open_here()
            await together.passed()
        await answer(str(origin.count("/a")).encode(), **fields)(exchange)

    origin.on("/a", not_shared)
    clients = asking_slowly(origin, proxy, count, not_shared)
    assert [one.status for one in answers(clients)] == [200] * count
    assert origin.count("/a") == count
    assert origin.most_at_once >= count - 1


def asking_slowly(origin: Origin, proxy: Proxy, count: int, then: object) -> list[Client]:
    """Let the leader wait until all others have come, so that they are followers."""
    gate = origin.gate()
    origin.on("/a", gated(gate, then), then)  # type: ignore[arg-type]
    clients = asking(proxy, "/a", count)
    origin.await_requests(1)
    assert origin.count("/a") == 1
    gate.open()
    return clients


def test_a_key_that_cannot_be_shared_is_remembered(origin: Origin, proxy: Proxy) -> None:
    origin.on("/a", answer(b"x", cache_control="no-store"))
    proxy.get("/a")
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x", cache_control="no-store")))
    clients = asking(proxy, "/a", 10)
    origin.await_requests(11)  # nobody waits for a leader
    gate.open()
    assert {one.x_cache for one in answers(clients)} == {"MISS"}


def test_a_key_that_can_be_shared_again_is_waited_for_again(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    origin.on("/a", answer(b"x", cache_control="no-store"), answer(b"y", cache_control=FRESH))
    proxy.get("/a")
    assert [proxy.get("/a").x_cache for _ in range(2)] == ["MISS", "HIT"]
    clock.advance(61)
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"z", cache_control=FRESH)))
    clients = asking(proxy, "/a", 10)
    gate.open()
    assert {one.body for one in answers(clients)} == {b"z"}
    assert origin.count("/a") == 3


def test_a_private_answer_never_reaches_another_client(origin: Origin, proxy: Proxy) -> None:
    async def personal(exchange: Exchange) -> None:
        who = exchange.request["X-Who"]
        await answer(who.encode() * 1000, cache_control="private, max-age=60")(exchange)

    gate = origin.gate()
    origin.on("/a", gated(gate, personal), personal)
    clients = [asking(proxy, "/a", 1, x_who=str(n))[0] for n in range(10)]
    gate.open()
    assert [one.body for one in answers(clients)] == [str(n).encode() * 1000 for n in range(10)]


def test_an_authorized_answer_never_reaches_another_client(origin: Origin, proxy: Proxy) -> None:
    async def personal(exchange: Exchange) -> None:
        await answer(exchange.request.get("Authorization", "nobody").encode(), cache_control=FRESH)(exchange)

    gate = origin.gate()
    origin.on("/a", gated(gate, personal), personal)
    clients = [asking(proxy, "/a", 1, authorization=f"Basic {n}")[0] for n in range(5)]
    clients.append(asking(proxy, "/a", 1)[0])
    gate.open()
    assert [one.body.decode() for one in answers(clients)] == [*(f"Basic {n}" for n in range(5)), "nobody"]


def test_followers_with_another_variant_fetch_their_own(origin: Origin, proxy: Proxy) -> None:
    async def translated(exchange: Exchange) -> None:
        language = exchange.request["Accept-Language"]
        await answer(language.encode(), cache_control=FRESH, vary="Accept-Language")(exchange)

    gate = origin.gate()
    origin.on("/a", gated(gate, translated), translated)
    clients = [asking(proxy, "/a", 1, accept_language=language)[0] for language in ("de", "en", "de", "en")]
    gate.open()
    assert [one.body for one in answers(clients)] == [b"de", b"en", b"de", b"en"]
    assert origin.count("/a") == 2


def all_at_once(origin: Origin, count: int, name: str, **more: object) -> tuple[Gate, Handler]:
    """Return a handler whose answer varies by a field; all but the first wait until so many have come in all.

    The first waits at the gate that is returned, too.
    """
    first, together = origin.gate(), origin.gate()

    async def varied(exchange: Exchange) -> None:
        if origin.count("/a") >= count:
            together.open_here()
        await (first if origin.count("/a") == 1 else together).passed()
        chosen = exchange.request.get(name, "none")
        await answer(chosen.encode(), **{"cache_control": FRESH, "vary": name, **more})(exchange)

    return first, varied


@pytest.mark.parametrize(("name", "field"), [("Cookie", "cookie"), ("User-Agent", "user_agent"), ("X-Own", "x_own")])
@pytest.mark.parametrize("max_variants", [2, 64])
def test_different_variants_are_fetched_at_the_same_time_and_each_once(
    origin: Origin, serve: Serve, name: str, field: str, max_variants: int
) -> None:
    proxy = serve(max_variants=max_variants)
    gate, varied = all_at_once(origin, 20, name)
    origin.on("/a", varied)
    values = [f"n={at % 20}" for at in range(60)]
    clients = asking_by(proxy, "/a", field, values)
    proxy.await_heard()
    assert origin.count("/a") == 1
    gate.open()
    assert [one.body.decode() for one in answers(clients)] == values
    assert origin.count("/a") == 20
    assert origin.most_at_once == 19


def test_that_a_key_varies_is_remembered_when_nothing_of_it_is_stored(origin: Origin, proxy: Proxy) -> None:
    gate, varied = all_at_once(origin, 5, "Cookie")
    origin.on("/a", varied)
    values = [f"n={at % 5}" for at in range(10)]
    clients = asking_by(proxy, "/a", "cookie", values)
    proxy.await_heard()
    gate.open()
    answers(clients)
    assert origin.count("/a") == 5
    assert proxy.ask("PUT", "/a", b"x").status == 200
    again, together = all_at_once(origin, 11, "Cookie")
    again.open()
    origin.on("/a", together)  # none is answered before all have come
    clients = asking_by(proxy, "/a", "cookie", values)
    assert [one.body.decode() for one in answers(clients)] == values
    assert origin.count("/a") == 11


def test_variants_are_revalidated_at_the_same_time_and_each_once(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    gate, varied = all_at_once(origin, 5, "Cookie", etag='"1"')
    gate.open()
    origin.on("/a", varied)
    values = [f"n={at}" for at in range(5)]
    answers(asking_by(proxy, "/a", "cookie", values))
    clock.advance(61)
    together = origin.gate()

    async def confirmed(exchange: Exchange) -> None:
        if origin.count("/a") == 10:
            together.open_here()
        await together.passed()
        await exchange.send(head(304, "Not Modified", cache_control=FRESH, etag='"1"', vary="Cookie"))

    origin.on("/a", *[confirmed] * 10)
    clients = asking_by(proxy, "/a", "cookie", values * 4)
    found = answers(clients)
    assert [one.body.decode() for one in found] == values * 4
    assert {one.x_cache for one in found} <= {"REVALIDATED", "HIT"}  # some may have come late
    assert origin.count("/a") == 10


def test_who_waited_for_what_varies_by_yet_another_field_waits_no_more(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    together = origin.gate()
    lists = ["Cookie", "Cookie, User-Agent"]

    async def more_and_more(exchange: Exchange) -> None:
        count = origin.count("/a")
        if count == 1:
            await gate.passed()
        elif count > 2:
            if count == 6:
                together.open_here()
            await together.passed()
        body = exchange.request["User-Agent"].encode()
        await answer(body, cache_control=FRESH, vary=lists[min(count, 2) - 1])(exchange)

    origin.on("/a", more_and_more)
    agents = [str(at) for at in range(6)]
    clients = [proxy.connect() for _ in agents]
    for client, agent in zip(clients, agents, strict=True):
        client.send(request("GET", "/a", cookie="first" if agent == "0" else "same", user_agent=agent))
        proxy.await_heard_from(client)
    gate.open()
    assert [one.body.decode() for one in answers(clients)] == agents
    assert origin.count("/a") == 6


def test_requests_that_never_wait_are_not_slowed_by_those_that_do(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"x", cache_control=FRESH, vary="Cookie")), answer(b"y", cache_control=FRESH))
    leader = asking(proxy, "/a", 1, cookie="1")
    origin.await_requests(1)
    waiting = asking(proxy, "/a", 3, cookie="1")
    assert proxy.get("/a", cache_control="no-store").body == b"y"
    assert proxy.get("/a", range="bytes=0-0").body in (b"y", b"x")
    assert proxy.ask("HEAD", "/a").status == 200
    gate.open()
    assert {one.body for one in answers(leader + waiting)} == {b"x"}


def test_a_failure_is_shared(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, raw(end="reset")))
    clients = asking(proxy, "/a", 20)
    gate.open()
    got = answers(clients)
    assert {(one.status, one["Content-Type"]) for one in got} == {(502, "application/problem+json")}
    assert origin.count("/a") == 1


def test_content_that_breaks_off_breaks_off_for_all(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()

    async def broken(exchange: Exchange) -> None:
        await exchange.send(head(content_length=100, cache_control=FRESH) + b"half")
        await gate.passed()
        exchange.reset()

    origin.on("/a", broken, answer(b"whole", cache_control=FRESH))
    clients = asking(proxy, "/a", 5)
    for client in clients:
        client.head()
    gate.open()
    for client in clients:
        with pytest.raises(Broken):
            client.read(100)
    assert proxy.get("/a").body == b"whole"


@pytest.mark.parametrize("count", [2, 50])
def test_a_stale_entry_is_revalidated_once_for_all(origin: Origin, proxy: Proxy, clock: Clock, count: int) -> None:
    gate = origin.gate()
    again = validated(b"x", '"v1"', cache_control=FRESH)
    origin.on("/a", again, gated(gate, again))
    proxy.get("/a")
    clock.advance(61)
    clients = asking(proxy, "/a", count)
    gate.open()
    assert {(one.status, one.body, one.x_cache) for one in answers(clients)} == {(200, b"x", "REVALIDATED")}
    assert origin.count("/a") == 2


def test_what_is_stale_on_arrival_is_not_queued_for(origin: Origin, serve: Serve) -> None:
    proxy = serve()
    together = origin.gate()
    again = validated(b"x", '"v1"', cache_control="max-age=0")

    async def all_at_once(exchange: Exchange) -> None:
        if origin.count("/a") == 12:
            together.open_here()
        await together.passed()
        await again(exchange)

    gate = origin.gate()
    origin.on("/a", again, gated(gate, again), all_at_once)
    proxy.get("/a")
    clients = asking(proxy, "/a", 11)
    gate.open()
    assert {(one.status, one.body) for one in answers(clients)} == {(200, b"x")}


def test_what_was_stale_on_arrival_is_asked_for_by_all_at_once(origin: Origin, proxy: Proxy) -> None:
    again = validated(b"x", '"v1"', cache_control="max-age=0")
    gate = origin.gate()
    origin.on("/a", again, gated(gate, again))
    proxy.get("/a")
    clients = asking(proxy, "/a", 11)
    origin.await_requests(12)
    gate.open()
    assert {(one.status, one.body) for one in answers(clients)} == {(200, b"x")}


def test_a_key_that_has_proved_shareable_is_waited_for_again(origin: Origin, proxy: Proxy, clock: Clock) -> None:
    gate = origin.gate()
    fresh = validated(b"x", '"v1"', cache_control="max-age=60")
    origin.on("/a", answer(b"mine", cache_control="private"), fresh, gated(gate, fresh))
    proxy.get("/a")
    proxy.get("/a")
    clock.advance(61)
    clients = asking(proxy, "/a", 5)
    gate.open()
    assert {one.x_cache for one in answers(clients)} == {"REVALIDATED"}
    assert origin.count("/a") == 3


def test_what_is_stale_on_arrival_is_still_refreshed_in_the_background(origin: Origin, proxy: Proxy) -> None:
    fields = {"cache_control": "max-age=0, stale-while-revalidate=60", "etag": '"a"'}
    origin.on("/a", answer(b"one", **fields), answer(b"two", **{**fields, "etag": '"b"'}))
    assert proxy.get("/a").body == b"one"
    assert proxy.get("/a").x_cache == "STALE"
    origin.await_requests(2)
    origin.await_that(lambda: proxy.get("/a").body == b"two")


@pytest.mark.parametrize("fields", [{"authorization": "Basic x"}, {"cookie": "a=b"}])
def test_requests_with_credentials_do_not_queue_and_do_not_spoil_it_for_others(
    origin: Origin, proxy: Proxy, fields: dict[str, str]
) -> None:
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"mine")))
    first = asking(proxy, "/a", 4, **fields)
    origin.await_requests(1)
    gate.open()
    assert {one.body for one in answers(first)} == {b"mine"}
    # Known now: the next ones go at once, each for itself …
    gate = origin.gate()
    origin.on("/a", gated(gate, answer(b"mine")))
    second = asking(proxy, "/a", 4, **fields)
    origin.await_requests(8)
    # … while those without credentials still wait for one another.
    others = asking(proxy, "/a", 4)
    origin.await_requests(9)
    gate.open()
    answers(second)
    answers(others)
    assert origin.count("/a") == 9


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (answer(b"y", cache_control="no-store", status=404), 404),
        (answer(b"y", status=503), 503),
        (raw(head(304, "Not Modified", cache_control="no-store")), 304),
        (raw(b"", end="close"), 502),
    ],
    ids=["not found", "in trouble", "not modified", "gone"],
)
def test_a_remembered_key_may_be_answered_in_any_way(origin: Origin, proxy: Proxy, now: Handler, status: int) -> None:
    unshared = answer(b"x", cache_control="no-store")
    origin.on("/a", unshared, unshared, now)
    for _ in range(2):
        assert proxy.get("/a").body == b"x"
    got = proxy.get("/a", if_none_match='"1"')
    assert (got.status, got.x_cache) == (status, "MISS")
    assert origin.last["if-none-match"] == '"1"'


def test_a_client_of_a_remembered_key_may_leave(origin: Origin, proxy: Proxy) -> None:
    gate = origin.gate()
    unshared = answer(b"x", cache_control="no-store")
    origin.on("/a", unshared, gated(gate, unshared), answer(b"y", cache_control=FRESH))
    proxy.get("/a")
    client = proxy.connect()
    client.send(request("GET", "/a"))
    origin.await_requests(2)
    client.reset()
    proxy.await_connections(0)
    gate.open()
    assert proxy.get("/a").body == b"y"
    assert proxy.get("/a").x_cache == "HIT"
