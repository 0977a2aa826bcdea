"""A wall clock that is put back: nothing is fresh for longer than its lifetime, in time that really passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stores.backends import make_entry
from tests.support.answers import answer, in_parts
from tests.support.clock import Clock
from tests.support.messages import request

from springhouse.engine.clock import TOLERANCE_S, Setbacks
from springhouse.http.messages import Request
from springhouse.rules.decisions import Serve
from springhouse.rules.reuse import decide
from springhouse.service import engine_of
from springhouse.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve as Start
    from tests.support.origin import Origin

HOUR = 3600.0
FRESH = {"cache_control": "max-age=600, stale-while-revalidate=600, stale-if-error=600"}
seconds = st.floats(min_value=0, max_value=2 * HOUR).map(lambda s: round(s, 1))


def test_each_setback_is_said_once(clock: Clock) -> None:
    setbacks = Setbacks(clock, clock.steady)
    clock.advance(1000)
    assert setbacks.look() == 0.0
    clock.put_back(HOUR)
    clock.advance(1)
    assert setbacks.look() == pytest.approx(HOUR)
    assert setbacks.look() == 0.0
    clock.put_back(-HOUR)
    assert setbacks.look() == 0.0, "time may be skipped"
    clock.put_back(5)
    assert setbacks.look() == pytest.approx(5)


def test_small_setbacks_add_up(clock: Clock) -> None:
    setbacks = Setbacks(clock, clock.steady)
    found = []
    for _ in range(5):
        clock.put_back(0.9)
        clock.advance(1000)
        found.append(setbacks.look())
    assert found == [0.0, 0.0, pytest.approx(2.7), 0.0, 0.0]


ENGINE = engine_of(Settings(origin="http://a.test"), Clock())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 3)),
            st.tuples(st.just("pass"), seconds),
            st.tuples(st.just("back"), seconds),
            st.tuples(st.just("ahead"), seconds),
            st.tuples(st.just("ask"), st.integers(0, 3)),
        ),
        max_size=20,
    )
)
def test_nothing_is_fresh_longer_than_its_lifetime(steps: list[tuple[str, float]]) -> None:
    engine, clock = ENGINE, ENGINE.clock
    engine.cache.look_at_clock()
    engine.store.memory.clear()
    stored: dict[float, tuple[float, int]] = {}
    for what, value in [*steps, *(("ask", n) for n in range(4))]:
        match what:
            case "put":
                entry = make_entry(b"http://a.test/%d" % value, at=clock())
                engine.store.put(entry)
                stored[value] = clock.steady(), entry.lifetime
            case "pass":
                clock.advance(value)
            case "back":
                clock.put_back(value)
            case "ahead":
                clock.put_back(-value)
                engine.cache.look_at_clock()  # a running proxy looks once a second, and misses what comes and goes
            case _:
                engine.cache.look_at_clock()
                found = engine.store.lookup(b"http://a.test/%d" % value)
                decision = decide(Request(b"GET", b"/", []), found, clock(), engine.options)
                if found and isinstance(decision, Serve) and found[0].is_fresh_at(clock()):
                    at, lifetime = stored[value]
                    assert clock.steady() - at <= lifetime + TOLERANCE_S


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_what_was_stored_before_is_validated_before_it_is_used(
    origin: Origin, serve: Start, clock: Clock, tmp_path: Path, store: str
) -> None:
    origin.on("/x", answer(b"first", etag='"1"', **FRESH), answer(b"second", **FRESH))
    proxy = serve(store=store if store == "memory" else f"disk:{tmp_path}")
    proxy.get("/x")
    clock.advance(500)
    assert proxy.get("/x").x_cache == "HIT"
    clock.put_back(HOUR)
    proxy.call(proxy.engine.cache.look_at_clock)
    found = proxy.get("/x")
    assert (found.body, found.x_cache) == (b"second", "MISS")
    assert origin.last.get("If-None-Match") == '"1"'
    assert proxy.get("/x").x_cache == "HIT"


def test_a_running_proxy_notices_by_itself(origin: Origin, serve: Start, clock: Clock) -> None:
    origin.on("/x", answer(b"first", **FRESH), answer(b"second", **FRESH))
    proxy = serve()
    proxy.get("/x")
    clock.put_back(HOUR)
    proxy.await_that(lambda: not any(entry.fresh_until for entry in proxy.engine.store.lookup(_key(origin))))
    assert proxy.get("/x").body == b"second"


def _key(origin: Origin) -> bytes:
    return f"{origin.url}/x".encode()


@pytest.mark.parametrize("later", [60.0, 2 * HOUR], ids=["before that time", "when the clock has caught up"])
def test_a_process_that_comes_later_believes_nothing_from_the_future(
    origin: Origin, serve: Start, clock: Clock, tmp_path: Path, later: float
) -> None:
    origin.on("/x", answer(b"first", cache_control="max-age=36000"), answer(b"second", cache_control="max-age=36000"))
    first = serve(store=f"disk:{tmp_path}")
    first.get("/x")
    first.close()
    clock.put_back(HOUR)
    second = serve(store=f"disk:{tmp_path}")
    second.call(lambda: second.engine.store.reread(_key(origin)))
    assert second.get("/x", cache_control="only-if-cached").status == 504
    second.close()
    clock.advance(later)
    third = serve(store=f"disk:{tmp_path}")
    assert third.get("/x").body == b"second"
    assert third.get("/x").x_cache == "HIT"


def test_what_was_under_way_is_not_stored(origin: Origin, serve: Start, clock: Clock) -> None:
    gate = origin.gate()
    origin.on("/x", in_parts(b"fir", gate, b"st", **FRESH), answer(b"second", **FRESH))
    proxy = serve()
    client = proxy.connect()
    client.send(request("GET", "/x"))
    origin.await_requests(1)
    clock.put_back(HOUR)
    proxy.call(proxy.engine.cache.look_at_clock)
    gate.open()
    assert client.answer().body == b"first"
    assert proxy.get("/x").body == b"second"


def test_nobody_goes_alone_for_longer(origin: Origin, serve: Start, clock: Clock) -> None:
    origin.on("/x", answer(b"x", cache_control="no-store"))
    proxy = serve()
    proxy.get("/x")
    assert proxy.call(lambda: len(proxy.engine.flights.uncacheable_until)) == 1
    clock.put_back(HOUR)
    proxy.call(proxy.engine.cache.look_at_clock)
    assert proxy.call(lambda: len(proxy.engine.flights.uncacheable_until)) == 0
