"""Performs the steps of flows, for whichever server takes the requests.

An `engine.Engine` answers requests for one origin out of a `cache.Cache`, which several engines may share. `ports` says
what both need of others; replies go to the sinks of `sinks`.
"""
