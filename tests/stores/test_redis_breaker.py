"""When a server is left alone, and when it is asked again."""

from __future__ import annotations

from springhouse.stores.redis.breaker import LONGEST, CircuitBreaker


def opened(at: float = 100.0) -> CircuitBreaker:
    breaker = CircuitBreaker(3, 2.0)
    assert [breaker.failed(at) for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = CircuitBreaker(3, 2.0)
    for _ in range(5):
        assert not breaker.failed(0.0)
        assert not breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.is_closed
    assert not opened().is_closed


def test_one_probe_passes_after_the_rest_and_closes_it() -> None:
    breaker = opened(100.0)
    assert not breaker.may_probe(101.9)
    assert breaker.rests_for(101.5) == 0.5
    assert breaker.may_probe(102.0)
    assert not breaker.may_probe(102.0)
    breaker.succeeded()
    assert breaker.is_closed
    assert not breaker.may_probe(103.0)


def test_each_failed_probe_doubles_the_rest_up_to_a_limit() -> None:
    breaker = opened(0.0)
    now, rests = 0.0, []
    for _ in range(6):
        rests.append(breaker.rests_for(now))
        now += rests[-1]
        assert breaker.may_probe(now)
        breaker.failed(now)
    assert rests == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]
    assert max(rests) == 2.0 * LONGEST


def test_failures_of_what_was_under_way_do_not_lengthen_the_rest() -> None:
    breaker = opened(0.0)
    assert not breaker.failed(1.0)
    assert breaker.may_probe(2.0)


def test_success_gives_the_first_rest_again() -> None:
    breaker = opened(0.0)
    assert breaker.may_probe(2.0)
    breaker.failed(2.0)
    breaker.succeeded()
    for _ in range(3):
        breaker.failed(10.0)
    assert breaker.rests_for(10.0) == 2.0


def test_what_is_known_not_to_answer_is_left_alone_at_once() -> None:
    breaker = CircuitBreaker(3, 2.0)
    breaker.open(1.0)
    assert not breaker.is_closed
    assert breaker.rests_for(1.0) == 2.0
    assert breaker.may_probe(3.0)
