"""The table of field names: every name in any spelling gets its bit (RFC 9110 §5.1: names have no case)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from springhouse.http import fields as f
from springhouse.http import unkeyed
from springhouse.http.memo import BOUNDS, held

NAMES = sorted(f.BITS)


def spellings(name: bytes) -> list[bytes]:
    """Return the spellings met in the wild, and one met nowhere."""
    odd = bytes(c ^ 0x20 if i % 2 and chr(c).isalpha() else c for i, c in enumerate(name))
    return [name, name.upper(), name.title(), name.capitalize(), odd]


@pytest.mark.parametrize("name", NAMES)
def test_every_spelling_gets_the_bit(name: bytes) -> None:
    for spelling in spellings(name):
        assert f.bit_of(spelling) == f.BITS[name]
        assert f.bit_of(spelling) == f.BITS[name], "learnt, and the same again"


@given(st.data())
def test_any_spelling_gets_the_bit(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    spelling = b"".join(name[i : i + 1].upper() if up else name[i : i + 1] for i, up in enumerate(upper))
    assert f.bit_of(spelling) == f.BITS[name]


@given(st.from_regex(rb"[A-Za-z0-9-]{1,30}", fullmatch=True))
def test_other_names_have_no_bit(name: bytes) -> None:
    is_of_a_family = name.lower().startswith(tuple(n[:-1] for n in unkeyed.UNKEYED_NAMES if n.endswith(b"*")))
    assume(name.lower() not in f.BITS and not is_of_a_family)
    assert f.bit_of(name) == 0


def flood(count: int, name: bytes = b"x-flood-%d") -> None:
    """Learn as many spellings that never come again."""
    for number in range(count):
        assert f.learn(name % number) == 0


@pytest.mark.parametrize("name", [b"x-flood-%d", b"x" * 80 + b"-%d", b"x" * 30_000 + b"-%d"])
def test_what_is_learnt_is_bounded_in_bytes_and_does_not_keep_others_out(name: bytes) -> None:
    flood(6000, name)
    assert BOUNDS["field names"].limit >= held()["field names"]
    for known in NAMES:
        for spelling in spellings(known):
            assert f.bit_of(spelling) == f.BITS[known]
    f.learn(b"x-Of-Tomorrow")
    assert f.bit_of_spelling(b"x-Of-Tomorrow") == 0, "there is room for what comes after a flood"
    assert f.bit_of_spelling(b"Cache-Control") == f.CACHE_CONTROL, "usual spellings are always known"


def test_a_long_name_is_not_learnt() -> None:
    name = b"X-" + b"y" * 300
    assert f.learn(name) == 0
    assert f.bit_of_spelling(name) is None


def test_bits_are_single_and_distinct_from_repeated() -> None:
    for bit in f.BITS.values():
        assert bit.bit_count() == 1
        assert bit != f.REPEATED
