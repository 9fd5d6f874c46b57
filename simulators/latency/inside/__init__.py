"""Programs that run parts of the server, for what no public protocol reaches.

Everything else in `simulators` speaks to the server as its users do.
"""
