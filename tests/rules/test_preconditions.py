"""A client's conditions and ranges against the entry that would answer it (RFC 9111 §4.3.2, RFC 9110 §13, §14)."""

from __future__ import annotations

from tests.support.heads import NOW, date, get, head, stored, table

from springhouse.http.messages import Request
from springhouse.rules.entry import Entry
from springhouse.rules.preconditions import WHOLE, Evaluation, NotModified, Part, Unsatisfiable, select

F, TAG, D = "Cache-Control: max-age=60", 'ETag: "1"', f"Date: {date()}"
LM, SINCE = f"Last-Modified: {date(-100)}", f"If-Modified-Since: {date(-100)}"
TEN = b"0123456789"
TAGGED = stored(F, TAG, LM, D, content=TEN)
WEAK = stored(F, 'ETag: W/"1"', D, content=TEN)
DATED = stored(F, LM, D, content=TEN)
YOUNG = stored(F, f"Last-Modified: {date(-59)}", D, content=TEN)
BARE = stored(F, D, content=TEN)
EMPTY = stored(F, TAG, D, content=b"")
MISSING = stored(F, TAG, LM, status=404, content=TEN)
ARRIVING = stored(F, TAG, D, content=TEN)
ARRIVING.length = None
SAME = NotModified()

CONDITIONS = [
    # about, request, entry, selection, anchor
    ("no condition", get(), TAGGED, WHOLE, ""),
    ("the same tag", get('If-None-Match: "1"'), TAGGED, SAME, "RFC 9110 §13.1.2"),
    ("one of several", get('If-None-Match: "0", "1"'), TAGGED, SAME, "RFC 9110 §13.1.2"),
    ("over several lines", get('If-None-Match: "0"', 'If-None-Match: "1"'), TAGGED, SAME, "RFC 9110 §5.3"),
    ("another tag", get('If-None-Match: "2"'), TAGGED, WHOLE, "RFC 9110 §13.1.2"),
    ("compared weakly", get('If-None-Match: W/"1"'), TAGGED, SAME, "RFC 9110 §13.1.2"),
    ("weak and weak", get('If-None-Match: W/"1"'), WEAK, SAME, "RFC 9110 §13.1.2"),
    ("any", get("If-None-Match: *"), BARE, SAME, "RFC 9110 §13.1.2"),
    ("a tag where none is stored", get('If-None-Match: "1"'), DATED, WHOLE, "RFC 9110 §13.1.2"),
    ("not modified since", get(SINCE), TAGGED, SAME, "RFC 9110 §13.1.3"),
    ("a later date", get(f"If-Modified-Since: {date(-50)}"), TAGGED, SAME, "RFC 9110 §13.1.3"),
    ("modified since", get(f"If-Modified-Since: {date(-101)}"), TAGGED, WHOLE, "RFC 9110 §13.1.3"),
    ("a date that is none", get("If-Modified-Since: yesterday"), TAGGED, WHOLE, "RFC 9110 §13.1.3"),
    ("a tag beats a date: they differ", get('If-None-Match: "2"', SINCE), TAGGED, WHOLE, "RFC 9110 §13.2.2"),
    ("a tag beats a date: they agree", get('If-None-Match: "1"', f"If-Modified-Since: {date(-101)}"), TAGGED, SAME,
        "RFC 9110 §13.2.2"),
    ("without Last-Modified, Date counts", get(f"If-Modified-Since: {date()}"), BARE, SAME, "RFC 9111 §4.3.2"),
    ("a date before that", get(f"If-Modified-Since: {date(-1)}"), BARE, WHOLE, "RFC 9111 §4.3.2"),
    ("HEAD", head('If-None-Match: "1"'), TAGGED, SAME, "RFC 9110 §13.1.2"),
    ("only for a 200", get('If-None-Match: "1"'), MISSING, WHOLE, "RFC 9110 §13.2.1"),
    ("not for other methods", get('If-None-Match: "1"', method=b"POST"), TAGGED, WHOLE, "RFC 9111 §4.3.2"),
]  # fmt: skip

RANGES = [
    ("a part", get("Range: bytes=2-4"), TAGGED, Part(2, 5, 10), "RFC 9110 §14.2"),
    ("a suffix", get("Range: bytes=-3"), TAGGED, Part(7, 10, 10), "RFC 9110 §14.1.2"),
    ("all of it is a part, too", get("Range: bytes=0-"), TAGGED, Part(0, 10, 10), "RFC 9110 §15.3.7"),
    ("beyond the end", get("Range: bytes=10-"), TAGGED, Unsatisfiable(10), "RFC 9110 §15.5.17"),
    ("of nothing", get("Range: bytes=0-"), EMPTY, Unsatisfiable(0), "RFC 9110 §15.5.17"),
    ("another unit", get("Range: lines=2-4"), TAGGED, WHOLE, "RFC 9110 §14.2"),
    ("several", get("Range: bytes=0-1, 3-4"), TAGGED, WHOLE, "RFC 9110 §14.2"),
    ("not for HEAD", head("Range: bytes=2-4"), TAGGED, WHOLE, "RFC 9110 §14.2"),
    ("not of a 404", get("Range: bytes=2-4"), MISSING, WHOLE, "RFC 9110 §14.2"),
    ("not while the length is unknown", get("Range: bytes=2-4"), ARRIVING, WHOLE, "RFC 9110 §14.2"),
    ("a condition comes first", get("Range: bytes=2-4", 'If-None-Match: "1"'), TAGGED, SAME, "RFC 9110 §13.2.2"),
    ("one that does not hold", get("Range: bytes=2-4", 'If-None-Match: "2"'), TAGGED, Part(2, 5, 10), "§13.2.2"),
]

IF_RANGE = [
    ("the same tag", get("Range: bytes=2-4", 'If-Range: "1"'), TAGGED, Part(2, 5, 10), "RFC 9110 §13.1.5"),
    ("another tag", get("Range: bytes=2-4", 'If-Range: "2"'), TAGGED, WHOLE, "RFC 9110 §13.1.5"),
    ("a weak tag never", get("Range: bytes=2-4", 'If-Range: W/"1"'), WEAK, WHOLE, "RFC 9110 §13.1.5"),
    ("a tag where none is stored", get("Range: bytes=2-4", 'If-Range: "1"'), DATED, WHOLE, "RFC 9110 §13.1.5"),
    ("the same date", get("Range: bytes=2-4", f"If-Range: {date(-100)}"), DATED, Part(2, 5, 10), "RFC 9110 §13.1.5"),
    ("a later date is another", get("Range: bytes=2-4", f"If-Range: {date(-50)}"), DATED, WHOLE, "RFC 9110 §13.1.5"),
    ("a date too young to be strong", get("Range: bytes=2-4", f"If-Range: {date(-59)}"), YOUNG, WHOLE,
        "RFC 9110 §8.8.2.2"),
    ("a date where none is stored", get("Range: bytes=2-4", f"If-Range: {date(-100)}"), BARE, WHOLE, "§13.1.5"),
    ("nonsense", get("Range: bytes=2-4", "If-Range: x"), BARE, WHOLE, "RFC 9110 §13.1.5"),
    ("beyond the end, and another tag", get("Range: bytes=10-", 'If-Range: "2"'), TAGGED, WHOLE, "RFC 9110 §14.2"),
    ("without Range", get('If-Range: "2"'), TAGGED, WHOLE, "RFC 9110 §13.1.5"),
]  # fmt: skip


@table("about request_ entry selection anchor", CONDITIONS + RANGES + IF_RANGE)
def test_select(about: str, request_: Request, entry: Entry, selection: Evaluation, anchor: str) -> None:
    assert select(request_, entry, NOW + 5) == selection, anchor
