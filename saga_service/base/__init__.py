"""The ground that every other folder may stand on: time, tasks, shutdown, users' modules, Postgres.

`clock` (the one clock), `backoff` (waiting longer after each failure), `tasks` (cancelling tasks so that they end),
`lifecycle` (one shutdown for all loops, and named signals for tests), `signals` (shutdown on the process's signals),
`user_modules` (importing what users wrote), `postgres` (kinds of its errors, and pools of connections).
"""
