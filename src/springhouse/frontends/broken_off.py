"""Content that breaks off after its head was sent: how another server learns that it must not look whole."""

import logging


class BrokenOff(Exception):
    """The content broke off after the head was sent; the server must close the connection."""


def is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether a record is to be logged: that an origin broke off is not, its client has seen it."""
    return not (record.exc_info and isinstance(record.exc_info[1], BrokenOff))
