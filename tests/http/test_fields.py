"""The table of field names: every name in any spelling gets its bit (RFC 9110 §5.1: names have no case)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.http import fields as f

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


@given(st.binary(max_size=30).filter(lambda name: name.lower() not in f.BITS))
def test_other_names_have_no_bit(name: bytes) -> None:
    assert f.bit_of(name) == 0


@pytest.fixture
def full_table(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, int]:
    """Fill the table of known spellings to its limit."""
    table: dict[bytes, int] = {**f.BITS, **{b"x-%d" % i: 0 for i in range(f._SPELLINGS_MAX)}}
    monkeypatch.setattr(f, "_spellings", table)
    monkeypatch.setattr(f, "bit_of_spelling", table.get)
    return table


@pytest.mark.parametrize("name", NAMES)
def test_spellings_still_get_the_bit_when_the_table_is_full(name: bytes, full_table: dict[bytes, int]) -> None:
    size = len(full_table)
    for spelling in spellings(name):
        assert f.bit_of(spelling) == f.BITS[name]
        assert f.learn(spelling) == f.BITS[name]
    assert len(full_table) == size, "the table is bounded"


def test_the_table_learns_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[bytes, int] = {}
    monkeypatch.setattr(f, "_spellings", table)
    monkeypatch.setattr(f, "_SPELLINGS_MAX", 2)
    for name in (b"eTAG", b"x-One", b"x-Two"):
        f.learn(name)
    assert table == {b"eTAG": f.ETAG, b"x-One": 0}


def test_bits_are_single_and_distinct_from_repeated() -> None:
    for bit in f.BITS.values():
        assert bit.bit_count() == 1
        assert bit != f.REPEATED
