"""The whole system on one machine, as real processes.

`servers` are a Postgres and a Redis-compatible server out of Python wheels, `processes` the service and its workers as
children, `bench` the benchmark. `saga-service demo`, `dev` and `bench` stand on it, and the tests.
"""
