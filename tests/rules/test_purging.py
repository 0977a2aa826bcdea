"""What a purge selects, and what it leaves of an entry."""

from __future__ import annotations

from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from tests.support.heads import NOW, get, stored, table

from springhouse.rules.entry import Entry
from springhouse.rules.labels import label_of_group, label_of_tag, labels_of
from springhouse.rules.purging import (
    NEVER_FRESH,
    Everything,
    Groups,
    Held,
    Keys,
    Prefix,
    Purge,
    Selection,
    Tags,
    labels_named,
    made_stale,
    receipt_of,
    remaining,
    selects,
    variant_of,
    weight_of,
)

A, B = b"http://a.test", b"http://b.test"
KEY = A + b"/page"
FRESH = "Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=100"


def entry(*lines: str, key: bytes = KEY, asked: tuple[str, ...] = ()) -> Entry:
    return stored(FRESH, *lines, key=key, request=get(*asked))


SELECTED = [
    # about, what is purged, the entry's fields, whether it is selected; its key is http://a.test/page
    ("its key", Keys((B, KEY)), [], True),
    ("another key", Keys((A + b"/",)), [], False),
    ("a key is no prefix", Keys((A,)), [], False),
    ("no key", Keys(()), [], False),
    ("the beginning of its key", Prefix(A + b"/p"), [], True),
    ("all of its key", Prefix(KEY), [], True),
    ("more than its key", Prefix(KEY + b"/"), [], False),
    ("what is in its key", Prefix(b"a.test"), [], False),
    ("one of its tags", Tags((b"x", b"t")), ["Cache-Tag: t, u"], True),
    ("another tag", Tags((b"x",)), ["Cache-Tag: t"], False),
    ("a part of its tag", Tags((b"t",)), ["Cache-Tag: tt"], False),
    ("a tag, and case counts", Tags((b"T",)), ["Cache-Tag: t"], False),
    ("a tag of what has none", Tags((b"t",)), [], False),
    ("one of its groups (RFC 9875 §2)", Groups(A, (b"g", b"x")), ['Cache-Groups: "g"'], True),
    ("that group of another origin", Groups(B, (b"g",)), ['Cache-Groups: "g"'], False),
    ("another group", Groups(A, (b"x",)), ['Cache-Groups: "g"'], False),
    ("a tag with the name of its group", Tags((b"g",)), ['Cache-Groups: "g"'], False),
    ("a group with the name of its tag", Groups(A, (b"t",)), ["Cache-Tag: t"], False),
    ("everything", Everything(), [], True),
]


@table("about what lines is_selected", SELECTED)
def test_what_is_selected(about: str, what: Selection, lines: list[str], is_selected: bool) -> None:
    one = entry(*lines)
    assert selects(what, one) is is_selected
    assert (remaining([one], Purge(what)) == ()) is is_selected
    if isinstance(what, Tags | Groups):
        assert is_selected is not labels_named(what).isdisjoint(labels_of(one)), "an index by labels finds the same"


def test_a_purge_removes_what_it_selects_and_keeps_the_order_of_the_others() -> None:
    variants = [entry("Vary: A", f"Cache-Tag: {tag}", asked=(f"A: {n}",)) for n, tag in enumerate("xtyt")]
    assert remaining(variants, Purge(Tags((b"t",)))) == (variants[0], variants[2])


# Soft purges.

INSTANTS = [
    # about, the instant after the response's time, fresh until, while revalidating until, if error until
    ("at once", 0, 0, 10, 100),
    ("in a while", 20, 20, 30, 120),
    ("when it is stale already", 61, 60, 70, 160),
]


@table("about after fresh revalidate error", INSTANTS)
def test_made_stale_the_windows_keep_their_lengths(
    about: str, after: float, fresh: float, revalidate: float, error: float
) -> None:
    one = entry()
    born = one.born_at
    before = copy(one)
    (left,) = remaining([one], Purge(Everything(), born + after))
    ends = (left.fresh_until, left.stale_while_revalidate_until, left.stale_if_error_until)
    assert ends == (born + fresh, born + revalidate, born + error)
    assert left.lifetime == fresh
    assert (left.key, left.fields, left.content) == (one.key, one.fields, one.content)
    assert one.fresh_until == before.fresh_until, "who is being served from it keeps what it was"


def test_made_stale_twice_the_earlier_instant_counts() -> None:
    one = entry()
    early, late = one.born_at + 10, one.born_at + 20
    there = [made_stale(made_stale(one, first), then) for first, then in ((early, late), (late, early))]
    assert [each.fresh_until for each in there] == [early, early]


def test_never_fresh_leaves_no_window() -> None:
    left = made_stale(entry(), NEVER_FRESH)
    assert not left.is_fresh_at(NOW)
    assert max(left.stale_while_revalidate_until, left.stale_if_error_until) <= 100


def test_what_a_soft_purge_does_not_select_is_the_same_object() -> None:
    one = entry()
    assert remaining([one], Purge(Keys((B,)), NOW))[0] is one


# Labels, variants, sizes.


def test_tags_and_groups_never_have_one_label() -> None:
    named = [label_of_tag(b"t"), label_of_group(A, b"t"), label_of_group(B, b"t"), label_of_tag(A + b" t")]
    assert len(set(named)) == len(named)
    assert labels_of(entry("Cache-Tag: t", 'Cache-Groups: "t"')) == {named[0], named[1]}
    assert labels_of(entry()) == frozenset()


def test_a_variant_is_named_by_vary_and_what_it_selects_by() -> None:
    english, german = (entry("Vary: Accept-Language", asked=(f"Accept-Language: {name}",)) for name in ("en", "de"))
    names = {variant_of(each) for each in (english, german, entry(), entry("Vary: A"))}
    assert len(names) == 4
    assert variant_of(english) == variant_of(entry("Vary: Accept-Language", asked=("Accept-Language: en",)))


def test_a_receipt_counts_each_variant_once() -> None:
    held = [Held(KEY, b"1", 10), Held(KEY, b"2", 20), Held(KEY, b"1", 10), Held(A, b"1", 5)]
    receipt = receipt_of(held)
    assert (receipt.keys, receipt.entries, receipt.size, receipt.failure) == (2, 3, 35, "")


SELECTIONS = st.one_of(
    st.builds(Keys, st.lists(st.binary(max_size=30), max_size=4).map(tuple)),
    st.builds(Prefix, st.binary(max_size=30)),
    st.builds(Tags, st.lists(st.binary(max_size=30), max_size=4).map(tuple)),
    st.builds(Groups, st.sampled_from([A, B]), st.lists(st.binary(max_size=30), max_size=4).map(tuple)),
    st.just(Everything()),
)


@given(SELECTIONS, st.one_of(st.none(), st.floats(0, 4e9)))
def test_a_purge_read_back_is_the_purge(what: Selection, since: float | None) -> None:
    purge = Purge(what, since)
    assert msgpack.decode(msgpack.encode(purge), type=Purge) == purge


@pytest.mark.parametrize("kind", [Keys, Tags, lambda names: Groups(A, names)])
def test_the_weight_counts_every_name(kind) -> None:
    few, more, longer = (weight_of(kind(names)) for names in ((b"a",), (b"a", b"b"), (b"a" * 100,)))
    assert few < more
    assert longer - few == 99
    assert weight_of(Prefix(b"abc")) == 3
