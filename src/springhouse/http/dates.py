"""HTTP-date (RFC 9110 §5.6.7) to and from seconds since 1970, without reading a clock."""

import re
from calendar import timegm
from datetime import UTC, datetime
from typing import Final

from springhouse.http.memo import KIB, Memo, bound

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}

_LENGTH_MAX: Final = len("Wednesday, 06-Nov-94 08:49:37 GMT")
_TIME = rb"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rb"[a-z]{3}, (?P<d>\d\d) (?P<mo>[a-z]{3}) (?P<y>\d{4}) " + _TIME + rb" GMT",
        rb"[a-z]{6,9}, (?P<d>\d\d)-(?P<mo>[a-z]{3})-(?P<y>\d\d) " + _TIME + rb" GMT",
        rb"[a-z]{3} (?P<mo>[a-z]{3}) (?P<d>[ \d]\d) " + _TIME + rb" (?P<y>\d{4})",
    )
)


def parse_date(value: bytes | None, now: float) -> int | None:
    """Return the seconds since 1970 an HTTP-date stands for, None when it is none of the three forms.

    Matched without regard to case; any zone but GMT is invalid (RFC 9111 §4.2). `now` settles the century of a
    two-digit year: more than 50 years ahead means the past.
    """
    if value is None or len(value) > _LENGTH_MAX:
        return None
    return _read_before[value, int(now) // 31_556_952 + 1970]


def _read(asked: tuple[bytes, int]) -> int | None:
    value, this_year = asked
    found = next(filter(None, (form.fullmatch(value) for form in _FORMS)), None)
    month = found and _MONTH_NUMBERS.get(found["mo"].lower())
    if not found or not month:
        return None
    year = int(found["y"])
    if len(found["y"]) == 2:
        year += this_year // 100 * 100
        year -= 100 * (year > this_year + 50)
    try:
        day = datetime(year, month, int(found["d"]), int(found["h"]), int(found["mi"]), tzinfo=UTC)
    except ValueError:
        return None
    return timegm(day.timetuple()) + int(found["s"]) if int(found["s"]) <= 60 else None


_read_before: Final = Memo(bound("dates read", 256 * KIB, "dates in fields, and the instants they stand for"), _read)


def _written(seconds: int) -> bytes:
    at = datetime.fromtimestamp(seconds, UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02} GMT"
    ).encode()


encode: Final = Memo(bound("dates written", 16 * KIB, "instants, as dates to be sent"), _written).__getitem__
"""Return the IMF-fixdate of an instant: seconds since 1970."""
