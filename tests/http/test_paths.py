"""A path that some server might read as leading out of where it starts is known for one; others are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springhouse.http.paths import climbs

OUT = [
    b"/..", b"/../x", b"/../base/x", b"/./../x", b"/a/../..", b"/a/../../b", b"/a/b/../../../c",
    b"/%2e%2e/x", b"/.%2e/", b"/%2E./x", b"/%2e%2e", b"/%252e%252e/", b"/%25252e%25252e/x", b"/%" + b"25" * 20 + b"2e",
    b"/..%2fx", b"/a/..%2f..%2fx", b"/a/%2e%2e%2f%2e%2e%2fx", b"/..%252fx", b"/..%5cx", b"/..\\x", b"/%5c../x",
    b"/%2f../x", b"//..//", b"/a//../../x", b"/a/./../../x",
    # Dots decoded, slashes not; slashes decoded, dots not.
    b"/a%2fb/../..", b"/a%2fb/%2e%2e/%2e%2e", b"/a\\b/../..", b"/a%5cb/../..",
    # What is dropped from a segment, or ends it.
    b"/..;/x", b"/..;a=b/x", b"/;/../x", b"/..%3b/x", b"/..%00/x", b"/..%00.css", b"/..%3fx", b"/..%23x", b"/.%09./x",
    b"/.%0d%0a./", b"/%20/../x", b"/.../x", b"/a/.../..//../..",
    # Dots and slashes in disguise.
    b"/%c0%ae%c0%ae/", b"/%c0%ae./x", b"/%e0%80%ae%e0%80%ae/x", b"/%f0%80%80%ae./x", b"/..%c0%afx", b"/%c1%9c../x",
    b"/%c0%2e%c0%2e/x", b"/\xc0\xae\xc0\xae/x", b"/%u002e%u002e/", b"/%uff0e%uff0e/x", b"/%ef%bc%8e%ef%bc%8e/x",
    b"/%e2%80%a5/x", b"/..%e2%88%95x", b"/..%ef%bc%8fx",
]  # fmt: skip
WITHIN = [
    b"/", b"//", b"/a", b"/a/", b"/a/../b", b"/a/..", b"/a/b/../../c", b"/a/./b", b"/a%2fb", b"/a%2fb/../c",
    b"/a/%2e%2e/b", b"/a/..%2fb", b"/a;b=../c", b"/a..b", b"/..a", b"/a../b", b"/v1..v2", b"/..well-known", b"/.a",
    b"/x.css", b"/100%", b"/%zz", b"/%", b"/caf%C3%A9", b"/%20a", b"/a%26b%3Dc", b"/%e2%80%a6x", b"/a%252fb",
]  # fmt: skip


@pytest.mark.parametrize("path", OUT)
def test_out(path: bytes) -> None:
    assert climbs(path)
    assert climbs(path + b"/within")
    assert climbs(b"/deeper" + path.replace(b"/", b"/../", 1))


@pytest.mark.parametrize("path", WITHIN)
def test_within(path: bytes) -> None:
    assert not climbs(path)


SEGMENTS = st.sampled_from([b"a", b"..", b".", b"", b"%2e%2e", b"a%2fb", b"..%2f", b"..;x", b"%252e.", b"a%5c.."])


def removed_dots(segments: list[str]) -> int:
    """Return the lowest depth on the way, for a server that removes dots as RFC 3986 §5.2.4 says."""
    depth = lowest = 0
    for segment in segments:
        depth += -1 if segment == ".." else 0 if segment == "." else 1
        lowest = min(lowest, depth)
    return lowest


@given(st.lists(SEGMENTS, max_size=8))
def test_no_reading_of_what_is_within_leads_out(segments: list[bytes]) -> None:
    path = b"/" + b"/".join(segments)
    if climbs(path):
        return
    text = path.decode()
    for slashes in (text, text.replace("%2f", "/"), text.replace("%2f", "/").replace("%5c", "\\").replace("\\", "/")):
        for dots in (slashes, slashes.replace("%2e", "."), slashes.replace("%25", "%").replace("%2e", ".")):
            for merged in (dots, "/" + "/".join(filter(None, dots.split("/")))):
                for bare in (merged, "/".join(part.partition(";")[0] for part in merged.split("/"))):
                    assert removed_dots(bare.split("/")[1:]) >= 0, bare
