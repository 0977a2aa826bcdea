"""The choreography of one request: a generator yields steps and is sent their results; it never does I/O."""
