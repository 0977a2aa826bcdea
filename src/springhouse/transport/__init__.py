"""Carrying bytes, to clients and to origins: writes shared out among turns of the event loop; uploads held in time."""
