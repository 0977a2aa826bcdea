"""HTTP caching (RFC 9111), a file per section. Pure: time is an argument, nothing here does I/O.

Two questions are asked of it: what to do with a request (`reuse.decide`), and what to do with the origin's answer
(`validation.absorb`). The answers are closed unions in `decisions`, each with a reason from `reasons`.
"""
