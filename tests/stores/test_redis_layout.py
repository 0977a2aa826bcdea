"""Names of keys, buckets, and how long entries are kept."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest
from redis.cluster import key_slot
from tests.stores.backends import NOW, make_entry

from springhouse.rules.purging import Everything, Groups, Keys, Prefix, Tags
from springhouse.stores.redis.layout import BUCKETS, KeyLayout, Lifetimes, hash_tags, stamp_of, variant_name

LAYOUT = KeyLayout("p:")
LIFETIMES = Lifetimes(revalidation=1000.0, grace=10.0, longest=50_000.0)


def test_buckets_lie_evenly_over_the_slots() -> None:
    assert len(set(hash_tags())) == BUCKETS
    shares = [key_slot(base) * BUCKETS // 16384 for base in LAYOUT.bases]
    assert shares == list(range(BUCKETS))


def test_all_of_a_key_is_in_one_slot() -> None:
    for n in range(200):
        base = LAYOUT.base(b"http://a.test/{x}/%d" % n)
        assert len({key_slot(base + name) for name in (b"e:http://a.test/{x}", b"c:00", b"names", b"l:{}", b"t:")}) == 1


def test_keys_are_spread_over_the_buckets() -> None:
    found = Counter(LAYOUT.base(b"http://a.test/%d" % n) for n in range(6400))
    assert len(found) == BUCKETS
    assert max(found.values()) < 160


def test_a_prefix_may_not_change_the_hash_tag() -> None:
    with pytest.raises(ValueError, match="braces"):
        KeyLayout("{x}")


@pytest.mark.parametrize(
    ("fresh", "stale", "has_validator", "seconds"),
    [
        (60, 60, False, 70),
        (60, 60, True, 1060),
        (60, 600, True, 1600),
        (-5, -5, False, 5),
        (-60, -60, False, 0),
        (-60, -60, True, 940),
        (10**6, 10**6, False, 50_000),
        (inf, inf, True, 50_000),
    ],
)
def test_an_entry_is_kept_while_it_is_of_use(fresh: float, stale: float, has_validator: bool, seconds: int) -> None:
    entry = make_entry()
    entry.fields = [(b"ETag", b'"x"')] if has_validator else []
    entry.fresh_until = entry.stale_while_revalidate_until = NOW + fresh
    entry.stale_if_error_until = NOW + stale
    assert LIFETIMES.ttl(entry, NOW) == seconds * 1000


def test_a_purge_goes_to_the_buckets_that_it_concerns() -> None:
    keys = (b"http://a.test/1", b"http://a.test/2", b"http://a.test/1")
    shares = list(LAYOUT.shares(Keys(keys)))
    assert {(base, name) for base, _, names in shares for name in names} == {(LAYOUT.base(k), k) for k in keys}
    assert sum(len(names) for _, _, names in shares) == 2
    for what in (Everything(), Prefix(b"http"), Tags((b"t",)), Groups(b"http://a.test", (b"g",))):
        assert [base for base, _, _ in LAYOUT.shares(what)] == list(LAYOUT.bases)


@pytest.mark.parametrize(
    ("prefix", "ends"),
    [
        (b"ab", [b"[ab", b"(ac"]),
        (b"a\xff", [b"[a\xff", b"(b"]),
        (b"\xff\xff", [b"[\xff\xff", b"+"]),
        (b"", [b"[", b"+"]),
    ],
)
def test_a_prefix_is_a_range(prefix: bytes, ends: list[bytes]) -> None:
    (_, _, names), *_ = LAYOUT.shares(Prefix(prefix))
    assert names == ends


def test_variants_and_responses_have_names() -> None:
    german, english = make_entry(language=b"de"), make_entry(language=b"en")
    assert variant_name(german) != variant_name(english)
    assert variant_name(german) == variant_name(make_entry(language=b"de", at=NOW + 5))
    assert stamp_of(german) == stamp_of(english) != stamp_of(make_entry(at=NOW + 5))
    assert len(variant_name(german)) == 32
