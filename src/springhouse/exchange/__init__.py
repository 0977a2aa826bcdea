"""The choreography of one request: a generator yields steps and is sent their results; it never does I/O.

`flow` is the way of a request; `hit` and `straight` are shortcuts for the two plainest, with the same outcome.
"""
