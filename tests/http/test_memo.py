"""Memories are bounded in bytes and counted, whatever is put into them (law 11)."""

from __future__ import annotations

import ast
import gc
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import springhouse
from springhouse.http import dates, directives, memo
from springhouse.http.fields import learn
from springhouse.http.headers import layout_of
from springhouse.http.memo import BOUNDS, KIB, Bound, Memo, Recent, held, length_of_key, size_of
from springhouse.wire.targets import is_host

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(springhouse.__file__).parent
OF_OUR_OWN = {"control/api_docs.py"}
"""Modules that remember what nobody can add to: our own files."""
ORDERED = {"http/memo.py", "upstream/assigning.py", "upstream/pool.py"}
"""Modules that keep an order for something else than to forget: of calls that wait."""


@pytest.fixture
def bound() -> Bound:
    """Return a bound of 16 KiB."""
    return Bound("of a test", 16 * KIB)


class Doubling:
    """Doubles bytes, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, value: bytes) -> bytes:
        self.asked.append(value)
        return 2 * value


def test_what_repeats_is_computed_once(bound: Bound) -> None:
    double = Doubling()
    doubled = Memo(bound, double)
    assert [doubled[b"a"], doubled[b"b"], doubled[b"a"]] == [b"aa", b"bb", b"aa"]
    assert double.asked == [b"a", b"b"]
    assert doubled.size == sum(memo.SLOT_BYTES + size_of(key) + size_of(value) for key, value in doubled.items())


def test_what_is_unusually_large_is_not_remembered(bound: Bound) -> None:
    double = Doubling()
    doubled = Memo(bound, double, item_max=1000)
    for large in (b"x" * 800, b"y" * 400):  # by the key; by the value with it
        assert doubled[large] == doubled[large] == 2 * large
    assert len(double.asked) == 4
    assert (len(doubled), doubled.size) == (0, 0)


def test_a_flood_costs_others_one_computation_each_and_keeps_nothing_out(bound: Bound) -> None:
    double = Doubling()
    doubled = Memo(bound, double, known={b"k": b"known"})
    for number in range(10_000):
        doubled[b"%d" % number]
        doubled[b"used"]
        assert doubled[b"k"] == b"known"
        assert doubled.size <= bound.limit
    assert double.asked.count(b"used") < 200, "it was thrown out a few times, with everything else"
    assert b"k" not in double.asked


@given(st.lists(st.tuples(st.binary(max_size=4), st.integers(0, 9), st.booleans()), max_size=200))
def test_recent_keeps_the_last_within_its_bound(steps: list[tuple[bytes, int, bool]]) -> None:
    recent: Recent[bytes, int] = Recent(Bound("of this test", 5 * memo.PLACE_BYTES), length_of_key)
    model: dict[bytes, int] = {}
    for key, value, is_noted in steps:
        if is_noted:
            model.pop(key, None)
            model[key] = value
            for gone in recent.note(key, value):
                oldest = next(iter(model))
                assert gone == (oldest, model.pop(oldest))
        else:
            recent.drop(key)
            model.pop(key, None)
        assert list(recent.items()) == list(model.items())
        assert recent.size == sum(memo.PLACE_BYTES + len(key) for key in model) <= recent.bound.limit
    recent.clear()
    assert (len(recent), recent.size) == (0, 0)


def test_what_alone_is_too_large_goes_at_once(bound: Bound) -> None:
    recent: Recent[bytes, int] = Recent(bound, length_of_key)
    recent.note(b"small", 1)
    assert recent.note(b"x" * 17 * KIB, 2) == [(b"small", 1), (b"x" * 17 * KIB, 2)]
    assert recent.size == 0


def taken(fill: Callable[[], object]) -> int:
    """Return the bytes that are held after filling and were not before."""
    gc.collect()
    tracemalloc.start()
    try:
        kept = fill()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept is not None
    return size


@pytest.mark.parametrize("length", [1, 100, 1000])
def test_a_memory_takes_no_more_than_it_counts(length: int) -> None:
    bound = Bound("of this test", 256 * KIB)

    def memoised() -> object:
        numbers = Memo[bytes, list[int]](bound, lambda key: list(key[:40]), item_max=4 * KIB)
        while numbers.size < 250 * KIB:
            numbers[b"%d" % len(numbers) + length * b"x"]
        return numbers

    def recent() -> object:
        noted: Recent[bytes, tuple[float, float]] = Recent(bound, length_of_key)
        for number in range(3000):
            noted.note(b"%d" % number + length * b"x", (number + 0.5, number + 0.75))
        return noted

    for fill in (memoised, recent):
        assert 64 * KIB < taken(fill) <= 257 * KIB, fill


def test_what_is_held_is_counted_by_name_as_long_as_it_exists(bound: Bound) -> None:
    first, second = Memo(bound, Doubling()), Memo(bound, Doubling())
    first[b"a"], second[b"a"]
    assert held()["of a test"] == first.size + second.size > 0
    del second
    gc.collect()
    assert held()["of a test"] == first.size


HOSTILE: list[tuple[str, Callable[[bytes], object]]] = [
    ("Cache-Control", directives.parse_directives),
    ("dates read", lambda value: dates.parse_date(value, 0)),
    ("field names", learn),
    ("header layouts", lambda value: layout_of([(part, b"") for part in value.split(b",")])),
    ("Host", is_host),
]


@pytest.mark.parametrize(("name", "use"), HOSTILE, ids=[name for name, _ in HOSTILE])
@pytest.mark.parametrize("value", [b"x%d", b"a=%d," * 8, b"y" * 200 + b"%d", b"z" * 30_000 + b"%d"], ids=range(4))
def test_whatever_messages_say_is_remembered_within_bounds(
    name: str, use: Callable[[bytes], object], value: bytes
) -> None:
    """A value of 32 KiB thousands of times, all different, once took hundreds of megabytes."""

    def fill() -> object:
        for number in range(3000 if len(value) < 1000 else 200):
            use(value % ((number,) * value.count(b"%d")))
        return True

    assert taken(fill) <= BOUNDS[name].limit + 64 * KIB
    assert held()[name] <= BOUNDS[name].limit


def test_what_is_declared_is_listed_once() -> None:
    declared = memo.bound("declared by a test", 1, "nothing")
    try:
        assert BOUNDS["declared by a test"] is declared
        with pytest.raises(AssertionError, match="two memories"):
            memo.bound("declared by a test", 2, "something else")
    finally:
        del BOUNDS["declared by a test"]


# Nothing is remembered elsewhere.


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_has_a_memory_that_is_bounded_by_number_only(module: Path) -> None:
    if str(module.relative_to(PACKAGE)) in OF_OUR_OWN:
        return
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            assert not names & {"functools", "lru_cache"}, f"line {node.lineno}: use a Memo, which is bounded in bytes"
            is_right = str(module.relative_to(PACKAGE)) in ORDERED
            assert is_right or "OrderedDict" not in names, (
                f"line {node.lineno}: use a Recent, which is bounded in bytes"
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and module.name != "memo.py":
            assert node.func.id != "Bound", f"line {node.lineno}: declare it by `bound`, or it is not listed"
        if isinstance(node, ast.FunctionDef) and node.args.args:
            decorators = {each.id for each in node.decorator_list if isinstance(each, ast.Name)}
            assert "cache" not in decorators, f"line {node.lineno}: use a Memo, which is bounded in bytes"
